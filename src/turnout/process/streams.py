"""The standard streams: open whatever started us, and able to print any character in any encoding.

``prepare`` is the first thing that a command does. It is the one place that decides how output is encoded. ``say`` and
``tell`` are the only functions that print a line: in it nothing steers a terminal, and nothing passes for another line.
"""

import codecs
import os
import sys

from turnout.text.printable import printable

TYPE_CHECKING = False  # as light as can be: see turnout/__init__.py
if TYPE_CHECKING:
    from typing import TextIO

ESCAPED = "turnout.escaped"  #: The name of our error handler for text that a stream's encoding lacks.


def prepare() -> None:
    """Open what is closed, and let no character that is printed be an error."""
    for fd, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if _opened(fd) or getattr(sys, name) is None:
            setattr(sys, name, open(fd, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - it is open for as long as we live
    codecs.register_error(ESCAPED, escaped)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=ESCAPED)


def escaped(error: UnicodeError) -> tuple[str, int]:
    r"""A character that cannot be encoded, as ``\u2026``: JSON stays JSON, and a person sees that there is one."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = memoryview(error.object[error.start : error.end].encode("utf-16-le", "surrogatepass")).cast("H")
    return "".join(f"\\u{unit:04x}" for unit in units), error.end


def say(line: str) -> None:
    """One line for people on stderr. If nobody listens any more, it is lost."""
    try:
        print(printable(line), file=sys.stderr, flush=True)
    except (OSError, ValueError):
        pass


def tell(line: str) -> None:
    """One line of an answer, on stdout. Raises BrokenPipeError when its reader has gone."""
    print(printable(line), flush=True)


def close() -> None:
    """Write what is left, wherever it can be written: the interpreter would complain of what it cannot write."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            _to_nothing(stream)


def let_go() -> None:
    """Let what is still to be written to stdout go nowhere: its reader is gone, or takes no more."""
    _to_nothing(sys.stdout)


def _to_nothing(stream: "TextIO") -> None:
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError):  # not a file of the system
        pass


def _opened(fd: int) -> bool:
    """Open ``fd`` on nothing if it is closed; whether it was. Otherwise the next file or socket would get its number,
    and a read or a print would find it so there.
    """
    try:
        os.fstat(fd)
    except OSError:
        nothing = os.open(os.devnull, os.O_RDWR)
        if nothing == fd:
            os.set_inheritable(fd, True)
        else:
            os.dup2(nothing, fd)
            os.close(nothing)
        return True
    return False
