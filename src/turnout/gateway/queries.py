"""What a request that came by gRPC means to the core, and outcomes as its messages. Pure.

The payload is one JSON object: what a body holds, and beside it who asks. There is no header that names the device, so
``device_info.device_id`` does, by the same rules. The body's own readers get the payload as it is: they skip the rest.
"""

from collections.abc import Mapping

import msgspec

from turnout.errors import DeviceError
from turnout.gateway.calls import Answer, Call, Kind, Outcome, Refusal, refused
from turnout.gateway.core import GatewayCore, too_large
from turnout.gateway.routes import Route
from turnout.messages import (
    EdgeResponse,
    JobResponse,
    ResultResponse,
    SelectionResponse,
    Status,
    TaskResponse,
)
from turnout.wire.edge_grpc import BadEnvelope, Query, encode_reply
from turnout.wire.edge_headers import BadHeader, DeviceReader
from turnout.wire.edge_replies import ReplyWriter
from turnout.wire.edge_requests import MALFORMED, MissingField
from turnout.wire.forms import Form

ROUTES: Mapping[str, Route] = {
    "JobRequest": Route.JOB,
    "TaskRequest": Route.TASK,
    "SelectionRequest": Route.SELECTION,
    "ResultReport": Route.RESULT,
}
#: Of what a device says of itself or of its user, as JSON. By HTTP all headers together may have as many.
INFO_BYTES_MAX = 16 * 1024
#: Refusals that FLARE's server makes itself, and tells in the reply's own status.
OUTER_REASONS = frozenset({BadEnvelope.reason, MissingField.reason})

_NULL = msgspec.Raw(b"null")


class _Merged(msgspec.Struct):
    """The fields that must be known before the body is read."""

    device_info: msgspec.Raw = _NULL
    user_info: msgspec.Raw = _NULL
    job_id: str | None = None
    task_id: str | None = None


class _DeviceId(msgspec.Struct):
    device_id: str | None = None


_MERGED = msgspec.json.Decoder(_Merged)
_DEVICE_ID = msgspec.json.Decoder(_DeviceId)


class Queries:
    """Reads requests that came by gRPC for one core."""

    def __init__(self, core: GatewayCore) -> None:
        self._core = core
        self._devices = DeviceReader()

    def head(self, query: Query) -> tuple[Route | None, Refusal | Call]:
        """What ``HttpReader.head`` says of the same request by HTTP."""
        route = ROUTES.get(query.type)
        try:
            if route is None:
                raise BadEnvelope(f"type must be one of {', '.join(ROUTES)}; it is {query.type!a}")
            return route, self._expect(route, query.payload)
        except DeviceError as error:
            return route, refused(error)

    def _expect(self, route: Route, payload: bytes) -> Refusal | Call:
        limit = self._core.longest(route)
        if len(payload) > limit:
            return too_large(limit)
        try:
            merged = _MERGED.decode(payload)
        except MALFORMED as error:
            what = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise BadEnvelope(f"the payload must be one JSON object with the request's fields: {what}") from None
        info = _info(merged.device_info, "device_info")
        device = self._devices.device(_device_id(info), info, fleets=route is Route.SELECTION)
        user = self._devices.user(_info(merged.user_info, "user_info"))
        fields = {}
        if route is Route.RESULT:
            fields = {"job_id": _present(merged.job_id, "job_id"), "task_id": _present(merged.task_id, "task_id")}
        return self._core.expect(route, device, user, fields, len(payload), inline=True)


def render(
    outcome: Outcome, route: Route | None, platform: str, writer: ReplyWriter, message_bytes_max: int
) -> tuple[Status, bytes]:
    """The message that answers a request, and what the device is told in it."""
    outer = Status.OK
    match outcome:
        case Answer(TaskResponse() as response, bytes() as model, Form() as form):
            body = writer.encode_with_weights(response, platform, model, form)
            size = sum(map(len, body))
            if size <= message_bytes_max:
                return response.status, encode_reply(outer, body)
            told: EdgeResponse = TaskResponse(Status.ERROR, message=_too_large(size, message_bytes_max))
        case Answer(response):
            told = response
        case Refusal(reason=reason):
            told = answer_of(route, outcome)
            outer = Status.INVALID_REQUEST if reason in OUTER_REASONS else Status.OK
        case _:
            raise AssertionError(f"nobody can ask for a {type(outcome).__name__} by gRPC")
    return told.status, encode_reply(outer, (writer.encode(told, platform),))


def answer_of(route: Route | None, refusal: Refusal) -> EdgeResponse:
    """A refusal, as the answer of its kind, for a protocol that has no status beside it."""
    if refusal.instead is not None:
        return refusal.instead
    status = Status.RETRY if refusal.kind is Kind.BUSY else Status.INVALID_REQUEST
    wait_s = None if refusal.wait_s is None else float(refusal.wait_s)
    message = refusal.text
    match route:
        case Route.TASK:
            return TaskResponse(status, retry_wait=wait_s, message=message)
        case Route.SELECTION:
            return SelectionResponse(status, retry_wait=wait_s, message=message)
        case Route.RESULT:
            return ResultResponse(status, counted=False, retry_wait=wait_s, message=message)
        case _:
            return JobResponse(status, retry_wait=wait_s, message=message)


def _too_large(size: int, message_bytes_max: int) -> str:
    return (
        f"the task with its model has {size} bytes as JSON, and a message may have {message_bytes_max}: "
        "raise --grpc-message-bytes-max, or ask by HTTP"
    )


def _info(raw: msgspec.Raw, name: str) -> bytes:
    """The JSON of a device or a user; nothing for null."""
    text = bytes(raw)
    if len(text) > INFO_BYTES_MAX:
        raise BadHeader(f"{name} has {len(text)} bytes of JSON; allowed are {INFO_BYTES_MAX}")
    if text == b"null":
        return b""
    if not text.startswith(b"{"):
        raise BadHeader(f"{name} must be a JSON object")
    return text


def _device_id(info: bytes) -> bytes:
    """The id in a device_info."""
    try:
        found = _DEVICE_ID.decode(info or b"{}")
    except MALFORMED as error:
        raise BadHeader(f"device_info: {error}") from None
    if not found.device_id:
        raise MissingField('missing device_info: the payload must name the device, as in {"device_id": "..."}')
    return found.device_id.encode("utf-8", "replace")


def _present(value: str | None, name: str) -> str:
    if value is None:
        raise MissingField(f"missing {name}: send it in the payload of a ResultReport")
    return value
