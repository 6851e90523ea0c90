"""The gateway's gRPC server, FLARE's ``edgeapi.EdgeApi/Query``: messages in, messages out, on the gateway's own loop.

What is decided, and what a result waits for, is as by HTTP: each request is an ``Exchange``. Needs ``turnout[grpc]``.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # read on import; with it, starting a worker process may hang
import grpc
from grpc import aio

from turnout.errors import DeviceError, TurnoutError
from turnout.gateway.calls import Call, Refusal, no_room, refused
from turnout.gateway.counters import OTHER
from turnout.gateway.exchange import Exchange
from turnout.gateway.limits import GatewayLimits, GrpcLimits
from turnout.gateway.queries import Queries, render
from turnout.gateway.routes import Route
from turnout.gateway.site import Site
from turnout.transport.certificate import BadCertificate, Certificate
from turnout.wire.edge_grpc import METHOD, SERVICE, decode_query

ANY_PORT = "127.0.0.1:0"
Context: TypeAlias = Any  #: grpc's; it has no types.


class GrpcRequest:
    """One request, as its exchange sees it. Its body is here before it begins, and nobody else can send the rest."""

    def __init__(self, site: Site, queries: Queries, limits: GrpcLimits) -> None:
        self.lost = False
        self._site = site
        self._queries = queries
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._answered: asyncio.Future[None] = self._loop.create_future()
        self._exchange: Exchange | None = None
        self._patience: asyncio.TimerHandle | None = None

    async def answer(self, message: bytes) -> bytes:
        """The reply to a request's message."""
        exchange, route = self._begin(message)
        await self._answered
        assert exchange.outcome is not None, "an answered call has an outcome"
        site = self._site
        status, reply = render(exchange.outcome, route, exchange.platform, site.writer, self._limits.message_bytes_max)
        site.counters.answer(exchange.kind, status, exchange.asked_at)
        return reply

    def end(self) -> None:
        """The reply has been sent, or nobody waits for it any more."""
        self.lost = True
        if self._patience is not None:
            self._patience.cancel()
        exchange, self._exchange = self._exchange, None  # which holds us: without this only the collector frees both
        if exchange is not None and exchange.outcome is None:
            exchange.abandon()

    def _begin(self, message: bytes) -> tuple[Exchange, Route | None]:
        route: Route | None = None
        decision: Refusal | Call
        payload = b""
        try:
            query = decode_query(message)
            route, decision = self._queries.head(query)
            payload = query.payload
        except DeviceError as error:
            decision = refused(error)
        kind = OTHER if route is None else route
        self._site.counters.requests[kind] += 1
        self._exchange = exchange = Exchange(self, self._site, kind)
        if isinstance(decision, Refusal):
            exchange.refuse(decision)
            return exchange, route
        exchange.begin(decision, len(payload))
        if exchange.waiting:
            self._patience = self._loop.call_later(self._site.limits.admission_timeout_s, self._give_up, exchange)
        if exchange.outcome is None:
            exchange.run(payload)
        return exchange, route

    def _give_up(self, exchange: Exchange) -> None:
        if exchange.waiting and exchange.outcome is None:
            exchange.refuse(no_room(self._site.limits.retry_after_s))

    # --- what an exchange says ---

    def answered(self, exchange: Exchange) -> None:
        if not self._answered.done():
            self._answered.set_result(None)

    def admitted(self, exchange: Exchange) -> None:
        """Its body has been read already."""

    def skips_body(self, exchange: Exchange) -> None:
        """As well."""

    def gives_way(self, exchange: Exchange) -> bool:
        return False


def _options(limits: GrpcLimits, shared: GatewayLimits) -> list[tuple[str, int]]:
    """The limits in grpc's words."""
    return [
        ("grpc.so_reuseport", 1),
        ("grpc.compression_enabled_algorithms_bitset", 1),  # none: a small message could become the largest there is
        ("grpc.max_receive_message_length", limits.message_bytes_max),
        ("grpc.max_send_message_length", -1),  # what is too large is said in words instead
        ("grpc.max_concurrent_streams", limits.connection_calls_max),
        ("grpc.max_allowed_incoming_connections", limits.connections_max),
        ("grpc.max_metadata_size", shared.head_bytes_max),
        ("grpc.absolute_max_metadata_size", shared.head_bytes_max),
        ("grpc.max_connection_idle_ms", _ms(shared.idle_timeout_s)),
        ("grpc.max_connection_age_ms", _ms(limits.connection_age_max_s)),
        ("grpc.max_connection_age_grace_ms", _ms(limits.connection_age_grace_s)),
        ("grpc.keepalive_time_ms", _ms(limits.keepalive_s)),
        ("grpc.keepalive_timeout_ms", _ms(limits.keepalive_timeout_s)),
        ("grpc.server_handshake_timeout_ms", _ms(shared.head_timeout_s)),
    ]


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


class GrpcServer:
    """Serves ``edgeapi.EdgeApi/Query`` for one gateway, whose ``site`` it shares.

    Its port is shared with the other gateways, each with a socket of its own: grpc takes none that is open already.
    """

    def __init__(self, site: Site, address: str, limits: GrpcLimits, certificate: Certificate | None = None) -> None:
        self._site = site
        self._address = address
        self._limits = limits
        self._certificate = certificate
        self._queries = Queries(site.core)
        self._calls: set[GrpcRequest] = set()
        self._turns = asyncio.Semaphore(limits.reads_max)
        self._servers: list[Any] = []
        self._leaving: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Accept connections from now on; the port. Raises TurnoutError."""
        server = aio.server(options=_options(self._limits, self._site.limits))
        # Both ways as a stream, which is the same to a client: so that we decide when a message is read, and for how
        # long. A request that grpc reads by itself may take for ever.
        handler = grpc.stream_stream_rpc_method_handler(self._query)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
        try:
            port = self._listen(server)
        except RuntimeError as error:
            raise self._trouble(error) from None
        await server.start()
        self._servers.append(server)
        self._address = f"{self._address.rpartition(':')[0]}:{port}"
        return port

    def _listen(self, server: Any) -> int:
        if self._certificate is None:
            return int(server.add_insecure_port(self._address))
        return int(server.add_secure_port(self._address, self._credentials()))

    def _credentials(self) -> Any:
        assert self._certificate is not None, "only a server with a certificate has credentials"
        loaded = self._certificate.loaded
        return grpc.ssl_server_credentials([(loaded.key, loaded.chain)])

    def _trouble(self, error: RuntimeError) -> TurnoutError:
        """Why we cannot listen: grpc has the same words for an address that is taken and for a bad certificate."""
        if self._certificate is not None:
            try:
                aio.server().add_secure_port(ANY_PORT, self._credentials())
            except RuntimeError:
                return BadCertificate(
                    f"gRPC cannot use --tls-cert {self._certificate.cert}, though HTTPS can: "
                    "its key must be RSA, or ECDSA on the curve P-256 or P-384"
                )
        return TurnoutError(f"cannot listen on {self._address} for gRPC: {error}")

    async def renew(self) -> None:
        """Show the new certificate to all that connect from now on; what was asked before is answered.

        Raises TurnoutError, and shows the old one still, when grpc cannot use it.

        By another server on the same port. grpc has credentials that change, but with many connections they crash.
        """
        before = self._servers.copy()
        await self.start()
        for server in before:
            task = asyncio.create_task(self._leave(server))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def drain(self) -> None:
        """Accept no more, and answer what has been asked within ``drain_timeout_s``."""
        await self._stop(self._site.limits.drain_timeout_s)

    async def close(self) -> None:
        """Accept no more, answer what has been asked within ``close_timeout_s``, and close."""
        await self._stop(self._site.limits.close_timeout_s)
        await asyncio.gather(*self._leaving)

    async def _stop(self, grace_s: float) -> None:
        await asyncio.gather(*(server.stop(grace_s) for server in self._servers))

    async def _leave(self, server: Any) -> None:
        await server.stop(self._site.limits.drain_timeout_s)
        self._servers.remove(server)

    async def _query(self, _: AsyncIterator[bytes], context: Context) -> None:
        if len(self._calls) >= self._limits.calls_max:
            self._site.counters.refuse("calls")
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests at once; try again later")
        call = GrpcRequest(self._site, self._queries, self._limits)
        self._calls.add(call)
        try:
            message = await self._read(context)
            self._site.counters.bytes_in += len(message)
            reply = await call.answer(message)
            await self._write(context, reply)
        except aio.InternalError:  # the client went in the middle of a message, perhaps one larger than it takes
            raise asyncio.CancelledError from None
        finally:
            self._calls.discard(call)
            call.end()

    async def _read(self, context: Context) -> bytes:
        try:
            async with asyncio.timeout(self._site.limits.admission_timeout_s):
                await self._turns.acquire()
        except TimeoutError:
            self._site.counters.refuse("reads")
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests are coming in; try again later")
        try:
            return await self._read_now(context)
        finally:
            self._turns.release()

    async def _read_now(self, context: Context) -> bytes:
        message: Any = aio.EOF
        try:
            async with asyncio.timeout(self._limits.read_time_max_s):
                message = await context.read()
        except TimeoutError:
            self._site.counters.refuse("long_body")
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the request came too slowly")
        if message is aio.EOF:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "there is no message in the request")
        return bytes(message)

    async def _write(self, context: Context, reply: bytes) -> None:
        try:
            async with asyncio.timeout(self._limits.reply_time_max_s):
                await context.write(reply)
        except TimeoutError:
            self._site.counters.refuse("write_stalled")
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the reply was taken too slowly")
        self._site.counters.bytes_out += len(reply)
