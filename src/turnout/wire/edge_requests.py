"""What a device asks: bodies and queries of HTTP requests -> messages, and back on the device's side.

Fields may stand in the query or in the JSON body, as with FLARE; the body wins. Who asks is never read from a body.
A name or id that is there but empty or null is not malformed: the dispatcher answers it, with INVALID_REQUEST. Results
are in ``edge_results.py``.
"""

import functools
import re
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote_plus

import msgspec

from turnout.errors import DeviceError
from turnout.messages import DeviceInfo, JobRequest, SelectionRequest, TaskRequest, UserInfo
from turnout.wire.edge_headers import TEXTS_KEPT_MAX, device_headers, fleet_of

JSON = "application/json"
_JSON_HEADER = ("Content-Type", JSON)
_PLAIN = re.compile(r"[A-Za-z0-9._~-]*")

#: Numbers that a cookie may hold; larger ones cannot travel on to a job.
CookieInteger = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Cookie = dict[str, CookieInteger | float | str | bool | None]
COOKIE_BYTES_MAX = 4 * 1024  #: As JSON. A cookie of ours has some fifty bytes, and devices only echo it.

#: What a JSON decoder of msgspec raises for input, whatever the input.
MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class BadBody(DeviceError):
    """The body is not the JSON that this path takes."""

    reason = "bad_body"


class BadField(DeviceError):
    """A field has a value that it cannot have."""

    reason = "bad_field"


class MissingField(DeviceError):
    """A field is neither in the query nor in the body."""

    reason = "missing_field"


class HttpRequest(msgspec.Struct, frozen=True):
    """One request as a device sends it. ``target`` is path and query; Host and Content-Length are the client's part."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class _JobBody(msgspec.Struct):
    job_name: str | None
    capabilities: dict[str, Any]


_NO_COOKIE = msgspec.Raw(b"null")


class _TaskBody(msgspec.Struct):
    job_id: str | msgspec.UnsetType | None = msgspec.UNSET
    cookie: msgspec.Raw = _NO_COOKIE
    accept: tuple[str, ...] | None = None


class _SelectionBody(msgspec.Struct):
    job_id: str | msgspec.UnsetType | None = msgspec.UNSET


_JOB_BODY = msgspec.json.Decoder(_JobBody)
_COOKIE = msgspec.json.Decoder(Cookie | None)
_TASK_BODY = msgspec.json.Decoder(_TaskBody)
_SELECTION_BODY = msgspec.json.Decoder(_SelectionBody)
_JOB_EXAMPLE = '{"job_name": "...", "capabilities": {"methods": []}}'
_TASK_EXAMPLE = '{"accept": ["safetensors"], "cookie": {...}} or {}'


def read_cookie(text: msgspec.Raw) -> dict[str, Any] | None:
    """A cookie that is an object of plain values; nothing reads cookies, so that any other is ignored."""
    if memoryview(text).nbytes > COOKIE_BYTES_MAX:
        return None
    try:
        return _COOKIE.decode(text)
    except MALFORMED:
        return None


def decode_job(device: DeviceInfo, user: UserInfo, body: bytes) -> JobRequest:
    """Raises BadBody or MissingField."""
    try:
        found = _JOB_BODY.decode(body)
    except MALFORMED as error:
        raise bad_body("/job", error, _JOB_EXAMPLE) from None
    methods = found.capabilities.get("methods")
    if not isinstance(methods, list):
        raise MissingField(
            f"body of /job: capabilities must have a list methods (it may be empty); send {_JOB_EXAMPLE}"
        )
    return JobRequest(device, found.job_name or "", found.capabilities, user)


def decode_task(device: DeviceInfo, user: UserInfo, query: Mapping[str, str], body: bytes) -> TaskRequest:
    """Raises BadBody or MissingField."""
    try:
        found = _TASK_BODY.decode(body)
    except MALFORMED as error:
        raise bad_body("/task", error, _TASK_EXAMPLE) from None
    job_id = query.get("job_id") if found.job_id is msgspec.UNSET else None  # where most have it
    if job_id is None:
        job_id = _job_id(found.job_id, query, "/task")
    cookie = None if found.cookie is _NO_COOKIE else read_cookie(found.cookie)
    return TaskRequest(device, job_id, cookie, found.accept or (), user)


def decode_selection(device: DeviceInfo, user: UserInfo, query: Mapping[str, str], body: bytes) -> SelectionRequest:
    """Raises BadBody, MissingField, or BadHeader for an id with ? that is not prefix?N."""
    try:
        found = _SELECTION_BODY.decode(body)
    except MALFORMED as error:
        raise bad_body("/selection", error, "{}") from None
    return SelectionRequest(device, _job_id(found.job_id, query, "/selection"), user, fleet_of(device.device_id))


def encode_request(request: JobRequest | TaskRequest | SelectionRequest) -> HttpRequest:
    """What a device sends. Results: ``edge_results.encode_result``."""
    if isinstance(request, TaskRequest):
        target, body = _task_target(request.job_id), _task_body(request.accept, request.cookie)
    elif isinstance(request, JobRequest):
        target, body = "/job", _job_body(request.job_name, request.capabilities)
    else:
        target, body = f"/selection?job_id={query_value(request.job_id)}", b"{}"
    return HttpRequest("POST", target, (*device_headers(request.device, request.user), _JSON_HEADER), body)


def _job_body(job_name: str, capabilities: dict[str, Any]) -> bytes:
    if not capabilities:
        return _plain_job_body(job_name)
    return msgspec.json.encode({"job_name": job_name, "capabilities": {"methods": [], **capabilities}})


def _task_body(accept: tuple[str, ...], cookie: dict[str, Any] | None) -> bytes:
    if cookie is None:
        return _plain_task_body(accept)
    return msgspec.json.encode({"accept": accept, "cookie": cookie} if accept else {"cookie": cookie})


@functools.lru_cache(maxsize=TEXTS_KEPT_MAX)
def _plain_job_body(job_name: str) -> bytes:
    """Of a device that says nothing of itself: a whole fleet sends the same."""
    return msgspec.json.encode({"job_name": job_name, "capabilities": {"methods": []}})


@functools.lru_cache(maxsize=TEXTS_KEPT_MAX)
def _plain_task_body(accept: tuple[str, ...]) -> bytes:
    """Of a device without a cookie."""
    return msgspec.json.encode({"accept": accept} if accept else {})


@functools.lru_cache(maxsize=TEXTS_KEPT_MAX)
def _task_target(job_id: str) -> str:
    return f"/task?job_id={query_value(job_id)}"


def query_value(text: str) -> str:
    """A value as it stands in a query. Most are ids, which need no encoding."""
    return text if _PLAIN.fullmatch(text) else quote_plus(text)


def _job_id(in_body: str | msgspec.UnsetType | None, query: Mapping[str, str], path: str) -> str:
    """The one in the body, or else in the query; null is as empty."""
    if isinstance(in_body, str):
        return in_body
    return query.get("job_id", "") if in_body is None else required(query, "job_id", path)


def required(query: Mapping[str, str], field: str, path: str) -> str:
    """A field that the body did not have."""
    value = query.get(field)
    if value is None:
        raise MissingField(f"missing {field}: send it in the query of {path}, as in {path}?{field}=...")
    return value


def bad_body(path: str, error: Exception, example: str) -> BadBody:
    """What is wrong with a body, in words."""
    what = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    if isinstance(error, UnicodeDecodeError):
        what = "it is not UTF-8 text"
    return BadBody(f"body of {path}: {what}; send {example}")
