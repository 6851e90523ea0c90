"""What a server owns while it runs: its port, and a private folder for its sockets and its lock."""

import errno
import fcntl
import ipaddress
import os
import shutil
import socket
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from turnout.errors import TurnoutError

SOCKET_PATH_MAX = 103  #: Bytes of a Unix socket's path that every system takes (104 with the final zero on macOS).
SOCKET_NAME_MAX = 50  #: Longest name of a socket in the folder, with its slash: "/job-" + id.
BACKLOG = 4096  #: Connections that wait to be accepted; the system lowers it to its own bound.
PRUNE_AGE_S = 60.0
BIND_PATIENCE_S = 2.0  #: Processes of a killed server may hold its port for this long after it.


class PortInUse(TurnoutError):
    """Somebody else listens there."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """The private folder of one server, named after its port, and the lock on it."""

    folder: Path
    lock_fd: int

    def release(self) -> None:
        """Remove the folder and give up the lock; the processes of this server must have ended."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self.lock_fd)


def feed_path(folder: Path) -> Path:
    """Where control tells gateways which jobs run."""
    return folder / "feed"


def supervisor_path(folder: Path) -> Path:
    """Where control orders job processes."""
    return folder / "supervisor"


def job_address(folder: Path, job_id: str) -> Path:
    """Where a job's process listens."""
    address = folder / f"job-{job_id}"
    assert len(os.fsencode(address)) <= SOCKET_PATH_MAX, address
    return address


def is_loopback(host: str) -> bool:
    """Whether ``host`` can only be reached from this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int, option: str, patience_s: float = BIND_PATIENCE_S) -> socket.socket:
    """A listening TCP socket; port 0 takes a free one. Raises PortInUse, which names the ``option`` to change."""
    give_up_at = time.monotonic() + patience_s
    while True:
        try:
            return socket.create_server((host, port), family=_family(host), backlog=BACKLOG)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise TurnoutError(f"cannot listen on {host} port {port}: {error.strerror}") from error
            if time.monotonic() >= give_up_at:
                raise PortInUse(f"port {port} is in use by another program; choose another with {option}") from error
        time.sleep(0.05)


def reserve(host: str, port: int, option: str) -> socket.socket:
    """A TCP socket that is bound but does not listen, so that sockets of our other processes may listen there.

    For servers that open their sockets themselves. Port 0 takes a free one. Raises PortInUse, as ``listen``.
    """
    if port:
        listen(host, port, option).close()  # shared ports tell nobody that another program has them
    reserved = socket.socket(_family(host))
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        reserved.bind((host, port))
    except OSError as error:
        reserved.close()
        raise TurnoutError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return reserved


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def take(port: int, within: Path | None = None) -> Runtime:
    """Lock the server of this port and empty its folder, which lies ``within`` the folder given, else in ``root()``.

    Raises PortInUse when it runs already.
    """
    within = private(within or root())
    folder = within / str(port)
    _prune(within)
    while True:
        private(folder)
        try:
            fd = _lock(folder / "lock")
        except _Locked as locked:
            raise PortInUse(
                f"port {port} is in use: turnout runs on it already (pid {locked.pid}); stop that one, or choose "
                "another with --port"
            ) from None
        if _is_file(folder / "lock", fd):
            break
        os.close(fd)  # whoever had it removed the folder meanwhile
    for left in folder.iterdir():
        if left.name != "lock":
            left.unlink()
    return Runtime(folder, fd)


def is_taken(port: int, within: Path | None = None) -> bool:
    """Whether a server of this user runs on this port."""
    try:
        os.close(_lock((within or root()) / str(port) / "lock", os.O_RDWR))
    except _Locked:
        return True
    except OSError:
        return False
    return False


def _prune(root: Path) -> None:
    """Remove what servers that were killed left behind: folders that are not new and that nobody has locked."""
    for folder in root.iterdir():
        try:
            if time.time() - folder.stat().st_mtime < PRUNE_AGE_S:
                continue  # perhaps just made by a server that is about to lock it
            fd = _lock(folder / "lock")
        except (_Locked, OSError):
            continue
        shutil.rmtree(folder, ignore_errors=True)
        os.close(fd)


def take_data(folder: Path) -> int:
    """Make the data folder and lock it for one server; the lock lasts until the descriptor is closed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _lock(folder / "lock")
    except _Locked as locked:
        raise TurnoutError(
            f"the data folder {folder} is in use by another turnout (pid {locked.pid}); choose another with --data"
        ) from None
    except OSError as error:
        raise TurnoutError(
            f"the data folder {folder} cannot be used: {error.strerror}; put that right, or choose another with --data"
        ) from error


class _Locked(Exception):
    """Another process holds the lock."""

    def __init__(self, pid: str) -> None:
        super().__init__(pid)
        self.pid = pid


def _lock(path: Path, how: int = os.O_RDWR | os.O_CREAT) -> int:
    """Open and lock the file, and write our pid into it."""
    fd = os.open(path, how | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(fd, 20).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise _Locked(pid) from None
    os.ftruncate(fd, 0)
    os.write(fd, str(os.getpid()).encode())
    return fd


def root() -> Path:
    """Where the folders of this user's servers belong."""
    user = f"/tmp/turnout-{os.getuid()}"
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if (
        base
        and len(os.fsencode(base)) + len("/turnout/65535") + SOCKET_NAME_MAX <= SOCKET_PATH_MAX
        and Path(base).is_dir()
    ):
        return Path(base) / "turnout"
    return Path(user)


def private(folder: Path) -> Path:
    """Make the folder, or check that it is ours alone: who can write there could pose as control or as a job.

    Raises TurnoutError.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise TurnoutError(f"cannot make the folder {folder}: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise TurnoutError(f"{folder} must be a folder that only you can open (mode 0700); remove it and try again")
    return folder


def _is_file(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False
