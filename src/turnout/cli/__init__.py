"""The command line: each command is a few lines around what does the work, in a module of its kind.

``main`` loads the commands themselves, so that Ctrl-C is answered in one line from the first moment on. What a command
needs is imported where it is used, so that ``turnout --help`` answers at once.
"""

import os
import sys

from turnout.exits import EXIT_FAILED, EXIT_INTERRUPTED


def main() -> None:
    """The ``turnout`` command."""
    try:
        from turnout.cli.commands import run

        code = run(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("turnout: interrupted", file=sys.stderr)
        code = EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as with: turnout jobs | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_FAILED
    sys.exit(code)
