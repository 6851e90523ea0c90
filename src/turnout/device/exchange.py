"""A device's requests as HTTP, and what an HTTP reply answers. Pure; used by the client and the fleet."""

from dataclasses import dataclass

import msgspec

from turnout.errors import ServerError
from turnout.messages import (
    EdgeRequest,
    EdgeResponse,
    JobRequest,
    JobResponse,
    ModelSchema,
    ResultOffer,
    ResultReport,
    ResultResponse,
    SelectionRequest,
    SelectionResponse,
    Status,
    TaskRequest,
    TaskResponse,
)
from turnout.wire.edge_replies import HttpReply, decode_response
from turnout.wire.edge_requests import HttpRequest, encode_request
from turnout.wire.edge_results import encode_result

NO_MODEL = ModelSchema(())  #: Of a failure, which carries no update.
HTTP_OK = 200
HTTP_BAD_REQUEST = 400
HTTP_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """A reply that says nothing about the request but to try again, after ``retry_wait`` if it says so."""

    reason: str
    retry_wait: float | None = None


class _Problem(msgspec.Struct):
    status: str = ""
    message: str = ""


_PROBLEM = msgspec.json.Decoder(_Problem)


def to_http(request: EdgeRequest, schema: ModelSchema | None) -> HttpRequest:
    """A request as it is sent; ``schema`` is that of the model which a result was trained from."""
    if isinstance(request, ResultReport):
        assert schema is not None or request.status != Status.OK, "a result was trained from a model"
        return encode_result(request, schema or NO_MODEL)
    assert not isinstance(request, ResultOffer), "offers are the gateway's"
    return encode_request(request)


def from_http(request: EdgeRequest, reply: HttpReply) -> EdgeResponse | NoAnswer:
    """What a reply answers.

    400 to 499 with a body that says INVALID_REQUEST is our protocol's word for "you are not understood". Any other
    status comes from something between us and a gateway, or from one that is busy: not an answer.
    """
    if reply.status == HTTP_OK:
        try:
            return decode_response(request, reply.body, request.device.platform)
        except ServerError:
            return NoAnswer("unreadable answer")
    if HTTP_BAD_REQUEST <= reply.status < HTTP_SERVER_ERROR:
        try:
            problem = _PROBLEM.decode(reply.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            problem = _Problem()
        if problem.status == Status.INVALID_REQUEST:
            return _not_understood(request, f"{problem.message or 'no reason given'} (HTTP {reply.status})")
    return NoAnswer(f"HTTP {reply.status}", _retry_after(reply))


def _not_understood(request: EdgeRequest, message: str) -> EdgeResponse:
    match request:
        case JobRequest():
            return JobResponse(Status.INVALID_REQUEST, message=message)
        case TaskRequest():
            return TaskResponse(Status.INVALID_REQUEST, message=message)
        case SelectionRequest():
            return SelectionResponse(Status.INVALID_REQUEST, message=message)
        case _:
            return ResultResponse(Status.INVALID_REQUEST, counted=False, message=message)


def _retry_after(reply: HttpReply) -> float | None:
    """Seconds of a Retry-After header; its other form, a date, is not used by gateways."""
    value = reply.headers.get(b"retry-after", b"")
    return float(value) if value.isdigit() and len(value) < 10 else None
