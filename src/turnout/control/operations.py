"""What the API offers, as data: the app, who may do what, and the OpenAPI document are all made from it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from turnout.client.view import Scope
from turnout.control.problems import Problem

JSON = "application/json"
BODY_BYTES_MAX = 4096  #: Of requests in JSON, which are all small.
T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One part of the path, the query or the headers. ``schema`` is JSON Schema."""

    name: str
    about: str
    schema: Mapping[str, Any]
    where: str = "query"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The body of a request: bytes of a media type, or JSON of a ``type``."""

    about: str
    media_type: str = JSON
    type: object = None


@dataclass(frozen=True, slots=True)
class Returned:
    """The answer when all goes well: JSON of a ``type``, or bytes of one of the media types."""

    about: str
    type: object = None
    status: HTTPStatus = HTTPStatus.OK
    media_types: tuple[str, ...] = (JSON,)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. Without a ``scope`` anybody may use it.

    ``problems`` are what else it may answer, beside what all do; ``also``, answers that are no problem details.
    One that is ``deprecated`` is removed with the next release.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    returns: Returned
    scope: Scope | None = Scope.VIEW
    accepts: Accepted | None = None
    parameters: tuple[Parameter, ...] = ()
    problems: frozenset[HTTPStatus] = frozenset()
    also: tuple[Returned, ...] = ()
    deprecated: bool = False


JOB_ID = Parameter("job_id", "As `GET /api/jobs` lists it.", {"type": "string"}, "path")


def json_response(value: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """A value of the types that msgspec knows, as JSON."""
    return Response(msgspec.json.encode(value), status.value, headers={"Cache-Control": "no-store"}, media_type=JSON)


async def body_of(request: Request, kind: type[T], example: str) -> T:
    """The JSON that a request brings. Raises Problem, with an example."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"this may have {BODY_BYTES_MAX} bytes")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"{error}; send {example}") from None


def number_in(request: Request, name: str, default: float, low: float, high: float, *, whole: bool = False) -> float:
    """A number of the query, as JSON writes it. Raises Problem when it is none, or not within the bounds."""
    given = request.query_params.get(name)
    if given is None:
        return default
    try:
        value = msgspec.json.decode(given, type=float)
    except msgspec.DecodeError:
        value = float("nan")
    if not low <= value <= high or (whole and not value.is_integer()):
        kind = "a whole number" if whole else "a number"
        detail = f"{name}={given[:40]} must be {kind} from {low:.17g} to {high:.17g}"
        raise Problem(HTTPStatus.BAD_REQUEST, detail)
    return value
