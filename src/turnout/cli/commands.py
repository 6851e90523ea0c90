"""All commands together, and what becomes of their errors: one line and an exit code."""

from collections.abc import Sequence

from cyclopts import CycloptsError, MissingArgumentError

from turnout.cli import fleet, jobs, local, models, server, tokens, tracking
from turnout.cli.base import TOKEN_VARIABLE, app
from turnout.errors import JobFolderError, NotAllowedError, TurnoutError, UsageError
from turnout.exits import EXIT_FAILED, EXIT_USAGE
from turnout.process.streams import say

__all__ = ["app", "fleet", "jobs", "local", "models", "run", "server", "tokens", "tracking"]

TOKEN_ADVICE = f"give another in {TOKEN_VARIABLE}, or with --token"


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit code."""
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
    missing = error.argument if isinstance(error, MissingArgumentError) else None
    if missing is None or missing.index is None:
        return " ".join(str(error).split())
    return f"{missing.name.lstrip('-').replace('-', '_').upper()} is missing."


def _help_of(arguments: Sequence[str]) -> str:
    """The help that belongs to what was typed, as far as it is a command."""
    commands, _, _ = app.parse_commands(arguments)
    return " ".join(("turnout", *commands, "--help"))


def _complain(line: str) -> None:
    say(f"turnout: {line}")
