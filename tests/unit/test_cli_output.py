"""Output of the command line to a terminal, and numbers as options."""

import pytest
from click.testing import CliRunner

from service.cli import commands
from service.cli.common import sanitize_text

HIDDEN = "\x1b\x9b\u202e\u2066\u200f\u061c\u2028\u2029\ud800"


def test_table_cells_contain_no_hidden_characters() -> None:
    cell = sanitize_text(f"N\u00f6ther {HIDDEN} [bold]").plain

    assert cell == f"N\u00f6ther {' ' * len(HIDDEN)} [bold]"


def test_error_message_shows_hidden_characters_as_escapes() -> None:
    environment = {"ARXIV_\x9b\u202eX": "1"}
    result = CliRunner().invoke(commands, ["search", "--title", "x"], env=environment)

    assert result.exit_code == 2
    assert r"ARXIV_\x9b\u202eX: unknown setting" in result.output


@pytest.mark.parametrize(
    "number", ["\u0661", "\uff11", "1_0", "+1", " 1", "1 ", "1.0", "", "\u00b9"]
)
@pytest.mark.parametrize(
    "command",
    [("search", "--start"), ("search", "--max-results"), ("harvest", "cat:cs.SE", "--max")],
)
def test_number_has_ascii_digits_only(command: tuple[str, ...], number: str) -> None:
    result = CliRunner().invoke(commands, [*command, number])

    assert result.exit_code == 2
    assert "is not a whole number in digits" in result.output
