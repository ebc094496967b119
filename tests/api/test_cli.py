"""The command line: help, completion, `search`, and harvests that resume."""

import json
import os
import re

import pytest
import rich_click as click
from click.testing import CliRunner

from demo.arxiv import StandIn
from service import __version__
from service.cli import COMPLETE_VARIABLE, commands
from tests.support.process import run_command as run


@pytest.fixture
def environment(database: str, arxiv_server: tuple[StandIn, str]) -> dict[str, str]:
    return os.environ | {
        "ARXIV_DATABASE_URL": database,
        "ARXIV_API_URL": arxiv_server[1],
        "ARXIV_INTERVAL": "0",
        "ARXIV_TIMEOUT": "3",
        "COLUMNS": "160",
    }


def find_commands(group: click.Group, prefix: str = "") -> dict[str, click.Command]:
    """Return all commands by name, including those of nested groups."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        found[prefix + name] = command
        if isinstance(command, click.Group):
            found |= find_commands(command, f"{prefix}{name} ")
    return found


COMMANDS = find_commands(commands)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_describes_options_and_has_examples(name: str) -> None:
    command = COMMANDS[name]
    result = CliRunner().invoke(commands, [*name.split(), "--help"])

    assert result.exit_code == 0
    assert command.help
    assert command.epilog
    assert re.search(r"Examples?:", command.epilog)
    assert f"arxiv-gateway {name}" in command.epilog
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help
            assert re.search(r"\.(  \[default: .*\])?$", parameter.help)


def test_help_has_examples_and_explains_settings_and_shell_completion() -> None:
    output = CliRunner().invoke(commands, ["--help"]).stdout

    assert "Examples:" in output
    assert "arxiv-gateway search --title testing" in output
    assert "docs/configuration.md" in output
    lines = [line.strip() for line in output.splitlines()]
    for shell in ("bash", "zsh"):
        assert f'eval "$({COMPLETE_VARIABLE}={shell}_source arxiv-gateway)"' in lines
    assert f"{COMPLETE_VARIABLE}=fish_source arxiv-gateway | source" in lines


def test_version_is_printed(environment: dict[str, str]) -> None:
    assert run(environment, "--version").stdout == f"{__version__}\n"


@pytest.mark.parametrize(
    ("words", "completions"),
    [
        ("arxiv-gateway ha", ["harvest"]),
        ("arxiv-gateway keys re", ["revoke"]),
        ("arxiv-gateway search --sort-by s", ["submittedDate"]),
        ("arxiv-gateway search --sub", ["--submitted-from", "--submitted-to"]),
    ],
)
def test_shell_completion(environment: dict[str, str], words: str, completions: list[str]) -> None:
    variables = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    completed = run(environment | variables | {COMPLETE_VARIABLE: "bash_complete"})

    assert completed.stdout.split() == [f"plain,{each}" for each in completions]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_printed(environment: dict[str, str], shell: str) -> None:
    completed = run(environment | {COMPLETE_VARIABLE: f"{shell}_source"})

    assert completed.returncode == 0
    assert COMPLETE_VARIABLE in completed.stdout


@pytest.mark.usefixtures("arxiv")
def test_search_prints_a_table(environment: dict[str, str]) -> None:
    finished = run(environment, "search", "--title", "testing", "--max-results", "3")

    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert "authors" in lines[0]
    assert any("esting" in line for line in lines)
    assert "3 of " in lines[-1]
    assert "from arXiv" in lines[-1]
    assert (
        "from the cache"
        in run(environment, "search", "--title", "testing", "--max-results", "3").stdout
    )


@pytest.mark.usefixtures("arxiv")
def test_search_prints_json(environment: dict[str, str]) -> None:
    finished = run(environment, "search", "--any", "testing", "--category", "cs.*", "--json")

    response = json.loads(finished.stdout)
    assert response["num_entries"] == len(response["results"]) > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search"], "give at least one"),
        (["search", "--query", "ti:(a"], "query"),
        (["search", "--title", "x", "--max-results", "5000"], "--max-results"),
        (["search", "--title", "x", "--submitted-from", "soon"], "submitted_from"),
        (["harvest", "ti:(a"], "query"),
        (["harvest", "ti:a", "--max", "0"], "--max"),
        (["search", "--title", "a\udcff"], "UTF-8"),
        (["search", "--title", "x" * 600], "title"),
    ],
)
def test_invalid_option_is_named(
    environment: dict[str, str], arguments: list[str], message: str
) -> None:
    finished = run(environment, *arguments)

    assert finished.returncode == 2
    assert message in finished.stderr
    assert "Traceback" not in finished.stderr
