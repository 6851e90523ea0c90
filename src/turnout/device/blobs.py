"""Models by their sha256: fetched once, checked, resumed where a download was interrupted, and kept for a while."""

import asyncio
import hashlib
import re
from collections import OrderedDict

from turnout.device.http import HttpClient
from turnout.device.http_connection import HttpFailure
from turnout.errors import TurnoutError
from turnout.messages import ModelRef
from turnout.wire.edge_replies import HttpReply, blob_path
from turnout.wire.edge_requests import HttpRequest

KEPT_BYTES_MAX = 256 * 2**20
BLOB_BYTES_MAX = 2**31  #: No larger model is fetched.
PIECES_MAX = 20  #: Times that one download is taken up again, as long as each brings something.
HASHED_INLINE_BYTES = 2**20  #: A larger blob is hashed in a thread.

_CONTENT_RANGE = re.compile(rb"bytes (\d{1,15})-\d{1,15}/(\d{1,15}|\*)")


class BlobUnavailable(TurnoutError):
    """A model cannot be had now, or not any more."""


class BlobCache:
    """Models of one server, for any number of devices: each is fetched once, however many want it at a time."""

    def __init__(self, http: HttpClient, kept_bytes_max: int = KEPT_BYTES_MAX) -> None:
        self._http = http
        self._kept_bytes_max = kept_bytes_max
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._coming: dict[str, asyncio.Task[bytes]] = {}

    async def get(self, job_id: str, ref: ModelRef) -> bytes:
        """The bytes of a model. Raises BlobUnavailable."""
        kept = self._kept.get(ref.sha256)
        if kept is not None:
            self._kept.move_to_end(ref.sha256)
            return kept
        coming = self._coming.get(ref.sha256)
        if coming is None:
            coming = asyncio.create_task(self._fetch(job_id, ref))
            self._coming[ref.sha256] = coming
            coming.add_done_callback(lambda _: self._coming.pop(ref.sha256))
        return await asyncio.shield(coming)

    async def close(self) -> None:
        """Give up what is being fetched."""
        for task in self._coming.values():
            task.cancel()
        await asyncio.gather(*self._coming.values(), return_exceptions=True)

    async def _fetch(self, job_id: str, ref: ModelRef) -> bytes:
        if not 0 <= ref.bytes <= BLOB_BYTES_MAX:
            raise BlobUnavailable(f"model {ref.sha256[:12]} is said to have {ref.bytes} bytes")
        data = await self._download(blob_path(job_id, ref.sha256), ref)
        digest = _sha256(data) if len(data) <= HASHED_INLINE_BYTES else await asyncio.to_thread(_sha256, data)
        if digest != ref.sha256:
            raise BlobUnavailable(f"model {ref.sha256[:12]} came with the contents of {digest[:12]}")
        self._keep(ref.sha256, data)
        return data

    def _keep(self, sha256: str, data: bytes) -> None:
        self._kept[sha256] = data
        self._kept_bytes += len(data)
        while self._kept_bytes > self._kept_bytes_max and len(self._kept) > 1:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1])

    async def _download(self, path: str, ref: ModelRef) -> bytes:
        have = bytearray()
        for _ in range(PIECES_MAX):
            before = len(have)
            headers = (("Range", f"bytes={before}-"), ("If-Range", f'"{ref.sha256}"')) if before else ()
            try:
                reply, broken = await self._http.request(HttpRequest("GET", path, headers, b""), ref.bytes), None
            except HttpFailure as failure:
                if failure.partial is None:
                    raise BlobUnavailable(str(failure)) from None
                reply, broken = failure.partial, failure
            if not _add(have, reply, ref):
                raise BlobUnavailable(f"model {ref.sha256[:12]}: the server answers HTTP {reply.status}")
            if len(have) == ref.bytes:
                return bytes(have)
            if broken is None or len(have) <= before:
                break
        raise BlobUnavailable(f"model {ref.sha256[:12]}: {len(have)} of {ref.bytes} bytes came")


def _add(have: bytearray, reply: HttpReply, ref: ModelRef) -> bool:
    """Put a piece where it belongs; False when it is none."""
    if reply.status == 200:
        have[:] = reply.body
        return True
    match = _CONTENT_RANGE.fullmatch(reply.headers.get(b"content-range", b""))
    if reply.status == 206 and match and int(match[1]) == len(have) and match[2] in (b"*", b"%d" % ref.bytes):
        have += reply.body
        return True
    return False


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
