"""The two steps of the core, without sockets."""

import msgspec
import numpy as np
import pytest

from tests.unit.gateway.fakes import NUMBER_SCHEMA, SCHEMA, schema_of, update_of
from turnout.errors import DeviceError
from turnout.gateway import decode
from turnout.gateway.calls import Call, Kind, Refusal, busy
from turnout.gateway.core import Decode, GatewayCore, send_it
from turnout.gateway.cors import NO_ORIGINS
from turnout.gateway.http1.reading import Decision, HttpReader
from turnout.gateway.limits import GatewayLimits
from turnout.messages import (
    DeviceInfo,
    EdgeRequest,
    FleetRange,
    JobRequest,
    ResultOffer,
    ResultReport,
    ResultResponse,
    SelectionRequest,
    Status,
    TaskRequest,
)
from turnout.wire import tensors
from turnout.wire.edge_results import ResultQuery, result_from_json
from turnout.wire.forms import NUMBER

HEADERS = {b"x-flare-device-id": b"d1", b"content-type": b"application/json"}
BINARY = {**HEADERS, b"content-type": b"application/vnd.safetensors"}
QUERY = b"?job_id=%b&task_id=t1&task_name=train"
DEVICE = DeviceInfo("d1")


def core(limits: GatewayLimits | None = None) -> GatewayCore:
    return GatewayCore(schema_of, limits or GatewayLimits())


def reading(gateway: GatewayCore) -> HttpReader:
    """Requests come as by HTTP: what they mean to the core is tested in ``http1/test_reading.py``."""
    return HttpReader(gateway, lambda: b"{}", NO_ORIGINS)


def head(
    target: bytes, headers: dict[bytes, bytes] = HEADERS, length: int | None = 2, limits: GatewayLimits | None = None
) -> Decision:
    return reading(core(limits)).head(b"POST", target, headers, length)[1]


def refused(decision: object) -> tuple[Kind, str]:
    assert isinstance(decision, Refusal)
    return decision.kind, decision.text


def asked(target: bytes, body: bytes) -> Refusal | EdgeRequest | Decode:
    gateway = core()
    _, call = reading(gateway).head(b"POST", target, HEADERS, len(body))
    assert isinstance(call, Call)
    return gateway.body(call, body)


def test_each_path_makes_its_message() -> None:
    assert asked(b"/task?job_id=j", b"{}") == TaskRequest(DEVICE, "j")
    assert asked(b"/selection?job_id=j", b"{}") == SelectionRequest(DEVICE, "j")
    assert asked(b"/job", b'{"job_name": "n", "capabilities": {"methods": []}}') == JobRequest(
        DEVICE, "n", {"methods": []}
    )


def fleet_asks(target: bytes, device_id: bytes) -> Refusal | EdgeRequest | Decode:
    gateway = core()
    _, decision = reading(gateway).head(b"POST", target, {**HEADERS, b"x-flare-device-id": device_id}, 2)
    return gateway.body(decision, b"{}") if isinstance(decision, Call) else decision  # type: ignore[return-value]


def test_a_selection_request_may_speak_for_a_fleet() -> None:
    asked = fleet_asks(b"/selection?job_id=j", b"sim?500")
    assert asked == SelectionRequest(DeviceInfo("sim?500"), "j", fleet=FleetRange("sim", 500))


@pytest.mark.parametrize("target", [b"/job", b"/task?job_id=j", b"/result?job_id=j&task_id=t&task_name=n"])
def test_no_other_request_may_speak_for_a_fleet(target: bytes) -> None:
    code, message = refused(fleet_asks(target, b"sim?500"))
    assert code is Kind.INVALID
    assert "only /selection" in message


def test_a_malformed_fleet_is_refused_in_words() -> None:
    code, message = refused(fleet_asks(b"/selection?job_id=j", b"sim?many"))
    assert code is Kind.INVALID
    assert "prefix?N" in message


def test_a_large_body_is_refused_before_it_is_read() -> None:
    assert refused(head(b"/task?job_id=j", length=64 * 1024 + 1))[0] is Kind.TOO_LARGE
    assert isinstance(head(b"/task?job_id=j", length=64 * 1024), Call)


# --- results ---


def test_a_small_result_is_read_without_asking() -> None:
    call = head(b"/result" + QUERY % b"small", BINARY, 16 * 1024)
    assert isinstance(call, Call)
    assert call.offer is None


@pytest.mark.parametrize("length", [16 * 1024 + 1, None])
def test_a_large_result_or_one_in_chunks_is_offered_first(length: int | None) -> None:
    call = head(b"/result" + QUERY % b"big", BINARY, length)
    assert isinstance(call, Call)
    assert call.offer == ResultOffer(DEVICE, "big", "t1")


@pytest.mark.parametrize("query", [b"", b"?job_id=big", b"?task_id=t1"])
def test_a_large_result_whose_task_is_not_in_the_query_is_refused(query: bytes) -> None:
    status, message = refused(head(b"/result" + query, BINARY, 20_000))
    assert status is Kind.INVALID
    assert "?job_id=...&task_id=..." in message


def test_a_result_larger_than_its_model_can_make_it_is_refused() -> None:
    status, message = refused(head(b"/result" + QUERY % b"small", BINARY, 100_000))
    assert status is Kind.TOO_LARGE
    assert "bytes at most" in message
    status, message = refused(head(b"/result" + QUERY % b"small", HEADERS, 100_000))
    assert "safetensors it is much smaller" in message


@pytest.mark.parametrize("platform", [b"android", b"ios"])
def test_the_sdks_of_phones_are_not_told_of_safetensors_which_they_do_not_speak(platform: bytes) -> None:
    headers = {**HEADERS, b"x-flare-device-info": b"platform=" + platform}
    decision = head(b"/result" + QUERY % b"small", headers, 100_000)
    assert isinstance(decision, Refusal)
    assert decision.reason == "too_large"
    assert "safetensors" not in decision.text


# --- refused results, and who is told of them ---

BAD = [
    (b"[]", "bad_body"),
    (b"{}", "missing_field"),
    (b'{"result": {"kind": "OTHER", "data": {}}}', "bad_field"),
    (b'{"result": {"kind": "WEIGHT_DIFF", "data": {"dict": {"w": [1.0]}}}}', "shape"),
    (b'{"result": {"kind": "WEIGHT_DIFF", "data": {"dict": {"w": [NaN]}}}}', "bad_body"),
]


def refused_result(body: bytes, query: bytes = QUERY % b"small", info: bytes = b"platform=x") -> Refusal:
    gateway = core()
    headers = {**HEADERS, b"x-flare-device-info": info}
    _, call = reading(gateway).head(b"POST", b"/result" + query, headers, len(body))
    decision = gateway.body(call, body) if isinstance(call, Call) else call
    assert isinstance(decision, Refusal)
    return decision


@pytest.mark.parametrize(("body", "reason"), BAD)
def test_a_result_that_does_not_decode_is_refused_and_its_job_is_told_of_it(body: bytes, reason: str) -> None:
    refusal = refused_result(body, info=b"platform=windows&app_version=1.5")
    assert (refusal.kind, refusal.instead) == (Kind.INVALID, None)
    about = refusal.about
    assert about is not None
    assert (about.job_id, about.task_id, about.reason) == ("small", "t1", reason)
    assert (about.device.device_id, about.device.platform, about.device.app_version) == ("d1", "windows", "1.5")
    assert about.message == refusal.text


@pytest.mark.parametrize("platform", [b"android", b"ios", b"Android"])
@pytest.mark.parametrize(("body", "reason"), BAD)
def test_phones_are_told_as_if_the_job_had_refused(body: bytes, reason: str, platform: bytes) -> None:
    refusal = refused_result(body, info=b"platform=" + platform)
    assert refusal.reason == reason
    assert refusal.about is not None
    assert refusal.instead == ResultResponse(Status.ERROR, False, "t1", "train", refusal.text)


def test_ids_in_the_body_alone_are_found_though_the_rest_cannot_be_read() -> None:
    about = refused_result(b'{"job_id": "small", "task_id": "t9", "task_name": "train", "result": 5}', b"").about
    assert about is not None
    assert (about.job_id, about.task_id) == ("small", "t9")


@pytest.mark.parametrize("query", [b"", QUERY % b"unknown", b"?task_id=t1"])
def test_of_a_job_that_does_not_run_nobody_is_told(query: bytes) -> None:
    assert refused_result(b"[]", query).about is None


def test_a_job_is_told_of_what_was_refused_by_its_head_too() -> None:
    decision = head(b"/result" + QUERY % b"small", BINARY, 100_000)
    assert isinstance(decision, Refusal)
    assert decision.about is not None
    assert (decision.kind, decision.about.reason, decision.about.task_id) == (Kind.TOO_LARGE, "too_large", "t1")


def test_what_is_our_trouble_alone_is_told_to_no_job() -> None:
    gateway = core()
    _, call = reading(gateway).head(b"POST", b"/result" + QUERY % b"small", HEADERS, 10)
    assert isinstance(call, Call)
    assert gateway.refuse(call, busy("decoders_busy", "later", 5)).about is None


def test_the_limit_of_an_unknown_job_is_the_gateways() -> None:
    limits = GatewayLimits(result_bytes_max=30_000)
    assert isinstance(head(b"/result" + QUERY % b"new", BINARY, 30_000, limits=limits), Call)
    assert refused(head(b"/result" + QUERY % b"new", BINARY, 30_001, limits=limits))[0] is Kind.TOO_LARGE


def test_a_result_that_the_server_alone_finds_too_large_is_told_the_option() -> None:
    """As JSON a result of this model may have 66,000 bytes."""
    own = refused(head(b"/result" + QUERY % b"small", length=70_000))
    servers = refused(head(b"/result" + QUERY % b"small", length=70_000, limits=GatewayLimits(result_bytes_max=5000)))
    assert own[0] == servers[0] is Kind.TOO_LARGE
    assert "--result-bytes-max" not in own[1]
    assert "may have 5000 bytes at most" in servers[1]
    assert "--result-bytes-max" in servers[1]


def test_raw_safetensors_become_a_report() -> None:
    gateway = core()
    body = update_of(SCHEMA)
    _, call = reading(gateway).head(b"POST", b"/result" + QUERY % b"small" + b"&num_examples=3", BINARY, len(body))
    assert isinstance(call, Call)
    report = gateway.body(call, body)
    assert isinstance(report, ResultReport)
    assert report.num_examples == 3.0
    assert bytes(report.update) == b"\x00\x00\x80?" * 8


def test_a_result_of_a_job_whose_model_is_unknown_is_only_offered() -> None:
    gateway = core()
    _, call = reading(gateway).head(b"POST", b"/result" + QUERY % b"new", BINARY, 5)
    assert isinstance(call, Call)
    assert gateway.body(call, b"abcde") == ResultOffer(DEVICE, "new", "t1")


def json_result(schema_size: int, **more: object) -> bytes:
    dxo = {"kind": "WEIGHT_DIFF", "data": {"dict": {"w": [0.1] * schema_size}}}
    return msgspec.json.encode({"result": dxo, **more})


def test_a_large_json_result_goes_to_a_worker_and_comes_back_as_a_report() -> None:
    gateway = core(GatewayLimits(inline_decode_bytes=1000))
    body = json_result(20_000)
    _, call = reading(gateway).head(b"POST", b"/result" + QUERY % b"big", HEADERS, len(body))
    assert isinstance(call, Call)
    work = gateway.body(call, body)
    assert isinstance(work, Decode)
    report = gateway.decoded(call, decode.decode(memoryview(work.payload)))
    assert isinstance(report, ResultReport)
    assert report.update.nbytes == 4 * 20_000


def test_a_large_result_of_executorch_goes_to_a_worker_too() -> None:
    tensor = {"data": [0.5] * 20_000, "sizes": [20_000], "strides": [1]}
    body = msgspec.json.encode({"result": {"kind": "number", "data": {"net.w": tensor}}})
    gateway = core()
    assert len(body) > GatewayLimits().inline_decode_bytes
    _, call = reading(gateway).head(b"POST", b"/result" + QUERY % b"big-executorch", HEADERS, len(body))
    assert isinstance(call, Call)
    work = gateway.body(call, body)
    assert isinstance(work, Decode)
    report = gateway.decoded(call, decode.decode(memoryview(work.payload)))
    assert isinstance(report, ResultReport)
    assert np.frombuffer(report.update, "<f4").tolist() == [0.5] * 20_000
    assert not report.absolute


def test_a_number_is_reported_as_the_new_value_and_an_update_in_safetensors_as_the_difference() -> None:
    said = asked(b"/result" + QUERY % b"number", b'{"result": {"kind": "number", "data": {"value": 2.5, "count": 3}}}')
    assert isinstance(said, ResultReport)
    assert (np.frombuffer(said.update, "<f4").tolist(), said.num_examples, said.absolute) == ([2.5], 3.0, True)
    gateway = core()
    update = tensors.to_safetensors(np.array([1.0], np.float32), NUMBER_SCHEMA)
    _, call = reading(gateway).head(b"POST", b"/result" + QUERY % b"number", BINARY, len(update))
    assert isinstance(call, Call)
    changed = gateway.body(call, update)
    assert isinstance(changed, ResultReport)
    assert not changed.absolute


def test_a_body_that_names_another_task_than_was_offered_is_refused() -> None:
    gateway = core()
    body = json_result(20_000, task_id="t2")
    _, call = reading(gateway).head(b"POST", b"/result" + QUERY % b"big", HEADERS, len(body))
    assert isinstance(call, Call)
    work = gateway.body(call, body)
    assert isinstance(work, Decode)
    decision = gateway.decoded(call, decode.decode(memoryview(work.payload)))
    assert refused(decision) == (
        Kind.INVALID,
        "job_id and task_id in the body are others than in the query; send them once, in the query",
    )


def test_only_ok_and_not_counted_asks_for_the_body() -> None:
    assert send_it(ResultResponse(Status.OK, False))
    assert not send_it(ResultResponse(Status.OK, True, duplicate=True))
    assert not send_it(ResultResponse(Status.NO_TASK, False))


@pytest.mark.parametrize("body", [b"{", b'{"cookie": 3, "job_id": "number", "task_id": "t", "task_name": "n"}'])
def test_a_broken_result_is_told_what_one_of_its_job_looks_like(body: bytes) -> None:
    query = ResultQuery("number", "t1", "train")
    with pytest.raises(DeviceError) as caught:
        result_from_json(query, body, schema_of)
    assert NUMBER.example in str(caught.value)
