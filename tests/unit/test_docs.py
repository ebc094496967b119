"""The documentation matches the code, and its links resolve."""

import json
import re
from pathlib import Path

import pytest

from service import __version__
from service.settings import ENDPOINTS, Settings
from tests.support.process import ROOT

DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
README = (ROOT / "README.md").read_text()
API = (ROOT / "docs" / "api.md").read_text()
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()
CLIENTS = (ROOT / "docs" / "clients.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()

SETTINGS = {f"ARXIV_{field.upper()}": field for field in Settings.__struct_fields__}
OTHER_PROGRAMS = {"ARXIV_API_BASE_URL"}  # settings of clients, in docs/clients.md
FIRST_DIRECTORIES = "service|deploy|docs|demo|migrations|tests|benchmarks|fuzz|requirements"
CODE_BLOCK = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub creates for the headings of a document."""
    text = CODE_BLOCK.sub("", document.read_text())
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings]
    assert len(plain) == len(set(plain)), f"{document.name} has two headings of one name"
    return set(plain)


def listed_modules() -> set[str]:
    """The modules and packages in the tree of docs/architecture.md, relative to service/."""
    [tree] = re.findall(r"^```\nservice/\n(.*?)^```", ARCHITECTURE, re.DOTALL | re.MULTILINE)
    modules: set[str] = set()
    parents: list[str] = []
    for line in tree.splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2 - 1
        parents = [*parents[:depth], name]
        modules.add("".join(parents))
    return modules


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_prose_has_at_most_120_characters_per_line(document: Path) -> None:
    lines = CODE_BLOCK.sub("", document.read_text()).splitlines()
    assert [line for line in lines if len(line) > 120 and not line.lstrip().startswith("|")] == []


@pytest.mark.parametrize("setting", SETTINGS)
def test_setting_is_documented_with_its_default(setting: str) -> None:
    rows = [line for line in CONFIGURATION.splitlines() if line.startswith(f"| `{setting}` ")]
    assert len(rows) == 1
    default = getattr(Settings(), SETTINGS[setting])
    if default is not None:
        text = f"{default:g}" if isinstance(default, float) else str(default)
        assert rows[0].split("|")[2].strip() == f"`{text}`"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_only_existing_settings(document: Path) -> None:
    names = set(re.findall(r"(?<!_)ARXIV_[A-Z_]*[A-Z]", document.read_text()))
    assert names - OTHER_PROGRAMS <= SETTINGS.keys()


@pytest.mark.parametrize("endpoint", [name for names in ENDPOINTS.values() for name in names])
def test_endpoint_is_documented(endpoint: str) -> None:
    tables = [line for line in API.splitlines() if line.startswith("|")]
    assert any(re.search(rf"`(GET|POST) /{endpoint}\b(?!-)", line) for line in tables)


def test_readme_has_at_most_150_lines() -> None:
    assert len(README.splitlines()) <= 150


def test_readme_installs_the_wheel_of_this_version() -> None:
    assert f"arxiv_gateway-{__version__}-py3-none-any.whl" in README


def test_clients_are_documented_with_the_tested_releases() -> None:
    rows = [line.split("|") for line in CLIENTS.splitlines() if line.startswith("| [")]
    cells = [row[2].split(maxsplit=1) for row in rows if "by hand" not in row[2]]
    documented = {
        f"{name}=={release.strip()}" for name, text in cells for release in text.split(",")
    }
    assert documented <= read_locked_clients()


def read_locked_clients() -> set[str]:
    """The releases of all packages that `make clients` installs."""
    locks = [path.read_text() for path in (ROOT / "requirements").glob("clients-*.txt")]
    npm = json.loads((ROOT / "requirements" / "clients-npm" / "package-lock.json").read_text())
    return {
        *re.findall(r"^\S+==\S+", "\n".join(locks), re.MULTILINE),
        *(
            f"{path.removeprefix('node_modules/')}=={package['version']}"
            for path, package in npm["packages"].items()
            if path
        ),
    }


def test_architecture_lists_every_module() -> None:
    service = ROOT / "service"
    modules = {
        path.relative_to(service).as_posix()
        for path in service.rglob("*.py")
        if path.name != "__init__.py"
    }
    packages = {
        f"{path.parent.relative_to(service).as_posix()}/" for path in service.glob("*/__init__.py")
    }
    nested = {
        f"{path.parent.relative_to(service).as_posix()}/"
        for path in service.glob("*/*/__init__.py")
    }
    assert listed_modules() == modules | packages | nested


def test_every_statement_is_assessed_once_for_a_distributed_engine() -> None:
    text = (ROOT / "docs" / "scaling.md").read_text()
    [table] = re.findall(r"\| statement in .*?\n\n", text + "\n\n", re.DOTALL)
    names = [
        name
        for row in table.strip().splitlines()[2:]
        for name in re.findall(r"`(\w+)`", row.split("|")[1])
    ]
    assert sorted(names) == sorted(file.stem for file in (ROOT / "service" / "sql").glob("*.sql"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_named_in_a_document_exists(document: Path) -> None:
    names = re.findall(rf"`((?:{FIRST_DIRECTORIES})/[\w./-]+)`", document.read_text())
    named = [name for name in names if not re.search("NAME|NNNN", name)]  # not placeholders
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_named_in_a_document_exists(document: Path) -> None:
    names = re.findall(r"(tests/[\w/]+\.py)::(\w+)", document.read_text())
    missing = [
        f"{file}::{test}"
        for file, test in names
        if not re.search(rf"^(async )?def {test}\(", (ROOT / file).read_text(), re.MULTILINE)
    ]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_resolve(document: Path) -> None:
    text = CODE_BLOCK.sub("", document.read_text())
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []
