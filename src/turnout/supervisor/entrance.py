"""Where devices come in: the sockets that gateways share, and what each gateway is told of them."""

import ipaddress
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import msgspec

from turnout.client import servers
from turnout.errors import TurnoutError
from turnout.gateway.cors import Origins
from turnout.gateway.settings import Limits
from turnout.supervisor import runtime
from turnout.transport.certificate import Loaded

DEFAULTS = Limits()


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files; gateways look now and then whether they have changed."""

    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class EntranceSettings:
    """What devices find."""

    host: str
    port: int  #: 0 takes a free one.
    tls: Tls | None = None
    grpc_port: int | None = None  #: Of FLARE's gRPC service; 0 takes a free one, None: there is none.
    origins: tuple[str, ...] = ()  #: Of web pages that may use the gateways.
    limits: Limits = DEFAULTS


class Entrance:
    """The open sockets. ``listening`` is inherited by gateways; for gRPC each opens one of its own beside ours."""

    def __init__(self, settings: EntranceSettings) -> None:
        """Check, then open. Raises TurnoutError."""
        self._settings = settings
        check(settings)
        self.listening = runtime.listen(settings.host, settings.port, "--port")
        self._calls = None
        if settings.grpc_port is not None:
            self._calls = runtime.reserve(settings.host, settings.grpc_port, "--grpc-port")

    @property
    def url(self) -> str:
        """Where devices connect."""
        return f"http{'s' if self._settings.tls else ''}://{address(self.listening)}"

    @property
    def grpc_address(self) -> str:
        """Where FLARE's gRPC clients connect; empty when they do not."""
        return "" if self._calls is None else address(self._calls)

    @property
    def result_bytes_max(self) -> int:
        """The largest result that a device can send."""
        return self._settings.limits.result_bytes_max

    @property
    def options(self) -> list[str]:
        """What each gateway is told."""
        options = ["--limits", msgspec.json.encode(self._settings.limits).decode()]
        if (tls := self._settings.tls) is not None:
            options += ["--tls-cert", str(tls.cert.absolute()), "--tls-key", str(tls.key.absolute())]
        if self._calls is not None:
            options += ["--grpc-address", self.grpc_address]
        return options + [part for origin in self._settings.origins for part in ("--cors-origin", origin)]

    def lines(self) -> Iterator[str]:
        """What people should know of it."""
        if self._calls is not None:
            tls = "with TLS" if self._settings.tls else "without TLS"
            yield f"FLARE's gRPC clients and routing proxies connect to {self.grpc_address}, {tls}"
        if self._settings.tls is None and not runtime.is_loopback(self._settings.host):
            yield (
                f"warning: on {self._settings.host} all that devices send and get crosses the network in the clear; "
                "give --tls-cert and --tls-key, or listen on 127.0.0.1 behind a proxy that has TLS"
            )


def check(settings: EntranceSettings) -> None:
    """Raise TurnoutError for what cannot work, before anything is opened."""
    if settings.grpc_port is not None and find_spec("grpc") is None:
        raise TurnoutError('--grpc-port needs grpcio, which is not installed: pip install "turnout[grpc]"')
    if settings.tls is not None:
        Loaded(settings.tls.cert, settings.tls.key)
    Origins(settings.origins)


def address(sock: socket.socket) -> str:
    """Host and port of a socket, as in a URL."""
    return _written(*sock.getsockname()[:2])


def reached_at(sock: socket.socket) -> str:
    """Host and port at which this machine reaches a socket. No browser may go to the address that means all."""
    host, port = sock.getsockname()[:2]
    return _written(str(servers.reached_at(ipaddress.ip_address(host.partition("%")[0]))), port)


def _written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
