"""Messages over a stream between two processes of ours: u32 length, then msgpack.

For the few connections that carry a message now and then (the feed, the supervisor's), as opposed to ``frames``, which
carries thousands of requests a second. Each side first says which version it speaks.
"""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from turnout.errors import ServerError
from turnout.transport.listening import Listening

STREAM_VERSION = 2
MESSAGE_BYTES_MAX = 64 << 20
UNSENT_BYTES_MAX = 64 << 20  #: A peer that leaves more than this unread is cut off.
HELLO_TIMEOUT_S = 5.0
_MAGIC = b"turnout\n"
_HELLO = struct.Struct(">8sI")
_LENGTH = struct.Struct(">I")
_encoder = msgspec.msgpack.Encoder()

In = TypeVar("In")


class MessageStream(Generic[In]):
    """One connection. ``send`` never waits; ``receive`` returns None when the other side has ended it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, decoder: msgspec.msgpack.Decoder[In]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = decoder

    async def greet(self) -> None:
        """Say our version and hear theirs. Raises ServerError when they differ or nobody speaks."""
        self._writer.write(_HELLO.pack(_MAGIC, STREAM_VERSION))
        try:
            hello = await asyncio.wait_for(self._reader.readexactly(_HELLO.size), HELLO_TIMEOUT_S)
        except (asyncio.IncompleteReadError, TimeoutError, OSError):
            raise ServerError("the other side did not say which version it speaks") from None
        magic, version = _HELLO.unpack(hello)
        if magic != _MAGIC:
            raise ServerError("the other side is not a process of turnout")
        if version != STREAM_VERSION:
            raise ServerError(f"stream version {version} offered, {STREAM_VERSION} spoken: update the older side")

    def send(self, message: object) -> None:
        """Queue one message; a peer that reads too slowly is cut off instead of filling our memory."""
        transport = self._writer.transport
        if transport.is_closing():
            return
        payload = _encoder.encode(message)
        if transport.get_write_buffer_size() + len(payload) > UNSENT_BYTES_MAX:
            transport.abort()
            return
        self._writer.writelines((_LENGTH.pack(len(payload)), payload))

    async def receive(self) -> In | None:
        """The next message; None at the end. Raises ServerError when the bytes are not what was agreed."""
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            if length > MESSAGE_BYTES_MAX:
                raise ServerError(f"a message of {length} bytes exceeds {MESSAGE_BYTES_MAX}")
            payload = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError):
            return None
        try:
            return self._decoder.decode(payload)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise ServerError(f"a message cannot be read: {error}") from error

    def cut(self) -> None:
        """End the connection at once; a call that waits in ``receive`` gets None."""
        self._writer.transport.abort()

    async def aclose(self) -> None:
        """Send what is queued and close."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            pass


async def connect(path: Path, decoder: msgspec.msgpack.Decoder[In]) -> MessageStream[In]:
    """Connect to a Unix socket and greet. Raises OSError or ServerError."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    stream = MessageStream(reader, writer, decoder)
    try:
        await stream.greet()
    except BaseException:
        writer.close()
        raise
    return stream


async def serve(
    path: Path,
    decoder: msgspec.msgpack.Decoder[In],
    handle: Callable[[MessageStream[In]], Awaitable[None]],
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Listen at ``path`` until cancelled; ``handle`` gets every connection that spoke our version.

    ``ready`` is called once connections are taken. A ServerError ends only its own connection. When this is cancelled
    all connections are cut and their handlers have ended before it returns.
    """
    open_streams: dict[asyncio.Task[None], MessageStream[In]] = {}

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        stream = open_streams[task] = MessageStream(reader, writer, decoder)
        try:
            await stream.greet()
            await handle(stream)
        except ServerError:
            pass  # the other side sees the same mismatch and says so
        finally:
            del open_streams[task]
            writer.close()

    listening = Listening(str(path), lambda sock: asyncio.start_unix_server(connected, sock=sock))
    await listening.start(take_over=True)  # one server runs in a folder: what listens there is about to end
    try:
        ready()
        await listening.keep()
    finally:
        listening.close()
        for stream in open_streams.values():
            stream.cut()
        if open_streams:
            await asyncio.wait(list(open_streams))
