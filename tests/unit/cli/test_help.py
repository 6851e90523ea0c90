"""Help teaches by examples, all of which can be typed; and what the docs say of the command line is true."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from turnout.cli.commands import app
from turnout.process import exits

PAGE = (Path(__file__).parents[3] / "docs" / "CLI.md").read_text()


def commands(below: App = app) -> Iterator[tuple[str, App]]:
    """All commands that do something by their names, those of groups among them, without former names."""
    for name in below:
        if not name.startswith("-"):
            command = below[name]
            if command.default_command is None:
                yield from ((f"{name} {inner}", each) for inner, each in commands(command))
            elif command.show:
                yield name, command


COMMANDS = dict(commands())


WIDTH = 76  #: What fits a terminal of 80; a line that the help wraps cannot be pasted.


def examples(command: App) -> list[str]:
    """Each in one line, as the shell reads it."""
    return re.findall(r"^  (turnout .*)$", re.sub(r"\\\n *", "", str(command.help_epilogue)), re.MULTILINE)


def typed(line: str) -> list[str]:
    """A line as the shell hands it over, up to a pipe."""
    (program, *arguments) = shlex.split(line.partition(" | ")[0])
    assert program == "turnout"
    return arguments


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_help_ends_with_one_to_three_examples_that_can_be_typed(command: App) -> None:
    lines = examples(command)
    assert 1 <= len(lines) <= 3
    for line in lines:
        found, _, _ = app.parse_args(typed(line), exit_on_error=False, print_error=False)
        assert found is command.default_command, line


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_no_line_of_an_example_is_wrapped_by_the_help(command: App) -> None:
    lines = str(command.help_epilogue).splitlines()
    assert [line for line in lines if len(line.strip()) > WIDTH] == []


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_every_command_can_answer_in_json(command: App) -> None:
    assert any("--json" in argument.names for argument in command.assemble_argument_collection())


@pytest.mark.parametrize("line", re.findall(r"^\| `(turnout .*?)` \|", PAGE, re.MULTILINE))
def test_every_example_on_the_page_can_be_typed(line: str) -> None:
    app.parse_args(typed(line), exit_on_error=False, print_error=False)


def test_the_page_has_a_line_for_every_command() -> None:
    for name in COMMANDS:
        assert re.search(rf"^\| `turnout {name}\b", PAGE, re.MULTILINE), name


def test_the_page_and_the_help_name_every_exit_code() -> None:
    codes = {value for name, value in vars(exits).items() if name.startswith("EXIT_")}
    assert codes == set(exits.MEANINGS)
    for code, meaning in exits.MEANINGS.items():
        assert re.search(rf"^\| {code} \| {meaning}", PAGE, re.MULTILINE), code
        assert f"{code} {meaning}" in str(app.help_epilogue)
