"""The gateway as an ASGI application: for servers that speak HTTP/2, sit behind a proxy, or are there already.

What is decided, and what a result waits for, is as in ``http1``: each request is an ``Exchange``. Connections, their
time-outs and what is malformed are the server's. Our own server takes half the CPU of the quickest of these.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import quote

from turnout.gateway.core import BlobReply, BlobWanted, Expect, too_large
from turnout.gateway.counters import OTHER
from turnout.gateway.exchange import OCTETS, WRITE_BYTES, Buffers, Exchange, Site
from turnout.gateway.http1.framing import HOST, repeated, wrong_host
from turnout.gateway.http1.replies import JSON_TYPE, Header, Reply, refusal, unavailable
from turnout.messages import EdgeResponse, Status

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Disconnected(Exception):
    """The device is gone before its request was whole."""


class AsgiExchange(Exchange):
    """An exchange whose reply goes to an ASGI server: its status and headers apart from its body, ``out``."""

    status = 200
    headers: tuple[Header, ...] = ()

    def set_reply(self, reply: Reply) -> None:
        self._note(reply)
        self._set(reply.status, reply.headers, JSON_TYPE, (reply.body,))

    def _put(self, response: EdgeResponse) -> None:
        self._put_large(response.status, (self._site.writer.encode(response, self._platform),))

    def _put_large(self, status: Status, body: Buffers) -> None:
        self._count(status)
        self._set(200, (), JSON_TYPE, body)

    def _put_blob(self, selected: BlobReply, blob: memoryview) -> None:
        self._set(selected.status, selected.headers, OCTETS, (blob[selected.start : selected.stop],))

    def _set(self, status: int, headers: tuple[Header, ...], media: bytes, body: Buffers) -> None:
        self.status = status
        fixed = [*headers, *self.cors]
        if status not in (204, 304):
            fixed += [(b"Content-Type", media), (b"Content-Length", b"%d" % sum(map(len, body)))]
        if self.close:
            fixed.append((b"Connection", b"close"))
        self.headers = tuple(fixed)
        self.out = () if self.head_only else body


class Call:
    """One request, as its exchange sees it, and as its server does."""

    def __init__(self, site: Site, receive: Receive, send: Send) -> None:
        self.lost = False
        self._site = site
        self._receive = receive
        self._send = send
        self._moved = asyncio.Event()  # it was answered, or its body may be read
        self._whole = False  # its body has been read

    async def run(self, scope: Scope) -> None:
        """Answer the request."""
        site = self._site
        headers, wrong = _headers(scope)
        length = _length(scope, headers)
        route, decision = site.core.head(scope["method"].encode("ascii"), _target(scope), headers, length)
        kind = OTHER if route is None else route
        site.counters.requests[kind] += 1
        exchange = AsgiExchange(self, site, kind)
        exchange.head_only = scope["method"] == "HEAD"
        exchange.cors = site.core.cors(headers)
        if wrong is not None:
            decision = wrong
        try:
            await self._answer(exchange, decision, length, b"content-length" in headers)
        except Disconnected:
            pass
        finally:
            self.lost = True
            exchange.abandon()

    async def _answer(
        self, exchange: AsgiExchange, decision: Reply | Expect | BlobWanted, length: int | None, sized: bool
    ) -> None:
        if isinstance(decision, Expect) and (length != 0 or sized):
            await self._with_body(exchange, decision, length)
        elif isinstance(decision, Expect):
            exchange.reply(refusal(411, "length_required", "send the body with Content-Length, or in chunks"))
        elif isinstance(decision, Reply):
            exchange.reply(decision)
        else:
            exchange.find_blob(decision)
        while exchange.out is None:
            await self._wait_moved()
        await self._reply(exchange)

    async def _with_body(self, exchange: AsgiExchange, expect: Expect, length: int | None) -> None:
        limits = self._site.limits
        exchange.begin(expect, expect.limit_bytes if length is None else length)
        try:
            async with asyncio.timeout(limits.admission_timeout_s):
                while exchange.held and exchange.out is None:
                    await self._wait_moved()
        except TimeoutError:
            exchange.reply(unavailable("no_room", "the server holds too many results; send it again later", 5))
        if exchange.out is not None:
            return
        try:
            async with asyncio.timeout(limits.body_time_max_s):
                body = await self._body(expect.limit_bytes)
        except TimeoutError:
            exchange.reply(refusal(408, "long_body", f"the body took longer than {limits.body_time_max_s:g} s"))
            return
        if body is None:
            exchange.reply(self._site.core.told(expect, too_large(expect.limit_bytes)))
        elif exchange.out is None:
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

    async def _reply(self, exchange: AsgiExchange) -> None:
        assert isinstance(exchange.out, tuple), "an ASGI reply is in parts"
        await self._send({"type": "http.response.start", "status": exchange.status, "headers": exchange.headers})
        for part in exchange.out:
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

    def turned_away(self, exchange: Exchange) -> bool:
        return not self._whole

    def gives_way(self, exchange: Exchange) -> bool:
        return False


class AsgiGateway:
    """The application. ``connections`` in its counters are requests under way: the server keeps its own to itself."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        assert scope["type"] == "http", "devices speak HTTP alone"
        counters = self._site.counters
        counters.connections += 1
        try:
            await Call(self._site, receive, send).run(scope)
        finally:
            counters.connections -= 1


def _headers(scope: Scope) -> tuple[dict[bytes, bytes], Reply | None]:
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
