"""The command line: each command is a few lines around what does the work, in a module of its kind.

``main`` loads the commands themselves, so that Ctrl-C is answered in one line from the first moment on. What a command
needs is imported where it is used, so that ``turnout --help`` answers at once.
"""

import os
import sys

from turnout.process import streams
from turnout.process.exits import EXIT_FAILED, EXIT_INTERRUPTED

FIRST_PID = 1  #: Of a container's first process, which has others to look after.


def main() -> None:
    """The ``turnout`` command."""
    streams.prepare()
    if os.getpid() == FIRST_PID:
        from turnout.process import first

        first.go_on_in_child()
    try:
        from turnout.cli.commands import run

        code = run(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        streams.say("turnout: interrupted")
        code = EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as with: turnout jobs | head
        streams.let_go()
        code = EXIT_FAILED
    except OSError as error:  # that no command has words of its own for: a full disk under our output, say
        streams.let_go()
        streams.say(f"turnout: {error}")
        code = EXIT_FAILED
    streams.close()
    sys.exit(code)
