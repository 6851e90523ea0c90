"""All that a gateway decides about a request, in two steps, so that nothing large is read for nobody. Pure.

``head`` sees the request line and the headers and either answers or says which body it expects; ``body`` sees the body
and answers, or gives the message that the dispatcher shall forward. Shells own sockets, clocks and limits of pace.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from turnout.blobs.base import BlobName
from turnout.errors import DeviceError
from turnout.gateway import decode
from turnout.gateway.cors import Origins
from turnout.gateway.http1 import ranges, replies
from turnout.gateway.http1.replies import OURS_FROM, Reply, refusal
from turnout.gateway.limits import JSON_BYTES_PER_NUMBER, GatewayLimits, result_bytes
from turnout.gateway.routes import EDGE_PATHS, HEALTH_PATH, METHODS, Route, find_blob, origin_form, parse_query
from turnout.messages import (
    DeviceInfo,
    EdgeRequest,
    ModelSchema,
    RefusedResult,
    ResultOffer,
    ResultResponse,
    Status,
    UserInfo,
)
from turnout.wire import edge_results
from turnout.wire.edge_headers import DeviceReader, phone
from turnout.wire.edge_replies import ReplyWriter
from turnout.wire.edge_requests import JSON, BadField, decode_job, decode_selection, decode_task
from turnout.wire.edge_results import SAFETENSORS, DecodedResult, ResultQuery, result_from_json, result_from_safetensors
from turnout.wire.forms import FORMS, WEIGHTS, Form

QUERIES_KEPT_MAX = 1024  #: Queries whose fields are remembered: all devices of a job ask with the same one.

NO_ORIGINS = Origins()
Headers = Mapping[bytes, bytes]
SchemaOf = Callable[[str], ModelSchema | None]

# On the hot path: looking up a member of an enumeration is slow in Python 3.11.
_JOB: Final = Route.JOB
_TASK: Final = Route.TASK
_RESULT: Final = Route.RESULT
_DECODED = msgspec.msgpack.Decoder(DecodedResult)
_JSON = JSON.encode()
_SAFETENSORS = SAFETENSORS.encode()
_PLAIN_ENCODINGS = (b"", b"identity")


class Expect(msgspec.Struct, frozen=True, eq=False):
    """A body to read, and who sends it. ``offer``, if any, must be taken by the job before it is read.

    ``room_of`` is the job whose room a result takes, "" while there is no such job.
    """

    route: Route
    device: DeviceInfo
    user: UserInfo
    query: Mapping[str, str]
    limit_bytes: int
    binary: bool = False
    room_of: str = ""
    result: ResultQuery | None = None
    offer: ResultOffer | None = None

    @property
    def is_ordinary(self) -> bool:
        """Whether others like it will come: its body is small, and of a size that many have."""
        return self.result is None or (self.binary and self.offer is None)


@dataclass(frozen=True, slots=True)
class BlobWanted:
    """A model, or a part of it, that the shell must find."""

    name: BlobName
    headers: Headers
    head_only: bool


@dataclass(frozen=True, slots=True)
class BlobReply:
    """What to send of a blob: bytes ``start`` to ``stop``."""

    status: int
    headers: tuple[replies.Header, ...]
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Decode:
    """A result too large to decode here: ``payload`` for a worker, whose answer goes to ``GatewayCore.decoded``."""

    payload: bytes


class GatewayCore:
    """The decisions of one gateway. ``schema_of`` knows the jobs; ``health`` makes the body of ``/healthz``."""

    def __init__(
        self, schema_of: SchemaOf, limits: GatewayLimits, health: Callable[[], bytes], origins: Origins = NO_ORIGINS
    ) -> None:
        self._schema_of = schema_of
        self._origins = origins
        self._limits = limits
        self._health = health
        self._devices = DeviceReader()
        self._writer = ReplyWriter()
        self._queries: dict[bytes, dict[str, str]] = {}
        self._sizes: dict[str, tuple[ModelSchema, int, int]] = {}  # limits of results as safetensors, and as JSON

    # --- the first step ---

    def head(
        self, method: bytes, target: bytes, headers: Headers, length: int | None
    ) -> tuple[Route | None, Reply | Expect | BlobWanted]:
        """What to do after the headers (names in lower case). ``length``: of the body; None when it is not known."""
        path, _, query = target.partition(b"?")
        route = EDGE_PATHS.get(path)
        if route is None:
            return self._other_head(method, target, headers, length)
        if method != b"POST":
            return route, self._origins.preflight(headers, METHODS[route]) or _wrong_method(route)
        try:
            return route, self._edge_head(route, query, headers, length)
        except DeviceError as error:
            return route, refused(error)

    def _other_head(
        self, method: bytes, target: bytes, headers: Headers, length: int | None
    ) -> tuple[Route | None, Reply | Expect | BlobWanted]:
        """The paths that devices seldom ask for, and targets in their long form."""
        relative = origin_form(target)
        if relative != target:
            return self.head(method, relative, headers, length)
        path = target.partition(b"?")[0]
        blob = find_blob(path)
        if blob is None and path != HEALTH_PATH:
            return None, _not_found(path)
        route = Route.HEALTH if blob is None else Route.BLOB
        if method not in METHODS[route]:
            return route, self._origins.preflight(headers, METHODS[route]) or _wrong_method(route)
        if blob is not None:
            return route, BlobWanted(blob, headers, method == b"HEAD")
        return route, Reply(200, self._health(), ((b"Cache-Control", b"no-store"),))

    def cors(self, headers: Headers) -> tuple[replies.Header, ...]:
        """What every reply to this request says to a browser."""
        return self._origins.allow(headers) if b"origin" in headers else ()

    def _edge_head(self, route: Route, query: bytes, headers: Headers, length: int | None) -> Reply | Expect:
        binary = False
        if headers.get(b"content-type") != _JSON:
            media = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
            binary = media == _SAFETENSORS and route is Route.RESULT
            if media != _JSON and not binary:
                return _wrong_type(route)
        if headers.get(b"content-encoding", b"").lower() not in _PLAIN_ENCODINGS:
            return refusal(415, "content_encoding", "Content-Encoding is not supported; send the body as it is")
        device = self._devices.device(
            headers.get(b"x-flare-device-id"), headers.get(b"x-flare-device-info"), fleets=route is Route.SELECTION
        )
        user = self._devices.user(headers.get(b"x-flare-user-info"))
        fields = parse_query(query) if route is Route.RESULT else self._fields(query)
        return self.expect(route, device, user, fields, length, binary)

    def longest(self, route: Route) -> int:
        """How large the body of such a request may be, before anything else is known of it."""
        return self._limits.result_bytes_max if route is Route.RESULT else self._limits.body_bytes_max

    def expect(
        self,
        route: Route,
        device: DeviceInfo,
        user: UserInfo,
        fields: dict[str, str],
        length: int | None,
        binary: bool = False,
    ) -> Reply | Expect:
        """What to do about a body, by what is known of its request without it. Raises DeviceError."""
        if route is _RESULT:
            try:
                decision = self._expect_result(device, user, fields, binary, length)
            except DeviceError as error:
                decision = refused(error)
            return self._told(decision, device, fields) if isinstance(decision, Reply) else decision
        limit = self.longest(route)
        if length is not None and length > limit:
            return too_large(limit)
        return Expect(route, device, user, fields, limit)

    def _fields(self, query: bytes) -> dict[str, str]:
        fields = self._queries.get(query)
        if fields is None:
            fields = parse_query(query)
            if len(self._queries) >= QUERIES_KEPT_MAX:
                self._queries.clear()
            self._queries[query] = fields
        return fields

    def _expect_result(
        self, device: DeviceInfo, user: UserInfo, fields: dict[str, str], binary: bool, length: int | None
    ) -> Reply | Expect:
        job_id = fields.get("job_id", "")
        schema = self._schema_of(job_id) if job_id else None
        limits = self._limits
        limit = limits.result_bytes_max if schema is None else self._result_limit(job_id, schema, binary)
        if length is not None and length > limit:
            no_choice = binary or phone(device.platform) != ""  # whose SDKs speak JSON alone
            return too_large(limit, "a result of this job", no_choice, limit == limits.result_bytes_max)
        result = edge_results.decode_result_query(fields)
        offer = None
        if length is None or length > limits.ask_first_bytes:
            if result.job_id is None or result.task_id is None:
                return refusal(
                    400,
                    "task_not_in_query",
                    f"a result in chunks or over {limits.ask_first_bytes} bytes is read only for a task that "
                    "takes it: send job_id and task_id in the query, as in /result?job_id=...&task_id=...",
                )
            offer = ResultOffer(device, result.job_id, result.task_id)
        room_of = "" if schema is None else job_id
        return Expect(_RESULT, device, user, fields, limit, binary, room_of, result, offer)

    def form_of(self, job_id: str) -> Form:
        """What devices of this job speak that take no safetensors."""
        schema = self._schema_of(job_id)
        return WEIGHTS if schema is None else FORMS[schema.form]

    def _result_limit(self, job_id: str, schema: ModelSchema, binary: bool) -> int:
        """How large a result of this job can be in this form."""
        kept = self._sizes.get(job_id)
        if kept is None or kept[0] is not schema:
            if len(self._sizes) >= QUERIES_KEPT_MAX:
                self._sizes.clear()
            kept = (
                schema,
                min(result_bytes(schema), self._limits.result_bytes_max),
                min(result_bytes(schema, JSON_BYTES_PER_NUMBER), self._limits.result_bytes_max),
            )
            self._sizes[job_id] = kept
        return kept[1] if binary else kept[2]

    # --- the second step ---

    def body(self, expect: Expect, data: bytes) -> Reply | EdgeRequest | Decode:
        """What to do with the body that was expected."""
        try:
            if expect.result is not None:
                return self._result_body(expect, expect.result, data)
            if expect.route is _TASK:
                return decode_task(expect.device, expect.user, expect.query, data)
            if expect.route is _JOB:
                return decode_job(expect.device, expect.user, data)
            return decode_selection(expect.device, expect.user, expect.query, data)
        except DeviceError as error:
            return self.told(expect, refused(error), data)

    def _result_body(self, expect: Expect, query: ResultQuery, data: bytes) -> Reply | EdgeRequest | Decode:
        if expect.binary:
            return self._report(expect, result_from_safetensors(query, data, self._schema_of))
        if len(data) <= self._limits.inline_decode_bytes or expect.offer is None:
            return self._report(expect, result_from_json(query, data, self._schema_of))
        schema = self._schema_of(expect.offer.job_id)
        if schema is None:
            return expect.offer
        return Decode(decode.result_work(query, schema, data))

    def decoded(self, expect: Expect, answer: bytes) -> Reply | EdgeRequest:
        """What to do with a result that a worker has decoded."""
        try:
            return self._report(expect, _DECODED.decode(answer))
        except DeviceError as error:
            return self.told(expect, refused(error))

    def told(self, expect: Expect, reply: Reply, body: bytes = b"") -> Reply:
        """A refusal of what was expected, with what its job is told of it: if it was a result, and of a job of ours."""
        if expect.result is None:
            return reply
        fields = expect.query
        if "job_id" not in fields or "task_id" not in fields:
            fields = {**edge_results.ids_in(body), **fields}
        return self._told(reply, expect.device, fields)

    def _told(self, reply: Reply, device: DeviceInfo, fields: Mapping[str, str]) -> Reply:
        """A refused result. Its sender hears why; phones, whose SDKs would give up on it, as if the job had said so."""
        job_id, task_id = fields.get("job_id", ""), fields.get("task_id", "")[: edge_results.TEXT_CHARS_MAX]
        if reply.status >= OURS_FROM or self._schema_of(job_id) is None:
            return reply
        about = RefusedResult(device, job_id, task_id, reply.reason, reply.message)
        if not phone(device.platform):
            return replace(reply, refused=about)
        response = ResultResponse(Status.ERROR, False, task_id or None, fields.get("task_name"), reply.message)
        return replace(reply, status=200, body=self._writer.encode(response, device.platform), refused=about)

    def _report(self, expect: Expect, result: DecodedResult) -> EdgeRequest:
        """The message for the job; only an offer while the job's schema is unknown, so that its absence is told."""
        fields = result.fields
        offer = expect.offer
        if offer is not None and (offer.job_id, offer.task_id) != (fields.job_id, fields.task_id):
            raise BadField("job_id and task_id in the body are others than in the query; send them once, in the query")
        if result.update is None:
            return ResultOffer(expect.device, fields.job_id, fields.task_id)
        return edge_results.report(expect.device, expect.user, fields, result.update, result.absolute)


def takes_model_by_reference(accept: tuple[str, ...]) -> bool:
    """Whether a device's ``accept`` spares it the model as JSON."""
    return "safetensors" in accept


def send_it(response: object) -> bool:
    """Whether this answer to an offer asks for the body. Any other is the final answer."""
    return isinstance(response, ResultResponse) and response.status is Status.OK and not response.counted


def select_blob(wanted: BlobWanted, size: int) -> Reply | BlobReply:
    """What to send of a blob of ``size`` bytes."""
    etag = b'"%b"' % wanted.name.sha256.encode()
    always: tuple[replies.Header, ...] = (
        (b"ETag", etag),
        (b"Accept-Ranges", b"bytes"),
        (b"Cache-Control", b"public, max-age=31536000, immutable"),
    )
    headers = wanted.headers
    if wanted.head_only:
        headers = {name: value for name, value in headers.items() if name != b"range"}
    match ranges.select(headers, etag, size):
        case ranges.NotModified():
            return BlobReply(304, always, 0, 0)
        case ranges.NotSatisfiable():
            return refusal(
                416,
                "range",
                f"Range lies beyond the end: the model has {size} bytes",
                headers=((b"Content-Range", b"bytes */%d" % size),),
            )
        case ranges.Part(start, stop):
            part = (b"Content-Range", b"bytes %d-%d/%d" % (start, stop - 1, size))
            return BlobReply(206, (*always, part), start, stop)
        case ranges.Whole():
            return BlobReply(200, always, 0, size)


def refused(error: DeviceError) -> Reply:
    """A device's mistake as its answer."""
    return refusal(error.status, error.reason, str(error))


def too_large(limit_bytes: int, what: str = "this request", no_choice: bool = True, by_option: bool = False) -> Reply:
    """413, with what would fit. ``by_option``: not the job says so, but an option of the server."""
    hint = "" if no_choice else f"; as {SAFETENSORS} it is much smaller"
    hint += "; the server's --result-bytes-max allows no more" if by_option else ""
    return refusal(413, "too_large", f"the body of {what} may have {limit_bytes} bytes at most{hint}")


def _not_found(path: bytes) -> Reply:
    known = "POST /job /task /selection /result, GET /blob/{job_id}/{sha256} and /healthz"
    return refusal(404, "path", f"no such path: {path.decode('ascii', 'replace')[:80]}; there are {known}")


def _wrong_method(route: Route) -> Reply:
    allowed = b", ".join(METHODS[route])
    return refusal(
        405,
        "method",
        f"/{route} takes {allowed.decode()} only",
        headers=((b"Allow", allowed),),
    )


def _wrong_type(route: Route) -> Reply:
    also = f" or {SAFETENSORS}" if route is Route.RESULT else ""
    return refusal(415, "content_type", f"Content-Type of /{route} must be {JSON}{also}")
