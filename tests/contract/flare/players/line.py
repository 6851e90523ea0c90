"""A device's HTTP connections, byte by byte: kept where its library keeps them."""

import asyncio
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import msgspec

WAIT_S = 20.0  #: A request that takes longer has failed its test.

Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


@dataclass(slots=True)
class Line:
    """Where a device sends its requests. ``opened`` counts its connections, ``answers`` are all it got."""

    url: str
    opened: int = 0
    answers: list[Answer] = field(default_factory=list)
    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    async def post(self, target: str, headers: Headers, body: bytes, method: str = "POST") -> Answer:
        """Send one request, in these headers and this order, and read its reply."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        async with asyncio.timeout(WAIT_S):
            reader, writer = await self._open()
            writer.write(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + body)
            answer = await _read(reader)
        self.answers.append(answer)
        if answer.headers.get("connection", "").lower() == "close":
            self.hang_up()
        return answer

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            host, _, port = self.host.partition(":")
            self._streams = await asyncio.open_connection(host, int(port))
            self.opened += 1
        return self._streams

    def hang_up(self) -> None:
        """Close the connection; the next request opens another."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _read(reader: asyncio.StreamReader) -> Answer:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").strip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return Answer(int(first.split(" ")[1]), headers, await reader.readexactly(int(headers["content-length"])))
