"""Heads of requests that were understood once, and what they mean from any other device. Pure.

Devices of one app send heads that differ in the device's id and in nothing else, or where they report a result, in the
query too. A head is kept without these; one that is the same but for them is not parsed again.
"""

from typing import NamedTuple

from turnout.errors import DeviceError
from turnout.gateway.calls import Call
from turnout.gateway.core import GatewayCore
from turnout.gateway.routes import parse_query
from turnout.wire.edge_headers import DEVICE_ID, DeviceReader

HEADS_KEPT_MAX = 1024  #: One for each app version, job and kind of request that is about.
HEAD_KEPT_BYTES_MAX = 2048  #: The longest of these; a browser's has about eight hundred bytes.
HEAD_END = b"\r\n\r\n"

_ID_LINE = f"\r\n{DEVICE_ID}: ".encode()
_ID_NAME = DEVICE_ID.lower().encode()
_RESULT = b"POST /result?"
_QUERY_BYTES = bytes(range(ord("!"), ord("~") + 1))  #: What stands in other queries is the parser's to judge.


class _Known(NamedTuple):
    """What a head means but for who sends it."""

    call: Call
    body_bytes: int
    info: bytes | None


class KnownHeads:
    """The heads of one gateway's requests."""

    def __init__(self, core: GatewayCore) -> None:
        self._core = core
        self._devices = DeviceReader()
        self._heads: dict[bytes, _Known] = {}

    def find(self, data: bytes) -> tuple[Call, bytes] | None:
        """What ``data`` asks, and its body, if it is one whole request with a head that is known."""
        at = data.find(_ID_LINE)
        if at < 0:
            return None
        start = at + len(_ID_LINE)
        end = data.find(b"\r", start)
        head_bytes = data.find(HEAD_END, end) + len(HEAD_END)
        query_end = max(data.find(b" ", len(_RESULT)), 0) if data.startswith(_RESULT) else 0
        known = self._heads.get(data[query_end:start] + data[end:head_bytes])
        if known is None or len(data) != head_bytes + known.body_bytes:
            return None
        try:
            device = self._devices.device(data[start:end], known.info)
        except DeviceError:
            return None  # to be parsed, and refused
        if len(device.device_id) != end - start:
            return None  # what stands around the id is the parser's to judge
        like = known.call
        if like.result is None:
            return Call(like.route, device, like.user, like.query, like.limit_bytes), data[head_bytes:]
        query = data[len(_RESULT) : query_end]
        if query.translate(None, _QUERY_BYTES):  # some are left; a regular expression takes four times as long
            return None
        try:
            fields = parse_query(query)
        except DeviceError:
            return None
        call = self._core.expect_result(device, like.user, fields, known.body_bytes, like.binary)
        return (call, data[head_bytes:]) if type(call) is Call and call.offer is None else None

    def remember(self, data: bytes, call: Call, body_bytes: int, info: bytes | None) -> None:
        """Keep the head of ``data``, if that is one whole request, which was parsed and means ``call``."""
        head_bytes = len(data) - body_bytes
        if head_bytes > HEAD_KEPT_BYTES_MAX:
            return
        head = data[:head_bytes]
        start = head.find(_ID_LINE) + len(_ID_LINE)
        whole = head.find(HEAD_END) == head_bytes - len(HEAD_END)  # and no request before it
        if not whole or start < len(_ID_LINE) or head.lower().count(_ID_NAME) != 1:
            return
        if len(self._heads) >= HEADS_KEPT_MAX:
            self._heads.clear()
        query_end = max(head.find(b" ", len(_RESULT)), 0) if head.startswith(_RESULT) else 0
        self._heads[head[query_end:start] + head[head.find(b"\r", start) :]] = _Known(call, body_bytes, info)
