"""What runs in the gateway's worker processes: JSON too large to be read or written on the loop."""

import struct

import msgspec

from turnout.messages import ModelSchema
from turnout.wire.edge_results import ResultQuery, result_from_json
from turnout.wire.forms import FORMS, Form

TARGET = "turnout.gateway.decode:decode"
_LENGTH = struct.Struct("<I")


class ResultWork(msgspec.Struct, frozen=True, array_like=True, tag="result"):
    """A result whose body follows: gives a DecodedResult as msgpack."""

    query: ResultQuery
    schema: ModelSchema


class ModelWork(msgspec.Struct, frozen=True, array_like=True, tag="model"):
    """A model whose file follows: gives its JSON in this form."""

    form: str


_WORK: msgspec.msgpack.Decoder[ResultWork | ModelWork] = msgspec.msgpack.Decoder(ResultWork | ModelWork)


def result_work(query: ResultQuery, schema: ModelSchema, body: bytes) -> bytes:
    """The payload for ``decode`` to read a result."""
    return _payload(ResultWork(query, schema), body)


def model_work(form: Form, file: bytes | memoryview) -> bytes:
    """The payload for ``decode`` to write a model as JSON."""
    return _payload(ModelWork(form.name), file)


def _payload(work: ResultWork | ModelWork, body: bytes | memoryview) -> bytes:
    what = msgspec.msgpack.encode(work)
    return b"".join((_LENGTH.pack(len(what)), what, body))


def decode(payload: memoryview) -> bytes:
    """Do one piece of work. Raises DeviceError for what a device did wrong."""
    (length,) = _LENGTH.unpack_from(payload)
    start = _LENGTH.size + length
    work, body = _WORK.decode(payload[_LENGTH.size : start]), payload[start:]
    if isinstance(work, ModelWork):
        return FORMS[work.form].encode(body)
    return msgspec.msgpack.encode(result_from_json(work.query, body, lambda _: work.schema))
