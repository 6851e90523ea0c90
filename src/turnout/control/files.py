"""Files that come in and go out through the API, in pieces."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import BinaryIO

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from turnout.control.problems import Problem

CHUNK_BYTES = 1 << 18


async def receive(request: Request, target: BinaryIO, bytes_max: int, what: str) -> int:
    """Write the body to a file; its size. Raises Problem beyond the bound, which is judged by what really comes."""
    num_bytes = 0
    async for chunk in request.stream():
        num_bytes += len(chunk)
        if num_bytes > bytes_max:
            raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{what} may have {bytes_max} bytes")
        target.write(chunk)
    return num_bytes


def download(file: BinaryIO, name: str, media_type: str, headers: Mapping[str, str]) -> Response:
    """Send an open file, which is closed afterwards, to be saved under ``name``."""
    size = os.fstat(file.fileno()).st_size
    sent = {"Content-Length": str(size), "Content-Disposition": f'attachment; filename="{name}"', **headers}
    return StreamingResponse(_chunks(file), headers=sent, media_type=media_type)


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk
