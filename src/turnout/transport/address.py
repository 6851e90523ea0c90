"""Addresses of job processes: the path of a Unix socket, or ``tcp://127.0.0.1:port`` where there are none."""

import os
from dataclasses import dataclass
from typing import Final

from turnout.errors import ServerError

#: What every system allows (Linux 107, macOS 103), so that a folder that works here works there.
UNIX_PATH_BYTES_MAX: Final = 103
_TCP: Final = "tcp://"
#: Frames carry no proof of who sends them, so they never leave the machine.
_LOOPBACK: Final = ("127.0.0.1", "localhost")


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A socket file."""

    path: str

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A port on the loopback interface; 0 lets the system choose when listening."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{_TCP}{self.host}:{self.port}"


Address = UnixAddress | TcpAddress


def parse_address(text: str) -> Address:
    """Raises ServerError, saying what is allowed, for anything that cannot be connected to or listened on."""
    if text.startswith(_TCP):
        host, _, port = text.removeprefix(_TCP).rpartition(":")
        if host not in _LOOPBACK or not (port.isascii() and port.isdigit() and int(port) < 65536):
            raise ServerError(f'address "{text}": must be tcp://127.0.0.1:PORT, jobs are reached on loopback only')
        return TcpAddress(host, int(port))
    size = len(os.fsencode(text))
    if not 0 < size <= UNIX_PATH_BYTES_MAX:
        raise ServerError(
            f'socket path "{text}" has {size} bytes: 1 to {UNIX_PATH_BYTES_MAX} are allowed, use a shorter folder'
        )
    return UnixAddress(text)
