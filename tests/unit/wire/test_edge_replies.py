"""What devices are told, in their own units and words."""

from typing import Any

import msgspec
import pytest

from turnout.errors import ServerError
from turnout.messages import (
    DeviceInfo,
    EdgeResponse,
    JobRequest,
    JobResponse,
    ModelRef,
    ResultOffer,
    ResultResponse,
    SelectionRequest,
    SelectionResponse,
    Status,
    TaskRequest,
    TaskResponse,
)
from turnout.wire.edge_replies import ReplyWriter, blob_path, decode_response
from turnout.wire.forms import EXECUTORCH, WEIGHTS, Form

SHA = "ab" * 32
TASK = TaskResponse(
    Status.OK, "j", "t", "train", ModelRef(SHA, 40, {"model_version": 3, "lr": 0.5}), {"model_version": 3}, 60.0, 0.0
)


def told(response: EdgeResponse, platform: str = "") -> dict[str, object]:
    found: dict[str, object] = msgspec.json.decode(ReplyWriter().encode(response, platform))
    return found


def test_absent_fields_are_left_out() -> None:
    assert told(TaskResponse(Status.NO_JOB)) == {"status": "NO_JOB"}


def test_nulls_in_a_device_config_are_left_out_at_every_depth_but_in_lists() -> None:
    config = {"a": None, "b": {"c": None, "d": [None, {"e": None}]}}
    response = JobResponse(Status.OK, "j", "n", job_data={"config": config})
    assert told(response)["job_data"] == {"config": {"b": {"d": [None, {"e": None}]}}}


def test_a_job_without_a_device_config_has_empty_job_data() -> None:
    assert told(JobResponse(Status.OK, "j", "n", job_data={"config": None}))["job_data"] == {}


def test_the_answer_to_a_result_says_only_what_is_not_as_usual() -> None:
    writer = ReplyWriter()
    plain = ResultResponse(Status.OK, False, "t", "train")
    assert writer.encode(plain, "ios") == b'{"status":"OK","counted":false,"task_id":"t","task_name":"train"}'
    again = ResultResponse(Status.OK, True, duplicate=True)
    assert writer.encode(again) == b'{"status":"OK","counted":true,"duplicate":true}'
    later = ResultResponse(Status.RETRY, False, retry_wait=1.5)
    assert writer.encode(later) == b'{"status":"RETRY","counted":false,"retry_wait":2}'


def test_a_response_that_is_written_again_waits_in_the_unit_of_each_platform() -> None:
    writer = ReplyWriter()
    response = JobResponse(Status.RETRY, "j", retry_wait=2.0)
    waits = [msgspec.json.decode(writer.encode(response, platform))["retry_wait"] for platform in ("", "android", "")]
    assert waits == [2, 2000, 2]


def test_the_same_offer_is_written_once_and_another_of_the_same_job_anew() -> None:
    writer = ReplyWriter()
    offers = [JobResponse(Status.OK, "j", "n", job_data={"config": {"a": a}}) for a in (1, 2)]
    bodies = [writer.encode(offers[number]) for number in (0, 0, 1, 1, 0)]
    assert [msgspec.json.decode(body)["job_data"]["config"]["a"] for body in bodies] == [1, 1, 2, 2, 1]
    assert bodies[0] is bodies[1]
    assert bodies[2] is bodies[3]


def test_offers_of_one_job_to_several_platforms_are_each_written_once() -> None:
    writer = ReplyWriter()
    offers = {at: JobResponse(Status.OK, "j", "n", job_data={"config": {"at": at}}) for at in ("android", "ios", "")}
    bodies = [writer.encode(offer, platform) for _ in range(2) for platform, offer in offers.items()]
    assert [msgspec.json.decode(body)["job_data"]["config"]["at"] for body in bodies] == ["android", "ios", ""] * 2
    assert all(first is again for first, again in zip(bodies[:3], bodies[3:], strict=True))


@pytest.mark.parametrize(
    ("platform", "read"),
    [
        ("", {"model_version", "batch_size", "learning_rate"}),
        ("ios", {"model_version", "batch_size"}),
        ("Android", {"model_version"}),
    ],
)
def test_settings_go_with_a_model_only_where_the_sdk_can_read_them(platform: str, read: set[str]) -> None:
    model = ModelRef(SHA, 40, {"model_version": 3, "batch_size": 4, "learning_rate": 0.5})
    task = TaskResponse(Status.OK, "j", "t", "train", model)

    def meta(form: Form) -> set[str]:
        body = b"".join(ReplyWriter().encode_with_weights(task, platform, b"1", form))
        return set(msgspec.json.decode(body)["task_data"]["meta"])

    assert meta(EXECUTORCH) == read | EXECUTORCH.meta.keys()
    assert meta(WEIGHTS) == model.meta.keys(), "which those SDKs do not train"


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("fields", [{}, {"message": "so"}, {"counted": True, "duplicate": True}])
def test_an_answer_to_a_result_reads_the_same_with_a_wait_and_without(status: Status, fields: dict[str, Any]) -> None:
    """Those without are written as they are, and not word by word."""
    response = ResultResponse(status, **{"counted": False, "task_id": "t", "task_name": "train", **fields})
    waits = msgspec.structs.replace(response, retry_wait=3.0)
    plain, waiting = (msgspec.json.decode(ReplyWriter().encode(each)) for each in (response, waits))
    assert waiting.pop("retry_wait") == 3
    assert plain == waiting


@pytest.mark.parametrize(
    ("platform", "wait"),
    [("", 13), ("ios", 13), ("linux", 13), ("android", 12_300), ("Android", 12_300)],
)
def test_retry_wait_is_whole_seconds_and_milliseconds_for_android(platform: str, wait: int) -> None:
    for response in (
        TaskResponse(Status.RETRY, retry_wait=12.3),
        JobResponse(Status.RETRY, retry_wait=12.3),
        SelectionResponse(Status.RETRY, retry_wait=12.3),
        ResultResponse(Status.RETRY, False, retry_wait=12.3),
    ):
        assert told(response, platform)["retry_wait"] == wait


def test_a_task_names_its_model() -> None:
    assert told(TASK)["task_data"] == {
        "kind": "model_ref",
        "href": f"/blob/j/{SHA}",
        "bytes": 40,
        "sha256": SHA,
        "format": "safetensors",
        "meta": {"model_version": 3, "lr": 0.5},
    }


def test_a_task_for_executorch_has_its_file_as_text_and_says_so() -> None:
    parts = ReplyWriter().encode_with_weights(TASK, "", b'"AP9wdGU="', EXECUTORCH)
    assert msgspec.json.decode(b"".join(parts))["task_data"] == {
        "kind": "APP_DEFINED",
        "data": "AP9wdGU=",
        "meta": {
            "model_version": 3,
            "lr": 0.5,
            "model_buffer_type": "executorch",
            "model_buffer_native_format": "binary",
            "model_buffer_encoding": "base64",
        },
    }


def test_a_task_with_its_model_inside_is_flares_dxo() -> None:
    parts = ReplyWriter().encode_with_weights(TASK, "", b'{"w":[1.0,2.0]}', WEIGHTS)
    reply = msgspec.json.decode(b"".join(parts))
    assert reply.pop("task_data") == {
        "kind": "WEIGHTS",
        "data": {"w": [1.0, 2.0]},
        "meta": {"model_version": 3, "lr": 0.5},
    }
    assert reply == {
        "status": "OK",
        "job_id": "j",
        "task_id": "t",
        "task_name": "train",
        "cookie": {"model_version": 3},
        "lease_s": 60.0,
        "retry_wait": 0,
    }


@pytest.mark.parametrize(
    ("platform", "status", "said"),
    [
        ("android", Status.NO_TASK, "OK"),
        ("Android", Status.ERROR, "OK"),
        ("android", Status.RETRY, "OK"),
        ("android", Status.NO_JOB, "NO_JOB"),
        ("ios", Status.ERROR, "NO_TASK"),
        ("iOS", Status.RETRY, "NO_TASK"),
        ("ios", Status.NO_JOB, "NO_JOB"),
        ("", Status.ERROR, "ERROR"),
        ("linux", Status.RETRY, "RETRY"),
    ],
)
def test_a_refused_result_is_told_so_that_the_platform_goes_on_and_counted_stays_true(
    platform: str, status: Status, said: str
) -> None:
    reply = told(ResultResponse(status, False, "t", "train", "too late"), platform)
    assert reply["status"] == said
    assert reply["counted"] is False
    assert reply["message"] == "too late"


def test_counted_is_always_said() -> None:
    assert told(ResultResponse(Status.OK, True, "t", "train")) == {
        "status": "OK",
        "counted": True,
        "task_id": "t",
        "task_name": "train",
    }


DEVICE = DeviceInfo("d1")


@pytest.mark.parametrize("platform", ["", "android"])
@pytest.mark.parametrize(
    ("request_", "response"),
    [
        (JobRequest(DEVICE, "n"), JobResponse(Status.OK, "j", "n", {"config": {"a": 1}})),
        (JobRequest(DEVICE, "n"), JobResponse(Status.NO_JOB, message="no running job")),
        (TaskRequest(DEVICE, "j"), TASK),
        (TaskRequest(DEVICE, "j"), TaskResponse(Status.RETRY, "j", retry_wait=30.0, message="no place")),
        (SelectionRequest(DEVICE, "j"), SelectionResponse(Status.OK, "j", "t", {"*": 4})),
        (ResultOffer(DEVICE, "j", "t"), ResultResponse(Status.OK, True, "t", "train", duplicate=True)),
    ],
)
def test_what_a_gateway_says_the_device_understands(
    request_: JobRequest | TaskRequest | SelectionRequest | ResultOffer, response: EdgeResponse, platform: str
) -> None:
    assert decode_response(request_, ReplyWriter().encode(response, platform), platform) == response


def test_a_server_that_does_not_say_counted_counts_what_it_answers_with_ok() -> None:
    offer = ResultOffer(DEVICE, "j", "t")
    assert decode_response(offer, b'{"status": "OK", "task_id": null}') == ResultResponse(Status.OK, True)
    assert decode_response(offer, b'{"status": "ERROR"}') == ResultResponse(Status.ERROR, False)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'{"status": "PERHAPS"}',
        b"[]",
        b'{"status": "OK", "task_data": {"kind": "WEIGHTS", "data": {}}}',
        b'{"status": "OK", "task_data": {"kind": "zip", "href": "", "bytes": 1, "sha256": "", "meta": {}}}',
    ],
)
def test_what_is_no_answer_is_the_servers_mistake(body: bytes) -> None:
    with pytest.raises(ServerError):
        decode_response(TaskRequest(DEVICE, "j"), body)


def test_a_model_lies_where_the_gateway_serves_it() -> None:
    assert blob_path("j", SHA) == f"/blob/j/{SHA}"
