"""A loopback HTTP server that answers by a script, for the tests of devices."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from turnout.wire.edge_requests import HttpRequest


@dataclass
class Asked:
    """One request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Script = Callable[[Asked], bytes | Awaitable[bytes | None] | None]


@dataclass
class ScriptedServer:
    """Answers each request with the bytes that ``script`` returns; closes the connection where it returns None.

    Bytes that end with CLOSE are sent without it, and the connection is closed after them.
    """

    script: Script
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    async def __aenter__(self) -> "ScriptedServer":
        self._writers: set[asyncio.StreamWriter] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")
                method, target, _ = lines[0].split(" ")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:-2])}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                asked = Asked(method, target, headers, body)
                self.asked.append(asked)
                answer = self.script(asked)
                reply = answer if isinstance(answer, bytes | None) else await answer
                if reply is None:
                    break
                writer.write(reply.removesuffix(CLOSE))
                await writer.drain()
                if reply.endswith(CLOSE):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self._writers.discard(writer)


CLOSE = b"<close>"


def reply(body: bytes, status: int = 200, *headers: str) -> bytes:
    """A sized reply."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def get(target: str, *headers: tuple[str, str]) -> HttpRequest:
    return HttpRequest("GET", target, headers, b"")


def post(target: str, body: bytes) -> HttpRequest:
    return HttpRequest("POST", target, (), body)
