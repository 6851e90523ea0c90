"""A device's requests as HTTP, and what every kind of HTTP reply means to it."""

import pytest

from turnout.device.exchange import NoAnswer, from_http, to_http
from turnout.messages import (
    DeviceInfo,
    EdgeRequest,
    JobRequest,
    JobResponse,
    ModelSchema,
    ResultReport,
    ResultResponse,
    Status,
    TaskRequest,
    TaskResponse,
    TensorSpec,
)
from turnout.wire.edge_replies import HttpReply

DEVICE = DeviceInfo("a3f", platform="python")
SCHEMA = ModelSchema((TensorSpec("w", (1,)),))
JOB = JobRequest(DEVICE, "digits")
TASK = TaskRequest(DEVICE, "j1", accept=("safetensors",))
RESULT = ResultReport(DEVICE, "j1", "t1", "train", memoryview(b"\0\0\x80?"), 3.0, {"loss": 0.5})


def answer(request: EdgeRequest, status: int, body: bytes, **headers: bytes) -> object:
    return from_http(request, HttpReply(status, {k.replace("_", "-").encode(): v for k, v in headers.items()}, body))


def test_every_request_names_its_device() -> None:
    for request in (JOB, TASK, RESULT):
        assert ("X-Flare-Device-ID", "a3f") in to_http(request, SCHEMA).headers


def test_a_result_carries_its_fields_in_the_query_and_its_update_as_safetensors() -> None:
    http = to_http(RESULT, SCHEMA)
    assert http.target.startswith("/result?job_id=j1&task_id=t1&task_name=train&num_examples=3.0&metrics=")
    assert ("Content-Type", "application/vnd.safetensors") in http.headers
    assert http.body.endswith(b"\0\0\x80?")


def test_a_failure_carries_no_update_and_needs_no_model() -> None:
    http = to_http(ResultReport(DEVICE, "j1", "t1", "train", memoryview(b""), status="ERROR"), None)
    assert http.target == "/result?job_id=j1&task_id=t1&task_name=train&status=ERROR"
    assert http.body == b""


def test_http_200_is_the_answer() -> None:
    assert answer(JOB, 200, b'{"status":"OK","job_id":"j1"}') == JobResponse(Status.OK, job_id="j1")
    assert answer(TASK, 200, b'{"status":"RETRY","retry_wait":3}') == TaskResponse(Status.RETRY, retry_wait=3.0)
    assert answer(RESULT, 200, b'{"status":"OK","counted":true}') == ResultResponse(Status.OK, counted=True)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"status":"HELLO"}', b"\xff", b'{"status":' + b"[" * 9999])
def test_http_200_that_cannot_be_read_is_no_answer(body: bytes) -> None:
    assert answer(TASK, 200, body) == NoAnswer("unreadable answer")


@pytest.mark.parametrize(
    ("request_", "kind"),
    [(JOB, JobResponse), (TASK, TaskResponse), (RESULT, ResultResponse)],
    ids=lambda each: getattr(each, "__name__", type(each).__name__),
)
@pytest.mark.parametrize("status", [400, 404, 413, 415, 422])
def test_4xx_in_the_words_of_the_protocol_means_that_we_are_not_understood(
    request_: EdgeRequest, kind: type, status: int
) -> None:
    response = answer(request_, status, b'{"status":"INVALID_REQUEST","message":"missing job_id"}')
    assert isinstance(response, kind)
    assert response.status is Status.INVALID_REQUEST
    assert response.message == f"missing job_id (HTTP {status})"


@pytest.mark.parametrize("body", [b"<html>not found</html>", b"", b"{}", b'{"status":5}'])
@pytest.mark.parametrize("status", [301, 404, 413, 429, 500, 502, 503, 504])
def test_any_other_status_is_no_answer(status: int, body: bytes) -> None:
    assert answer(RESULT, status, body) == NoAnswer(f"HTTP {status}")


def test_retry_after_of_a_busy_gateway_is_heard() -> None:
    body = b'{"status":"RETRY","message":"busy"}'
    assert answer(JOB, 503, body, retry_after=b"7") == NoAnswer("HTTP 503", 7.0)
    assert answer(JOB, 503, body, retry_after=b"Sun, 22 Nov 2026 19:00:00 GMT") == NoAnswer("HTTP 503")
