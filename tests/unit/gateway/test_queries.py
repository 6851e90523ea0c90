"""What a request that came by gRPC means to the core."""

import json
from typing import Any

import msgspec
import pytest

from tests.unit.gateway.fakes import BIG_SCHEMA, schema_of
from turnout.gateway.calls import Call, Kind, Refusal, busy
from turnout.gateway.core import GatewayCore
from turnout.gateway.limits import GatewayLimits
from turnout.gateway.queries import INFO_BYTES_MAX, OUTER_REASONS, Queries, answer_of
from turnout.gateway.routes import Route
from turnout.messages import (
    DeviceInfo,
    JobRequest,
    JobResponse,
    ResultOffer,
    ResultReport,
    ResultResponse,
    SelectionRequest,
    SelectionResponse,
    Status,
    TaskRequest,
    TaskResponse,
    UserInfo,
)
from turnout.wire.edge_grpc import Query

LIMITS = GatewayLimits()
CORE = GatewayCore(schema_of, LIMITS)
#: Everything, as FLARE's proxy writes it: what a device did not say is null.
ABOUT = {"device_id": "d1", "app_name": None, "app_version": "1.0", "platform": "android", "platform_version": None}


def merged(**fields: Any) -> dict[str, Any]:
    return {"device_info": ABOUT, "user_info": None, **fields}


def head(kind: str, payload: object) -> Refusal | Call:
    text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Queries(CORE).head(Query(kind, text))[1]


def read(kind: str, payload: dict[str, Any]) -> object:
    """The message that the job is sent."""
    expect = head(kind, payload)
    assert isinstance(expect, Call), expect
    return CORE.body(expect, json.dumps(payload).encode())


def refused(kind: str, payload: object) -> tuple[str, str]:
    refusal = head(kind, payload)
    assert isinstance(refusal, Refusal)
    return refusal.reason, refusal.text


DEVICE = DeviceInfo("d1", app_version="1.0", platform="android")
UPDATE = {"kind": "WEIGHT_DIFF", "data": {"dict": {"w": [1.0] * 8}, "count": 2}, "meta": {}}
RESULT = merged(job_id="small", task_id="t1", task_name="train", status="OK", result=UPDATE, cookie=None)


def test_a_job_request_is_read() -> None:
    capabilities = {"methods": ["cnn"]}
    request = read("JobRequest", merged(job_name="digits", capabilities=capabilities))
    assert request == JobRequest(DEVICE, "digits", capabilities)


def test_a_task_request_is_read_with_its_cookie() -> None:
    cookie = {"model_version": 3, "device_selection_id": 7}
    assert read("TaskRequest", merged(job_id="small", cookie=cookie)) == TaskRequest(DEVICE, "small", cookie)


def test_a_task_request_with_nulls_is_one_without_these_fields() -> None:
    assert read("TaskRequest", merged(job_id="small", cookie=None)) == TaskRequest(DEVICE, "small")


def test_a_selection_request_may_speak_for_a_fleet() -> None:
    payload = {"device_info": {"device_id": "sim?10"}, "job_id": "small"}
    request = read("SelectionRequest", payload)
    assert isinstance(request, SelectionRequest)
    assert request.device.device_id == "sim?10"
    assert head("TaskRequest", payload).__class__ is Refusal


def test_a_result_is_read() -> None:
    report = read("ResultReport", RESULT)
    assert isinstance(report, ResultReport)
    assert (report.device, report.task_id, report.num_examples) == (DEVICE, "t1", 2.0)
    assert bytes(report.update) == b"\x00\x00\x80\x3f" * 8


def test_a_large_result_is_offered_to_its_job_first() -> None:
    update = {"kind": "WEIGHT_DIFF", "data": {"dict": {"w": [1.0] * 20_000}}, "meta": {}}
    expect = head("ResultReport", {**RESULT, "job_id": "big", "result": update})
    assert isinstance(expect, Call)
    assert expect.offer == ResultOffer(DEVICE, "big", "t1")
    assert expect.room_of == "big"
    assert len(BIG_SCHEMA.tensors) == 1


def test_a_result_larger_than_any_of_its_job_is_refused() -> None:
    reason, message = refused("ResultReport", {**RESULT, "padding": "x" * 100_000})
    assert reason == "too_large"
    assert "a result of this job may have" in message


def test_another_request_may_be_as_large_as_by_http() -> None:
    reason, _ = refused("TaskRequest", merged(job_id="small", padding="x" * LIMITS.body_bytes_max))
    assert reason == "too_large"


@pytest.mark.parametrize("kind", ["JobRequest", "TaskRequest", "SelectionRequest"])
def test_one_that_is_larger_is_not_even_looked_at(kind: str) -> None:
    assert refused(kind, b"{" * (LIMITS.body_bytes_max + 1))[0] == "too_large"


@pytest.mark.parametrize("field", ["job_id", "task_id"])
def test_the_ids_of_a_result_are_bounded_before_it_is_offered(field: str) -> None:
    update = {"kind": "WEIGHT_DIFF", "data": {"dict": {"w": [1.0] * 20_000}}, "meta": {}}
    reason, message = refused("ResultReport", {**RESULT, "job_id": "big", "result": update, field: "x" * 1025})
    assert (reason, message[: len(field)]) == ("bad_field", field)


def test_users_are_carried() -> None:
    user = {"user_id": "u1", "user_name": None, "access_token": "secret", "team": "a"}
    request = read("TaskRequest", {**merged(job_id="small"), "user_info": user})
    assert isinstance(request, TaskRequest)
    assert request.user == UserInfo("u1", access_token="secret", extra={"team": "a"})


@pytest.mark.parametrize(
    "payload", [b"", b"0", b"null", b"[]", b"{", b'"text"', b"\xff\xfe", b"[" * 10_000, b'{"job_id": 3}']
)
def test_a_payload_that_is_no_object_with_the_fields_is_refused(payload: bytes) -> None:
    reason, message = refused("TaskRequest", payload)
    assert reason == "envelope"
    assert message.startswith("the payload must be one JSON object")


def test_an_unknown_type_is_told_which_there_are() -> None:
    reason, message = refused("Hello\n", b"{}")
    assert reason == "envelope"
    assert message == ("type must be one of JobRequest, TaskRequest, SelectionRequest, ResultReport; it is 'Hello\\n'")


@pytest.mark.parametrize("device", [None, {}, {"device_id": None}, {"device_id": ""}])
def test_a_request_without_a_device_is_refused_as_flare_does(device: object) -> None:
    reason, message = refused("TaskRequest", {"device_info": device, "job_id": "small"})
    assert reason in OUTER_REASONS
    assert message.startswith("missing device_info")


@pytest.mark.parametrize("device", ["d1", 3, [], {"device_id": 3}, {"device_id": "a b"}, {"device_id": "dä"}])
def test_a_device_of_another_form_is_refused(device: object) -> None:
    assert refused("TaskRequest", {"device_info": device, "job_id": "small"})[0] == "bad_header"


def test_what_a_device_says_of_itself_is_bounded() -> None:
    about = {"device_id": "d1", "note": "x" * INFO_BYTES_MAX}
    assert "allowed are 16384" in refused("TaskRequest", {"device_info": about, "job_id": "small"})[1]


@pytest.mark.parametrize("field", ["job_id", "task_id"])
def test_a_result_must_say_of_which_task_it_is(field: str) -> None:
    assert refused("ResultReport", {**RESULT, field: None})[0] == "missing_field"


@pytest.mark.parametrize(
    ("route", "kind"),
    [
        (Route.JOB, JobResponse),
        (Route.TASK, TaskResponse),
        (Route.SELECTION, SelectionResponse),
        (Route.RESULT, ResultResponse),
    ],
)
def test_a_refusal_becomes_an_answer_of_its_kind(route: Route, kind: type[msgspec.Struct]) -> None:
    mistake = answer_of(route, Refusal(Kind.INVALID, "bad_field", "no"))
    assert type(mistake) is kind
    assert (mistake.status, mistake.message, mistake.retry_wait) == (Status.INVALID_REQUEST, "no", None)
    later = answer_of(route, busy("no_room", "full", 5))
    assert (later.status, later.message, later.retry_wait) == (Status.RETRY, "full", 5)
