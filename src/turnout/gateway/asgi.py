"""The gateway as an ASGI application: for servers that speak HTTP/2, sit behind a proxy, or are there already.

What is decided, and what a result waits for, is as in ``http1``: each request is an ``Exchange``. Connections, their
time-outs and what is malformed are the server's. Our own server takes half the CPU of the quickest of these.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import quote

from turnout.blobs.base import BlobName
from turnout.gateway.calls import Call, Refusal, no_room
from turnout.gateway.core import too_large
from turnout.gateway.counters import OTHER
from turnout.gateway.exchange import Exchange
from turnout.gateway.http1.framing import HOST, repeated, wrong_host
from turnout.gateway.http1.reading import Decision
from turnout.gateway.http1.replies import Header, Manner, Misuse, Reply, misuse, render
from turnout.gateway.http1.sender import WRITE_BYTES
from turnout.gateway.http1.shared import Shared

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Disconnected(Exception):
    """The device is gone before its request was whole."""


class AsgiRequest:
    """One request, as its exchange sees it, and as its server does."""

    def __init__(self, shared: Shared, receive: Receive, send: Send) -> None:
        self.lost = False
        self._shared = shared
        self._site = shared.site
        self._receive = receive
        self._send = send
        self._moved = asyncio.Event()  # it was answered, or its body may be read
        self._whole = False  # its body has been read
        self._close = False  # nothing more is read of its connection

    async def run(self, scope: Scope) -> None:
        """Answer the request."""
        site, reader = self._site, self._shared.reader
        headers, wrong = _headers(scope)
        length = _length(scope, headers)
        method = scope["method"].encode("ascii")
        route, decision = reader.head(method, _target(scope), headers, length)
        kind = OTHER if route is None else route
        site.counters.requests[kind] += 1
        exchange = Exchange(self, site, kind)
        manner = Manner(head_only=method == b"HEAD", cors=reader.cors(headers), asked=headers)
        try:
            await self._decide(exchange, wrong or decision, length)
            while exchange.outcome is None:
                await self._wait_moved()
            reply = render(exchange.outcome, exchange.platform, site.writer, manner)
            if reply.refused:
                site.counters.refuse(reply.refused)
            site.counters.answer(kind, reply.label, exchange.asked_at)
            await self._reply(reply, manner)
        except Disconnected:
            pass
        finally:
            self.lost = True
            exchange.abandon()

    async def _decide(self, exchange: Exchange, decision: Decision, length: int | None) -> None:
        if isinstance(decision, Call):
            await self._with_body(exchange, decision, length)
        elif isinstance(decision, BlobName):
            exchange.find_model(decision)
        elif isinstance(decision, Refusal):
            exchange.refuse(decision)
        else:
            exchange.settle(decision)

    async def _with_body(self, exchange: Exchange, call: Call, length: int | None) -> None:
        limits = self._site.limits
        exchange.begin(call, call.limit_bytes if length is None else length)
        try:
            async with asyncio.timeout(limits.admission_timeout_s):
                while exchange.waiting and exchange.outcome is None:
                    await self._wait_moved()
        except TimeoutError:
            exchange.refuse(no_room(limits.retry_after_s))
        if exchange.outcome is not None:
            return
        try:
            async with asyncio.timeout(limits.body_time_max_s):
                body = await self._body(call.limit_bytes)
        except TimeoutError:
            exchange.refuse(misuse(408, "long_body", f"the body took longer than {limits.body_time_max_s:g} s"))
            return
        if body is None:
            exchange.refuse(self._site.core.refuse(call, too_large(call.limit_bytes)))
        elif exchange.outcome is None:
            exchange.run(body)

    async def _body(self, bytes_max: int) -> bytes | None:
        """All of it; None when it is too large."""
        pieces: list[bytes] = []
        size = 0
        while not self._whole:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            piece = message.get("body", b"")
            self._site.counters.bytes_in += len(piece)
            size += len(piece)
            if size > bytes_max:
                return None
            pieces.append(piece)
            self._whole = not message.get("more_body", False)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _wait_moved(self) -> None:
        await self._moved.wait()
        self._moved.clear()

    async def _reply(self, reply: Reply, manner: Manner) -> None:
        headers: list[Header] = [*reply.headers, *manner.cors]
        if reply.status not in (204, 304):
            length = sum(map(len, reply.body))
            headers += [(b"Content-Type", reply.media), (b"Content-Length", b"%d" % length)]
        if self._close:
            headers.append((b"Connection", b"close"))
        await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})
        for part in () if manner.head_only else reply.body:
            view = memoryview(part)
            self._site.counters.bytes_out += len(view)
            for start in range(0, len(view), WRITE_BYTES):
                piece = bytes(view[start : start + WRITE_BYTES])
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    # --- what an exchange says ---

    def answered(self, exchange: Exchange) -> None:
        self._moved.set()

    def admitted(self, exchange: Exchange) -> None:
        self._moved.set()

    def skips_body(self, exchange: Exchange) -> None:
        self._close = not self._whole

    def gives_way(self, exchange: Exchange) -> bool:
        return False


class AsgiGateway:
    """The application. ``connections`` in its counters are requests under way: the server keeps its own to itself."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        assert scope["type"] == "http", "devices speak HTTP alone"
        counters = self._shared.site.counters
        counters.connections += 1
        try:
            await AsgiRequest(self._shared, receive, send).run(scope)
        finally:
            counters.connections -= 1


def _headers(scope: Scope) -> tuple[dict[bytes, bytes], Misuse | None]:
    """The headers by name; and what is wrong with them, if anything."""
    headers: dict[bytes, bytes] = {}
    wrong = None
    for name, value in scope["headers"]:
        name, value = bytes(name).lower(), bytes(value)
        if name in headers:
            wrong = wrong or repeated(name, headers[name] == value)
        else:
            headers[name] = value
    return headers, wrong or wrong_host(headers.get(HOST), scope["http_version"])


def _length(scope: Scope, headers: dict[bytes, bytes]) -> int | None:
    """The length of the body; None when it is not known."""
    if b"transfer-encoding" in headers:
        return None
    if b"content-length" not in headers and scope["http_version"] not in ("1.0", "1.1"):
        return None if scope["method"] == "POST" else 0
    text = headers.get(b"content-length", b"0")
    return int(text) if text.isdigit() else None


def _target(scope: Scope) -> bytes:
    path = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
    query: bytes = scope["query_string"]
    return b"%b?%b" % (path, query) if query else bytes(path)
