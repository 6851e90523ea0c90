"""Which systems a server runs on: those with the locks, limits and sockets of POSIX."""

from importlib.util import find_spec

from turnout.errors import TurnoutError

SUPPORTED = "Linux and macOS"


def can_serve() -> bool:
    """Whether this system has what a server needs."""
    return all(find_spec(name) is not None for name in ("fcntl", "resource"))


def check_server() -> None:
    """Raise TurnoutError where no server can run."""
    if not can_serve():
        raise TurnoutError(
            f"the server of turnout runs on {SUPPORTED}, and this is another system; on Windows, run it in WSL 2. "
            "Devices, and the commands that talk to a server elsewhere, work here"
        )
