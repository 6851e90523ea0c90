"""The envelope of FLARE's gRPC service: its two protobuf messages <-> bytes.

They hold texts and bytes only, so reading them takes a page. Generated code would have to match the version of a
library, and would name messages that FLARE's own code names too, in a process that may hold both.
"""

from collections.abc import Iterable

import msgspec

from turnout.errors import DeviceError

SERVICE = "edgeapi.EdgeApi"
METHOD = "Query"

ENVELOPE_FIELDS_MAX = 64  #: Fields in a request; FLARE has four. Each costs a step here, and may take two bytes.
NOTHING = memoryview(b"")

_TYPE, _PAYLOAD = 1, 4  # of a request; its method and its header say nothing that matters
_STATUS_TAG, _REPLY_PAYLOAD_TAG = b"\x0a", b"\x12"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_VARINT_BYTES_MAX = 10
_TYPE_BYTES_MAX = 64


class BadEnvelope(DeviceError):
    """What came by gRPC is not a request of this service."""

    reason = "envelope"


class Query(msgspec.Struct, frozen=True):
    """What a request says: which kind it is, and its fields as JSON."""

    type: str
    payload: bytes


def decode_query(data: bytes) -> Query:
    """Raises BadEnvelope. Fields that are not known are skipped; of one that comes twice, the last counts."""
    found = {_TYPE: NOTHING, _PAYLOAD: NOTHING}
    view = memoryview(data)
    at = 0
    for _ in range(ENVELOPE_FIELDS_MAX):
        if at == len(view):
            return Query(_text(found[_TYPE]), bytes(found[_PAYLOAD]))
        key, at = _varint(view, at)
        number, kind = key >> 3, key & 7
        value, at = _field(view, at, kind)
        if number in found and kind == _BYTES:
            found[number] = value
    raise BadEnvelope(f"the request has more than {ENVELOPE_FIELDS_MAX} fields; send type and payload")


def encode_reply(status: str, payload: Iterable[bytes | memoryview]) -> bytes:
    """A reply whose payload comes in parts."""
    parts = tuple(payload)
    text = status.encode("ascii")
    length = _encode_varint(sum(map(len, parts)))
    return b"".join((_STATUS_TAG, _encode_varint(len(text)), text, _REPLY_PAYLOAD_TAG, length, *parts))


def _field(view: memoryview, at: int, kind: int) -> tuple[memoryview, int]:
    """The bytes of a field that begins here, and where it ends."""
    if kind == _BYTES:
        length, at = _varint(view, at)
    elif kind == _VARINT:
        _, end = _varint(view, at)
        length = end - at
    elif kind == _FIXED64:
        length = 8
    elif kind == _FIXED32:
        length = 4
    else:
        raise BadEnvelope(f"the request is not protobuf: a field has the unknown wire type {kind}")
    end = at + length
    if end > len(view):
        raise BadEnvelope("the request is cut short: a field ends beyond it")
    return view[at:end], end


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    """The number that stands here, and where it ends."""
    value = 0
    for place, byte in enumerate(view[at : at + _VARINT_BYTES_MAX]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise BadEnvelope("the request is not protobuf, or it is cut short: a number in it has no end")


def _encode_varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _text(raw: memoryview) -> str:
    if len(raw) > _TYPE_BYTES_MAX:
        raise BadEnvelope(f"type has {len(raw)} bytes; the longest that there is has far fewer than {_TYPE_BYTES_MAX}")
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError:
        raise BadEnvelope("type is not UTF-8 text") from None
