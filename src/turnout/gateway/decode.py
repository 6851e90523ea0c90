"""What runs in the gateway's worker processes: JSON too large to be read or written on the loop."""

import struct

import msgspec

from turnout.messages import ModelSchema
from turnout.wire import tensors
from turnout.wire.edge_results import ResultQuery, result_from_json

TARGET = "turnout.gateway.decode:decode"
_LENGTH = struct.Struct("<I")


class ResultWork(msgspec.Struct, frozen=True, array_like=True, tag="result"):
    """A result whose body follows: gives a DecodedResult as msgpack."""

    query: ResultQuery
    schema: ModelSchema


class WeightsWork(msgspec.Struct, frozen=True, array_like=True, tag="weights"):
    """A model whose safetensors follow: gives its JSON."""


_WORK: msgspec.msgpack.Decoder[ResultWork | WeightsWork] = msgspec.msgpack.Decoder(ResultWork | WeightsWork)


def result_work(query: ResultQuery, schema: ModelSchema, body: bytes) -> bytes:
    """The payload for ``decode`` to read a result."""
    return _payload(ResultWork(query, schema), body)


def weights_work(model: bytes | memoryview) -> bytes:
    """The payload for ``decode`` to write a model as JSON."""
    return _payload(WeightsWork(), model)


def _payload(work: ResultWork | WeightsWork, body: bytes | memoryview) -> bytes:
    what = msgspec.msgpack.encode(work)
    return b"".join((_LENGTH.pack(len(what)), what, body))


def decode(payload: memoryview) -> bytes:
    """Do one piece of work. Raises DeviceError for what a device did wrong."""
    (length,) = _LENGTH.unpack_from(payload)
    start = _LENGTH.size + length
    work, body = _WORK.decode(payload[_LENGTH.size : start]), payload[start:]
    if isinstance(work, WeightsWork):
        return weights_json(body)
    return msgspec.msgpack.encode(result_from_json(work.query, body, lambda _: work.schema))


def weights_json(model: bytes | memoryview) -> bytes:
    """The JSON of ``{name: nested lists}`` of a safetensors file."""
    vector, schema = tensors.read_safetensors(model)
    return msgspec.json.encode(tensors.to_nested(vector, schema))
