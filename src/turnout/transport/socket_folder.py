"""Where the sockets of a server lie: a folder named after its port, which its processes and gateways beside it find.

It lies in XDG_RUNTIME_DIR, else in ``/tmp``, and where neither can be written to in the data folder.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from turnout.errors import ServerError, TurnoutError
from turnout.transport.address import UNIX_PATH_BYTES_MAX
from turnout.transport.listening import WAY_OUT, bind, private_folder

SOCKET_NAME_MAX = 38  #: Longest name of a socket in the folder, with its slash: "/job-" and an id.
WITHIN_BYTES_MAX = UNIX_PATH_BYTES_MAX - len("/65535") - SOCKET_NAME_MAX  #: Of the path that a server's folder lies in.
IN_DATA = "run"  #: Where sockets lie in the data folder, when nothing else can be written to.


def feed_path(folder: Path) -> Path:
    """Where control tells gateways which jobs run."""
    return folder / "feed"


def supervisor_path(folder: Path) -> Path:
    """Where control orders job processes."""
    return folder / "supervisor"


def job_address(folder: Path, job_id: str) -> Path:
    """Where a job's process listens."""
    address = folder / f"job-{job_id}"
    assert len(os.fsencode(address)) <= UNIX_PATH_BYTES_MAX, address
    return address


def roots(data: Path | None = None) -> Iterator[Path]:
    """Where the folders of this user's servers may lie, the best first; the last is for the server of ``data`` only."""
    if base := os.environ.get("XDG_RUNTIME_DIR", ""):
        yield Path(base) / "turnout"
    yield Path(f"/tmp/turnout-{os.getuid()}")
    if data is not None:
        yield data.absolute() / IN_DATA


def folder_of(port: str) -> Path:
    """The folder of the server that runs on this port; when none does, where it would probably be.

    Raises TurnoutError when it can be nowhere.
    """
    return find_folder(port, roots())


def find_folder(port: str, candidates: Iterable[Path]) -> Path:
    """As ``folder_of``, in one of these folders; what we may not look into has no server of ours."""
    reasons, folders = [], []
    for within in candidates:
        if reason := too_long(within) or no_place(within.parent):
            reasons.append(reason)
        else:
            folders.append(within / port)
    if not folders:
        raise TurnoutError(f"no folder is fit for a server's sockets: {'; '.join(reasons)}; {WAY_OUT}")
    return next((folder for folder in folders if os.path.exists(folder)), folders[0])  # no error is raised by this one


def root(data: Path) -> Path:
    """Where the folder of a server of ``data`` belongs. Raises TurnoutError."""
    return first_fit(roots(data))


def first_fit(candidates: Iterable[Path]) -> Path:
    """The first folder where sockets can be made. Raises TurnoutError when there is none."""
    reasons = []
    for within in candidates:
        reason = unfit(within)
        if not reason:
            return within
        reasons.append(reason)
    raise TurnoutError(f"no folder is fit for the server's sockets: {'; '.join(reasons)}; {WAY_OUT}")


def too_long(within: Path) -> str:
    """That the path of the folder leaves no room for the names of sockets; empty when it does."""
    size = len(bytes(within))
    return (
        f"the path {within} has {size} bytes, and {WITHIN_BYTES_MAX} are allowed for sockets"
        if size > WITHIN_BYTES_MAX
        else ""
    )


def no_place(folder: Path) -> str:
    """Why nothing can be looked up in the folder; empty when it can."""
    try:
        os.stat(f"{folder}/.")  # fails in a folder that we may not search
    except (FileNotFoundError, NotADirectoryError):
        return f"there is no folder {folder}"
    except OSError as error:
        return f"the folder {folder} cannot be used: {error.strerror}"
    return ""


def unfit(within: Path) -> str:
    """Why no sockets can be made in the folder, which is made if it is missing; empty when they can."""
    if reason := too_long(within) or no_place(within.parent):
        return reason
    trial = within / f".trial-{os.getpid()}"
    try:
        private_folder(within)
        bind(str(trial)).close()
        trial.unlink()
    except ServerError as error:
        return str(error).removesuffix(f"; {WAY_OUT}")
    except OSError as error:
        return f"the folder {within} cannot be used: {error.strerror}"
    return ""
