"""What the head of an HTTP request means: path, method and types; what follows is the core's to judge."""

import pytest

from tests.unit.gateway.fakes import schema_of
from turnout.gateway.calls import Call, Kind, Notice, Refusal
from turnout.gateway.core import GatewayCore
from turnout.gateway.cors import NO_ORIGINS
from turnout.gateway.http1.reading import Decision, HttpReader
from turnout.gateway.http1.replies import Misuse
from turnout.gateway.limits import GatewayLimits
from turnout.gateway.routes import Route

HEADERS = {b"x-flare-device-id": b"d1", b"content-type": b"application/json"}


def reader() -> HttpReader:
    return HttpReader(GatewayCore(schema_of, GatewayLimits()), lambda: b"{}", NO_ORIGINS)


def head(
    target: bytes, headers: dict[bytes, bytes] = HEADERS, length: int | None = 2, method: bytes = b"POST"
) -> Decision:
    return reader().head(method, target, headers, length)[1]


def refused(decision: object) -> tuple[int, str]:
    assert isinstance(decision, Misuse)
    return decision.status, decision.text


def test_a_post_without_a_length_is_411() -> None:
    assert refused(head(b"/job", length=0))[0] == 411
    assert isinstance(head(b"/job", {**HEADERS, b"content-length": b"0"}, 0), Call)


@pytest.mark.parametrize("kind", [b"application/json; charset=utf-8", b"Application/JSON", b"application/json;x"])
def test_the_parameters_of_a_content_type_do_not_matter(kind: bytes) -> None:
    assert isinstance(head(b"/job", {**HEADERS, b"content-type": kind}), Call)


@pytest.mark.parametrize("kind", [b"", b"text/plain", b"application/vnd.safetensors", b"json"])
def test_another_content_type_is_415(kind: bytes) -> None:
    assert refused(head(b"/task?job_id=j", {**HEADERS, b"content-type": kind})) == (
        415,
        "Content-Type of /task must be application/json",
    )


def test_a_compressed_body_is_415() -> None:
    status, message = refused(head(b"/job", {**HEADERS, b"content-encoding": b"gzip"}))
    assert status == 415
    assert "Content-Encoding" in message


@pytest.mark.parametrize("path", [b"/", b"/jobs", b"/job/", b"/JOB", b"/edge/v1/job", b"*", b""])
def test_an_unknown_path_is_404(path: bytes) -> None:
    assert refused(head(path))[0] == 404


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"OPTIONS", b"HEAD"])
def test_another_method_is_405_and_names_the_right_one(method: bytes) -> None:
    decision = head(b"/task?job_id=j", method=method)
    assert refused(decision)[0] == 405
    assert isinstance(decision, Misuse)
    assert (b"Allow", b"POST") in decision.headers


def test_a_missing_device_id_is_refused() -> None:
    refusal = head(b"/job", {b"content-type": b"application/json"})
    assert isinstance(refusal, Refusal)
    assert (refusal.kind, refusal.reason) == (Kind.INVALID, "bad_header")
    assert "X-Flare-Device-ID" in refusal.text


def test_health_is_told() -> None:
    route, notice = reader().head(b"GET", b"/healthz", {}, 0)
    assert route is Route.HEALTH
    assert notice == Notice(b"{}")


def test_the_absolute_form_of_a_target_is_understood() -> None:
    assert isinstance(head(b"http://gateway/task?job_id=j"), Call)


def test_what_is_remembered_of_queries_is_bounded() -> None:
    reading = reader()
    for i in range(3000):
        reading.head(b"POST", b"/task?job_id=%d" % i, HEADERS, 2)
    assert len(reading._queries) <= 1024
