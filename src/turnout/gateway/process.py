"""The gateway process: what the supervisor starts, from its command line to its end."""

import argparse
import asyncio
import logging
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from turnout.dispatcher.pending import DispatcherLimits
from turnout.errors import TurnoutError
from turnout.gateway.cors import Origins
from turnout.gateway.gateway import Following, Gateway, Ticking, tick
from turnout.gateway.http1.server import GatewayServer
from turnout.gateway.limits import GatewayLimits, GrpcLimits
from turnout.gateway.settings import Limits
from turnout.process import loops, role
from turnout.process.heartbeat import Pulse
from turnout.transport import feed
from turnout.transport.certificate import LOOK_S, Certificate

if TYPE_CHECKING:
    from turnout.gateway.grpc import GrpcServer

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until the supervisor ends or says so."""
    parser = argparse.ArgumentParser(prog="python -m turnout.gateway.process", description=__doc__)
    parser.add_argument("--number", type=int, default=0, help="of this gateway among those of the machine")
    parser.add_argument("--listen-fd", type=int, action="append", required=True, help="an inherited listening socket")
    parser.add_argument("--feed", type=Path, required=True, help="control's socket that tells which jobs run")
    parser.add_argument("--tls-cert", type=Path, help="the certificate to show to devices, and its chain; PEM")
    parser.add_argument("--tls-key", type=Path, help="its private key; PEM")
    parser.add_argument("--cors-origin", action="append", default=[], help="of web pages that may use this gateway")
    parser.add_argument("--limits", type=_limits, default=Limits(), help="[limits] of the server's settings, as JSON")
    parser.add_argument("--grpc-address", help="host:port of FLARE's gRPC service, shared with the other gateways")
    role.add_options(parser)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)  # the supervisor says whose
    _raise_file_limit()
    role.spare_collector()
    try:
        loops.run(serve(options))
    except TurnoutError as error:
        logger.error("%s", error)
        return 1
    return 0


def _limits(text: str) -> Limits:
    return msgspec.json.decode(text, type=Limits)


def gateway_limits(set_: Limits) -> GatewayLimits:
    """All limits of a gateway, some of which an operator sets."""
    return GatewayLimits(
        connections_max=set_.connections_max,
        idle_timeout_s=set_.idle_timeout_s,
        body_time_max_s=set_.body_time_max_s,
        body_bytes_per_s_min=set_.body_bytes_per_s_min,
        result_bytes_max=set_.result_bytes_max,
        blobs_bytes_max=set_.blobs_bytes_max,
        weights_model_bytes_max=set_.weights_model_bytes_max,
        weights_bytes_max=set_.weights_bytes_max,
        drain_timeout_s=set_.retire_s,
    )


def dispatcher_limits(set_: Limits) -> DispatcherLimits:
    """Those of its dispatcher."""
    return DispatcherLimits(inflight_max=set_.inflight_max, results_bytes_max=set_.results_bytes_max)


async def serve(options: argparse.Namespace, follow: Following = feed.follow, tick: Ticking = tick) -> None:
    """Build the gateway, serve, and end gracefully.

    ``follow`` hears from control which jobs run, and ``tick`` lets requests time out: without either this process ends.
    """
    stopping, draining = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGQUIT, draining.set)
    pulse = Pulse(options.pulse_fd)
    role.heed(options.lifeline_fd, pulse, stopping.set, (signal.SIGTERM, signal.SIGINT))
    origins, set_ = Origins(options.cors_origin), options.limits
    gateway = Gateway(options.number, gateway_limits(set_), origins, dispatcher_limits(set_))
    server = gateway.server
    certificate = Certificate(options.tls_cert, options.tls_key) if options.tls_cert is not None else None
    calls = _grpc_server(options, server, certificate)

    async def live() -> None:
        await gateway.wait_connected()
        if calls is not None:
            await calls.start()
        tls = certificate.context if certificate is not None else None
        await server.start([socket.socket(fileno=fd) for fd in options.listen_fd], tls)
        pulse.progress()
        await draining.wait()
        await asyncio.gather(server.drain(), *(() if calls is None else (calls.drain(),)))

    tasks: list[asyncio.Task[Any]] = [
        *gateway.run(options.feed, logger.warning, follow, tick),
        *map(asyncio.create_task, (live(), _renew(certificate, calls), stopping.wait())),
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # an error in any of them ends this process, and the supervisor starts another
    finally:
        await asyncio.gather(server.close(), *(() if calls is None else (calls.close(),)))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        gateway.close()


def _grpc_server(
    options: argparse.Namespace, server: GatewayServer, certificate: Certificate | None
) -> "GrpcServer | None":
    if options.grpc_address is None:
        return None
    from turnout.gateway import grpc  # takes a moment and some memory, and is an extra

    return grpc.GrpcServer(
        server.site,
        options.grpc_address,
        GrpcLimits(message_bytes_max=options.limits.grpc_message_bytes_max),
        certificate,
    )


async def _renew(certificate: Certificate | None, calls: "GrpcServer | None") -> None:
    """Notice a new certificate in the files of the old one, for as long as we live."""
    while True:
        await asyncio.sleep(LOOK_S)
        if certificate is not None:
            await look(certificate, calls)


async def look(certificate: Certificate, calls: "GrpcServer | None") -> None:
    """Take the new certificate, if there is one. What only HTTPS can use, only HTTPS shows."""
    before = certificate.loaded
    if line := certificate.look():
        logger.warning("%s", line)
    if calls is not None and certificate.loaded is not before:
        try:
            await calls.renew()
        except (TurnoutError, OSError) as error:
            logger.warning("by gRPC the old certificate stays in use: %s", error)


def _raise_file_limit() -> None:
    """Take as many descriptors as the system allows us: each connection needs one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
