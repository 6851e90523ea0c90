"""The servers that this account runs on this machine: where commands find the URL and the token of each.

A server has a file in a folder of its account, and keeps it locked as long as it lives. A file that nobody has locked
is of a server that was killed: its token is sent to nobody, since anybody may listen at its address by now.
"""

import ipaddress
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import msgspec

from turnout.errors import UsageError
from turnout.messages import Message
from turnout.process import machine
from turnout.process.systems import can_serve
from turnout.storage import private

DEFAULT_URL = "http://127.0.0.1:8711"
FOLDER = "turnout/servers"
FILE_BYTES_MAX = 1 << 16
SERVERS_MAX = 200  #: Of which the files are read.
_DEFAULT_PORTS = {"http": 80, "https": 443}
_IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Running(Message, frozen=True):
    """One server. A home may be shared by several machines, and by containers with networks of their own."""

    url: str
    token: str
    data: str
    pid: int
    machine: str
    network: str = ""


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
    server = Running(url, token, str(data), os.getpid(), machine.identity(), machine.network())
    for place in places():
        try:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            place.mkdir(mode=0o700, exist_ok=True)
            if _is_trusted(place):
                return _announce(place / f"{secrets.token_hex(8)}.json", server)  # a pid is not unique in there
        except OSError:  # a home that is not there, or that cannot be written, as in a container
            continue
    return None


def _announce(path: Path, server: Running) -> Announced:
    """Locked before it has its name, so that nobody takes it for the file of a server that has ended."""
    import fcntl  # not on every system that commands run on

    fd, unfinished = private.unfinished(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(fd, msgspec.json.encode(server))
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        os.close(fd)
        raise
    return Announced(path, fd)


def running() -> list[Running]:
    """The servers of this account that run on this machine; the files of those that have ended are removed."""
    if not can_serve():
        return []
    return [found for place in places() if _is_trusted(place) for found in _running(place)]


def _running(place: Path) -> Iterator[Running]:
    here, network = machine.identity(), machine.network()
    for path in sorted(place.glob("*.json"))[:SERVERS_MAX]:
        try:
            with path.open("rb") as file:
                server = msgspec.json.decode(file.read(FILE_BYTES_MAX), type=Running)
                if server.machine != here:  # where not every lock is seen here
                    continue
                if _is_ended(file.fileno()):
                    path.unlink(missing_ok=True)
                    continue
        except (OSError, msgspec.DecodeError, msgspec.ValidationError):
            continue
        if server.network == network:
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

    A token is only ever sent to the server that it is of. What was typed may lead to another account's server, as
    ``localhost`` does where that one listens on ``::1``: with a server's token goes the URL that the server gave.
    """
    if url and token:
        return url, token
    servers = running() if found is None else list(found)
    if url:
        ours = next((server for server in servers if is_same(server.url, url)), None)
        return (url, "") if ours is None else (ours.url, ours.token)
    chosen = _choose(servers)
    return (DEFAULT_URL, token) if chosen is None else (chosen.url, token or chosen.token)


def _choose(servers: list[Running]) -> Running | None:
    """The only one, or the one at the usual address."""
    usual = [server for server in servers if is_same(server.url, DEFAULT_URL)]
    if len(servers) <= 1 or usual:
        return next(iter(usual or servers), None)
    several = "; ".join(f"{server.url} with {server.data}" for server in servers)
    raise UsageError(f"several of your servers run: {several}; name one with --url, or in TURNOUT_URL")


def is_same(ours: str, typed: str) -> bool:
    """Whether the URL that a server of ours gave, which has an address, is meant by what somebody typed.

    Each address is another server's, of this machine's, too: only ``localhost`` may be any of them.
    """
    first, second = urlsplit(ours), urlsplit(typed if "//" in typed else f"//{typed}", scheme="http")
    try:
        ports = first.port or _DEFAULT_PORTS.get(first.scheme), second.port or _DEFAULT_PORTS.get(second.scheme)
    except ValueError:
        return False
    return first.scheme == second.scheme and ports[0] == ports[1] and _is_meant(first, second)


def _is_meant(ours: SplitResult, typed: SplitResult) -> bool:
    address = _address(ours)
    if address is None:
        return False
    return address.is_loopback if typed.hostname == "localhost" else address == _address(typed)


def _address(url: SplitResult) -> _IPAddress | None:
    """Where a connection goes, if the URL says so by an address. One that listens everywhere listens here."""
    try:
        return reached_at(ipaddress.ip_address(url.hostname or ""))
    except ValueError:
        return None


def reached_at(listening: _IPAddress) -> _IPAddress:
    """The address at which people of this machine reach who listens there."""
    if not listening.is_unspecified:
        return listening
    return ipaddress.ip_address("127.0.0.1" if listening.version == 4 else "::1")
