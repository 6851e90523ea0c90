"""The servers that this account runs on this machine: where commands find the URL and the token of each.

A server has a file in a folder of its account, and keeps it locked as long as it lives. A file that nobody has locked
is of a server that was killed: its token is sent to nobody, since anybody may listen at its address by now.
"""

import ipaddress
import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import msgspec

from turnout import private
from turnout.errors import UsageError
from turnout.messages import Message
from turnout.process.systems import can_serve

DEFAULT_URL = "http://127.0.0.1:8711"
FOLDER = "turnout/servers"
FILE_BYTES_MAX = 1 << 16
SERVERS_MAX = 200  #: Of which the files are read.
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Running(Message, frozen=True):
    """One server. ``machine`` is its name: a home may be shared by several machines."""

    url: str
    token: str
    data: str
    pid: int
    machine: str


@dataclass(frozen=True, slots=True)
class Announced:
    """The file of one server, until ``close``."""

    path: Path
    fd: int

    def close(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)
        os.close(self.fd)


def places() -> list[Path]:
    """Where the files may be, the best place first: the account's folder for such things, else one that is emptied
    when the machine starts.
    """
    home, runtime = os.environ.get("HOME", ""), os.environ.get("XDG_RUNTIME_DIR", "")
    state = os.environ.get("XDG_STATE_HOME", "")
    if not state and home and _is_own(Path(home).resolve()):  # not that of who has called sudo
        state = f"{home}/.local/state"
    last = Path(runtime or os.environ.get("TMPDIR") or "/tmp", f"turnout-servers-{os.getuid()}")
    return [Path(state, FOLDER), last] if state.startswith("/") else [last]


def announce(url: str, token: str, data: Path) -> Announced | None:
    """Let the commands of this account find a server; None when no place can be written."""
    server = Running(url, token, str(data), os.getpid(), socket.gethostname())
    for place in places():
        try:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            place.mkdir(mode=0o700, exist_ok=True)
            if _is_trusted(place):
                return _announce(place / f"{server.machine}-{server.pid}.json", server)
        except OSError:  # a home that is not there, or that cannot be written, as in a container
            continue
    return None


def _announce(path: Path, server: Running) -> Announced:
    """Locked before it has its name, so that nobody takes it for the file of a server that has ended."""
    import fcntl  # not on every system that commands run on

    unfinished = path.with_suffix(".unfinished")
    fd = private.create(unfinished)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(fd, msgspec.json.encode(server))
        unfinished.replace(path)
    except BaseException:
        os.close(fd)
        raise
    return Announced(path, fd)


def running() -> list[Running]:
    """The servers of this account that run on this machine; the files of those that have ended are removed."""
    if not can_serve():
        return []
    return [found for place in places() if _is_trusted(place) for found in _running(place)]


def _running(place: Path) -> Iterator[Running]:
    for path in sorted(place.glob("*.json"))[:SERVERS_MAX]:
        try:
            with path.open("rb") as file:
                if _is_ended(file.fileno()):
                    path.unlink(missing_ok=True)
                    continue
                server = msgspec.json.decode(file.read(FILE_BYTES_MAX), type=Running)
        except (OSError, msgspec.DecodeError, msgspec.ValidationError):
            continue
        if server.machine == socket.gethostname():
            yield server


def _is_ended(fd: int) -> bool:
    """Whether nobody has locked the file."""
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_trusted(place: Path) -> bool:
    """Whether nobody else can write there, who might show us a server of theirs."""
    return _is_own(place) and not private.is_open(place)


def _is_own(folder: Path) -> bool:
    """Whether the folder is there and this account's."""
    try:
        return folder.is_absolute() and folder.lstat().st_uid == os.getuid()
    except OSError:
        return False


def resolve(url: str, token: str, found: Iterable[Running] | None = None) -> tuple[str, str]:
    """The URL and the token to use, where either may not have been given. Raises UsageError when it is not clear.

    A token is only ever sent to the server that it is of.
    """
    if url and token:
        return url, token
    servers = running() if found is None else list(found)
    if url:
        return url, next((server.token for server in servers if is_same(server.url, url)), "")
    chosen = _choose(servers)
    return (DEFAULT_URL, token) if chosen is None else (chosen.url, token or chosen.token)


def _choose(servers: list[Running]) -> Running | None:
    """The only one, or the one at the usual address."""
    usual = [server for server in servers if is_same(server.url, DEFAULT_URL)]
    if len(servers) <= 1 or usual:
        return next(iter(usual or servers), None)
    several = "; ".join(f"{server.url} with {server.data}" for server in servers)
    raise UsageError(f"several of your servers run: {several}; name one with --url, or in TURNOUT_URL")


def is_same(one: str, other: str) -> bool:
    """Whether both URLs are of one server of this machine."""
    first, second = urlsplit(one), urlsplit(other if "//" in other else f"//{other}", scheme="http")
    try:
        ports = first.port or _DEFAULT_PORTS.get(first.scheme), second.port or _DEFAULT_PORTS.get(second.scheme)
    except ValueError:
        return False
    same_host = first.hostname == second.hostname or (_is_here(first) and _is_here(second))
    return first.scheme == second.scheme and ports[0] == ports[1] and same_host


def _is_here(url: SplitResult) -> bool:
    """Whether only a server of this machine can be meant. One that listens everywhere listens here, too."""
    try:
        address = ipaddress.ip_address(url.hostname or "")
    except ValueError:
        return url.hostname == "localhost"
    return address.is_loopback or address.is_unspecified
