"""The other reference: the least that a Python server does. Parses HTTP, decodes JSON, answers, and nothing else.

    python -m bench.echo PORT

What a gateway of turnout costs above this is its own: limits, routing, checks, and the way to the job. Ends with its
standard input.
"""

import asyncio
import gc
import sys

import httptools
import msgspec
import uvloop

from bench.traffic import STATIC_REPLY

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
BINARY = b"application/vnd.safetensors"

decode = msgspec.json.Decoder(dict[str, object]).decode
encode = msgspec.json.Encoder().encode


class Echo(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._chunks: list[bytes] = []
        self._json = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert hasattr(transport, "write")
        self._write = transport.write

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if value == BINARY:
            self._json = False

    def on_body(self, data: bytes) -> None:
        self._chunks.append(data)

    def on_message_complete(self) -> None:
        body = b"".join(self._chunks)
        self._chunks = []
        if self._json:
            decode(body)
        reply = encode(STATIC_REPLY)
        self._write(HEAD % len(reply) + reply)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port, backlog=4096)
    async with server:
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    gc.freeze()
    uvloop.run(serve(int(sys.argv[1])))
