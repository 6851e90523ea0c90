"""Files that go out through the API, in pieces."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from typing import BinaryIO

from starlette.responses import Response, StreamingResponse

CHUNK_BYTES = 1 << 18


def download(file: BinaryIO, name: str, media_type: str, headers: Mapping[str, str]) -> Response:
    """Send an open file, which is closed afterwards, to be saved under ``name``."""
    size = os.fstat(file.fileno()).st_size
    sent = {"Content-Length": str(size), "Content-Disposition": f'attachment; filename="{name}"', **headers}
    return StreamingResponse(_chunks(file), headers=sent, media_type=media_type)


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk
