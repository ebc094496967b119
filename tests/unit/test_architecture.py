"""The imports inside service/ follow the rules in docs/architecture.md."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import ROOT

SERVICE = ROOT / "service"
MODULES = sorted(SERVICE.rglob("*.py"))


def get_name(path: Path) -> str:
    """The path of a module relative to service/, without the extension."""
    name = path.relative_to(SERVICE).as_posix()
    return name.removesuffix(".py").removesuffix("/__init__")


FORBIDDEN = {
    "cli": {"handlers"},
    "pages": {get_name(path) for path in (SERVICE / "handlers").rglob("*.py")}
    - {"handlers", "handlers/params"},
    "middleware": {"handlers"},
    "backend": {"handlers", "middleware"},
    "db": {"handlers", "middleware", "backend", "cli", "litestar"},
    "models": {"errors"},
    "formats": {"db"},
}
"""Modules and packages that a package must not import, beyond the order of the layers."""


def find_imports(module: Path) -> Iterator[ast.Import | ast.ImportFrom]:
    """All imports of a module except those under `if TYPE_CHECKING`."""
    nodes: list[ast.AST] = [ast.parse(module.read_text())]
    for node in nodes:  # grows meanwhile
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            nodes += ast.iter_child_nodes(node)


def list_modules(module: Path) -> set[str]:
    """The modules of service/ that a module imports, all of them by relative imports."""
    names = set()
    for node in find_imports(module):
        if isinstance(node, ast.ImportFrom) and node.level:
            source = module.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            for alias in node.names:
                target = source / alias.name
                is_module = target.is_dir() or target.with_suffix(".py").is_file()
                names.add(get_name(target if is_module else source))
    return names


def list_packages(module: Path) -> set[str]:
    """The top-level packages that a module imports by absolute imports."""
    names = []
    for node in find_imports(module):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif not node.level:
            names.append(node.module or "")
    return {name.partition(".")[0] for name in names}


def read_layers() -> list[list[str]]:
    """The numbered list in docs/architecture.md, without its last line, which is all the rest."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    [section] = re.findall(r"^## Dependencies between.*?(?=^## )", text, re.DOTALL | re.MULTILINE)
    lines = re.findall(r"^\d+\. (.*?)$(?!\n {3})", section, re.DOTALL | re.MULTILINE)
    assert lines[-1].startswith("all other modules")
    return [re.findall(r"`([\w/]+)`", line) for line in lines[:-1]]


LAYERS = read_layers()


def is_in(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}/")


def get_layer(name: str) -> int:
    """The number of the layer of a module, from the top."""
    for number, layer in enumerate(LAYERS):
        if any(is_in(name, package) for package in layer):
            return number
    return len(LAYERS)


@pytest.mark.parametrize("name", [name for layer in LAYERS for name in layer])
def test_documented_layers_contain_existing_modules(name: str) -> None:
    assert (SERVICE / name).is_dir() or (SERVICE / f"{name}.py").is_file()


@pytest.mark.parametrize("module", MODULES, ids=get_name)
def test_modules_import_only_from_their_layer_and_below(module: Path) -> None:
    name = get_name(module)
    layer = 0 if name == "__main__" else get_layer(name)
    assert {each for each in list_modules(module) if get_layer(each) < layer} == set()


@pytest.mark.parametrize("package", FORBIDDEN)
def test_packages_do_not_import_what_is_forbidden(package: str) -> None:
    for module in (SERVICE / package).rglob("*.py"):
        for imported in list_modules(module) | list_packages(module):
            assert not any(is_in(imported, each) for each in FORBIDDEN[package]), module


@pytest.mark.parametrize("module", MODULES, ids=get_name)
def test_imports_inside_the_package_are_relative(module: Path) -> None:
    assert list_packages(module).isdisjoint({"service", "arxiv_gateway"})
