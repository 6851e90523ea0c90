"""What a server owns while it runs: its port, its data folder, and a private folder for its sockets and its lock."""

import errno
import fcntl
import ipaddress
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnout.errors import TurnoutError
from turnout.transport import socket_folder
from turnout.transport.listening import WAY_OUT, private_folder

LookUp = Callable[..., list[Any]]  #: As socket.getaddrinfo.
BACKLOG = 4096  #: Connections that wait to be accepted; the system lowers it to its own bound.
PRUNE_AGE_S = 60.0
BIND_PATIENCE_S = 2.0  #: Processes of a killed server may hold its port for this long after it.


class PortInUse(TurnoutError):
    """Somebody else listens there."""


@dataclass(slots=True)
class Runtime:
    """The private folder of one server, named after its port, and the lock on it."""

    folder: Path
    lock_fd: int

    def keep(self) -> bool:
        """Make the folder and the lock anew if something has removed them; whether that was so. Raises TurnoutError."""
        if _is_file(self.folder / "lock", self.lock_fd):
            return False
        private_folder(self.folder.parent)
        private_folder(self.folder)
        try:
            anew = _lock(self.folder / "lock")
        except (_Locked, OSError) as error:
            raise TurnoutError(f"cannot lock the folder {self.folder} for sockets again: {error}; {WAY_OUT}") from error
        os.close(self.lock_fd)
        self.lock_fd = anew
        return True

    def release(self) -> None:
        """Remove the folder and give up the lock; the processes of this server must have ended."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self.lock_fd)


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
            family, where = resolve(host, port)
            return socket.create_server(where, family=family, backlog=BACKLOG)
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
    try:
        family, where = resolve(host, port)
    except OSError as error:
        raise TurnoutError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    reserved = socket.socket(family)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        reserved.bind(where)
    except OSError as error:
        reserved.close()
        raise TurnoutError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return reserved


def resolve(host: str, port: int, look_up: LookUp = socket.getaddrinfo) -> tuple[socket.AddressFamily, Any]:
    """The address to listen on, as the system resolves the name. Raises OSError.

    A name that has addresses of both families is its IPv4 address: clients that connect by the name try both.
    """
    found = look_up(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, where = min(found, key=lambda each: each[0] != socket.AF_INET)
    return family, where


def take(port: int, within: Path) -> Runtime:
    """Lock the server of this port and empty its folder, which lies ``within`` what ``socket_folder.root`` gives.

    Raises PortInUse when it runs already.
    """
    private_folder(within)
    folder = within / str(port)
    _prune(within)
    while True:
        private_folder(folder)
        try:
            fd = _lock(folder / "lock")
        except _Locked as locked:
            raise PortInUse(
                f"port {port} is in use: turnout runs on it already (pid {locked.pid}); stop that one, or choose "
                "another with --port"
            ) from None
        if _is_file(folder / "lock", fd):
            break
        os.close(fd)  # the process that had it removed the folder meanwhile
    for left in folder.iterdir():
        if left.name != "lock":
            left.unlink()
    return Runtime(folder, fd)


def is_taken(port: int, data: Path) -> bool:
    """Whether a server of this user runs on this port, with this data folder or another."""
    for within in socket_folder.roots(data):
        try:
            os.close(_lock(within / str(port) / "lock", os.O_RDWR))
        except _Locked:
            return True
        except OSError:
            continue
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


def make_data(folder: Path) -> None:
    """Make the data folder. Raises TurnoutError."""
    with _usable(folder):
        folder.mkdir(parents=True, exist_ok=True)


def take_data(folder: Path) -> int:
    """Lock the data folder for one server; the lock lasts until the descriptor is closed. Raises TurnoutError."""
    try:
        with _usable(folder):
            return _lock(folder / "lock")
    except _Locked as locked:
        raise TurnoutError(
            f"the data folder {folder} is in use by another turnout (pid {locked.pid}); choose another with --data"
        ) from None


@contextmanager
def _usable(folder: Path) -> Iterator[None]:
    try:
        yield
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


def _is_file(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except OSError:
        return False
