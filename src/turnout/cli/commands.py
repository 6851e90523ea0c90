"""All commands together, and what becomes of their errors: one line and an exit code."""

from collections.abc import Sequence

from cyclopts import CycloptsError, MissingArgumentError, UnknownCommandError

from turnout.cli import completion, fleet, jobs, local, models, server, tokens, tracking
from turnout.cli.base import TOKEN_VARIABLE, app
from turnout.errors import JobFolderError, NotAllowedError, TurnoutError, UsageError
from turnout.process.exits import EXIT_FAILED, EXIT_USAGE
from turnout.process.streams import say

__all__ = ["app", "completion", "fleet", "jobs", "local", "models", "run", "server", "tokens", "tracking"]

LIKE = 0.7  #: How alike a name must be to what was typed to be meant (difflib's ratio): "bogus" is not "logs".
PLAIN = {"help": "--help", "version": "--version"}  #: turnout help run is turnout run --help.
TOKEN_ADVICE = f"give another in {TOKEN_VARIABLE}, or with --token"


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit code."""
    if arguments and (plain := PLAIN.get(arguments[0])):  # as other tools take them
        arguments = [*arguments[1:], plain]
    try:
        code = app(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _complain(f"{_said(error)} See: {_help_of(arguments)}")
        return EXIT_USAGE
    except NotAllowedError as error:
        _complain(str(error) if TOKEN_VARIABLE in str(error) else f"{error}; {TOKEN_ADVICE}")
        return EXIT_FAILED
    except TurnoutError as error:
        _complain(str(error))
        return EXIT_USAGE if isinstance(error, JobFolderError | UsageError) else EXIT_FAILED
    except UnicodeEncodeError as error:  # an argument, or the name of a file, came as bytes that are no text
        _complain(f"{error.object[:100]!r} is not text in the encoding of this system; use another name")
        return EXIT_USAGE
    return code if isinstance(code, int) else 0  # help has been printed


def _said(error: CycloptsError) -> str:
    """In one line; what is missing is named as the help's usage names it."""
    if isinstance(error, UnknownCommandError) and error.unused_tokens:
        return _unknown(error.unused_tokens[0], [name for name in error.app or app if not name.startswith("-")])
    missing = error.argument if isinstance(error, MissingArgumentError) else None
    if missing is None or missing.index is None:
        return " ".join(str(error).split())
    return f"{missing.name.lstrip('-').replace('-', '_').upper()} is missing."


def _unknown(typed: str, commands: list[str]) -> str:
    """What is like it, and all that there is."""
    import difflib

    near = difflib.get_close_matches(typed, commands, 1, LIKE)
    what = "option" if typed.startswith("-") else "command"
    return f'Unknown {what} "{typed}".{f" Did you mean {near[0]}?" if near else ""} Commands: {", ".join(commands)}.'


def _help_of(arguments: Sequence[str]) -> str:
    """The help that belongs to what was typed, as far as it is a command."""
    commands, _, _ = app.parse_commands(arguments)
    return " ".join(("turnout", *commands, "--help"))


def _complain(line: str) -> None:
    say(f"turnout: {line}")
