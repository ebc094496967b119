"""The documents say what the program does."""

import re

import pytest

from service.settings import ENDPOINTS, Settings
from tests.support.process import ROOT

README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("field", Settings.__struct_fields__)
def test_the_readme_names_every_setting_with_its_default(field: str) -> None:
    [row] = [line for line in README.splitlines() if line.startswith(f"| `ARXIV_{field.upper()}` ")]
    default = getattr(Settings(), field)
    said = row.split("|")[2].strip().strip("`")
    if default is not None:
        assert said in {str(default), f"{default:g}" if isinstance(default, float) else ""}


def test_the_readme_names_no_setting_that_is_not_there() -> None:
    named = set(re.findall(r"ARXIV_[A-Z_]+[A-Z]", README))
    assert named == {f"ARXIV_{field.upper()}" for field in Settings.__struct_fields__}


def test_the_readme_names_every_endpoint() -> None:
    for names in ENDPOINTS.values():
        for name in names:
            assert f"/{name}" in README


def test_each_statement_is_judged_for_a_distributed_engine_once() -> None:
    text = (ROOT / "docs" / "scaling.md").read_text()
    [table] = re.findall(r"\| statement in .*?\n\n", text + "\n\n", re.DOTALL)
    judged = [
        name
        for row in table.strip().splitlines()[2:]
        for name in re.findall(r"`(\w+)`", row.split("|")[1])
    ]

    assert sorted(judged) == sorted(file.stem for file in (ROOT / "service" / "sql").glob("*.sql"))


def test_every_file_a_document_names_is_there() -> None:
    for document in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for path in re.findall(
            r"`((?:service|deploy|docs|demo|migrations|tests)/[\w./-]+)`", document.read_text()
        ):
            assert (ROOT / path).exists(), path
