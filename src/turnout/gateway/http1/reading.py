"""What the head of an HTTP request means: path, method, types and headers to a call. Pure."""

from collections.abc import Callable

from turnout.blobs.base import BlobName
from turnout.errors import DeviceError
from turnout.gateway.calls import Call, Notice, Refusal, refused
from turnout.gateway.core import GatewayCore
from turnout.gateway.cors import Origins
from turnout.gateway.http1.replies import Header, Headers, Misuse, misuse
from turnout.gateway.routes import (
    EDGE_PATHS,
    HEALTH_PATH,
    METHODS,
    Route,
    find_blob,
    origin_form,
    parse_query,
)
from turnout.wire.edge_headers import DeviceReader
from turnout.wire.edge_requests import JSON
from turnout.wire.edge_results import SAFETENSORS

QUERIES_KEPT_MAX = 1024  #: Queries whose fields are remembered: all devices of a job ask with the same one.

_JSON = JSON.encode()
_SAFETENSORS = SAFETENSORS.encode()
_PLAIN_ENCODINGS = (b"", b"identity")

Decision = Call | BlobName | Refusal | Notice


class HttpReader:
    """Reads heads for one core. ``health`` makes the body of ``/healthz``."""

    def __init__(self, core: GatewayCore, health: Callable[[], bytes], origins: Origins) -> None:
        self._core = core
        self._health = health
        self._origins = origins
        self._devices = DeviceReader()
        self._queries: dict[bytes, dict[str, str]] = {}

    def head(self, method: bytes, target: bytes, headers: Headers, length: int | None) -> tuple[Route | None, Decision]:
        """What to do after the headers (names in lower case). ``length``: of the body; None when it is not known."""
        path, _, query = target.partition(b"?")
        route = EDGE_PATHS.get(path)
        if route is None:
            return self._other_head(method, target, headers, length)
        if method != b"POST":
            return route, self._origins.preflight(headers, METHODS[route]) or _wrong_method(route)
        try:
            decision = self._edge_head(route, query, headers, length)
        except DeviceError as error:
            return route, refused(error)
        if length == 0 and b"content-length" not in headers and isinstance(decision, Call):
            return route, misuse(411, "length_required", "send the body with Content-Length, or in chunks")
        return route, decision

    def _other_head(
        self, method: bytes, target: bytes, headers: Headers, length: int | None
    ) -> tuple[Route | None, Decision]:
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
        return route, Notice(self._health()) if blob is None else blob

    def cors(self, headers: Headers) -> tuple[Header, ...]:
        """What every reply to this request says to a browser."""
        return self._origins.allow(headers) if b"origin" in headers else ()

    def _edge_head(self, route: Route, query: bytes, headers: Headers, length: int | None) -> Refusal | Call:
        binary = False
        if headers.get(b"content-type") != _JSON:
            media = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
            binary = media == _SAFETENSORS and route is Route.RESULT
            if media != _JSON and not binary:
                return _wrong_type(route)
        if headers.get(b"content-encoding", b"").lower() not in _PLAIN_ENCODINGS:
            return misuse(415, "content_encoding", "Content-Encoding is not supported; send the body as it is")
        device = self._devices.device(
            headers.get(b"x-flare-device-id"), headers.get(b"x-flare-device-info"), fleets=route is Route.SELECTION
        )
        user = self._devices.user(headers.get(b"x-flare-user-info"))
        if route is Route.RESULT:
            return self._core.expect_result(device, user, parse_query(query), length, binary)
        return self._core.expect(route, device, user, self._fields(query), length)

    def _fields(self, query: bytes) -> dict[str, str]:
        fields = self._queries.get(query)
        if fields is None:
            fields = parse_query(query)
            if len(self._queries) >= QUERIES_KEPT_MAX:
                self._queries.clear()
            self._queries[query] = fields
        return fields


def _not_found(path: bytes) -> Misuse:
    known = "POST /job /task /selection /result, GET /blob/{job_id}/{sha256} and /healthz"
    return misuse(404, "path", f"no such path: {path.decode('ascii', 'replace')[:80]}; there are {known}")


def _wrong_method(route: Route) -> Misuse:
    allowed = b", ".join(METHODS[route])
    return misuse(405, "method", f"/{route} takes {allowed.decode()} only", ((b"Allow", allowed),))


def _wrong_type(route: Route) -> Misuse:
    also = f" or {SAFETENSORS}" if route is Route.RESULT else ""
    return misuse(415, "content_type", f"Content-Type of /{route} must be {JSON}{also}")
