"""What existing clients send, in all its forms, over a real socket: read as it is meant, or refused in JSON."""

import json
from typing import Any

import pytest

from tests.contract.flare.conftest import World
from tests.contract.flare.quirks import covers
from tests.unit.gateway.fakes import Answered, get, http
from turnout.messages import (
    DeviceInfo,
    JobRequest,
    JobResponse,
    ResultReport,
    ResultResponse,
    SelectionRequest,
    SelectionResponse,
    Status,
    TaskRequest,
    TaskResponse,
    UserInfo,
)

pytestmark = pytest.mark.anyio

JOB = b'{"job_name": "mnist", "capabilities": {"methods": ["cnn"]}}'
BY_REFERENCE = b'{"accept": ["safetensors"]}'
DIFF = {"kind": "WEIGHT_DIFF", "data": {"dict": {"w": [0.5] * 8}}, "meta": {}}
RESULT_PATH = "/result?job_id=small&task_id=t1&task_name=train"


def result(**changes: Any) -> bytes:
    return json.dumps({"result": DIFF, **changes}).encode()


def asked_by(world: World) -> DeviceInfo:
    """Who sent the last request that reached a job."""
    request = world.dispatcher.requests[-1]
    assert isinstance(request, JobRequest | TaskRequest | SelectionRequest | ResultReport)
    return request.device


def refused(reply: Answered) -> str:
    """The words of a 400 in JSON."""
    assert reply.status == 400
    assert reply.headers["content-type"] == "application/json"
    assert reply.json["status"] == "INVALID_REQUEST"
    assert "details" not in reply.json
    message: str = reply.json["message"]
    return message


# --- paths --------------------------------------------------------------------------------------------------------


@covers("path/job", "path/task", "path/result", "path/selection", "path/connection", "reply/200")
async def test_all_four_requests_are_posts_to_the_root_and_one_connection_serves_them(world: World) -> None:
    device = await world.connect()
    bodies = [
        ("/job", JOB),
        ("/task?job_id=small", BY_REFERENCE),
        ("/selection?job_id=small", b"{}"),
        (RESULT_PATH, result()),
    ]
    for target, body in bodies:
        reply = await device.ask(http(target, body))
        assert (reply.status, reply.json["status"]) == (200, "OK"), target
        assert "connection" not in reply.headers


@covers("path/ios-double-slash")
async def test_two_slashes_are_as_one(world: World) -> None:
    assert (await world.ask(http("//job", JOB))).json["status"] == "OK"


@covers("code/405", "path/task")
@pytest.mark.parametrize("path", ["/job", "/task?job_id=small", "/result?job_id=small", "/selection?job_id=small"])
async def test_a_get_is_405_in_json_with_the_way_out(world: World, path: str) -> None:
    reply = await world.ask(get(path))
    assert (reply.status, reply.headers["allow"], reply.json["status"]) == (405, "POST", "INVALID_REQUEST")


@covers("code/404")
async def test_an_unknown_path_is_404_in_json_that_names_the_known_ones(world: World) -> None:
    reply = await world.ask(http("/edge/v1/job", JOB))
    assert reply.status == 404
    assert "POST /job" in reply.json["message"]


@covers("path/content-type")
@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON;charset=x"])
async def test_the_content_type_may_have_a_charset(world: World, kind: str) -> None:
    assert (await world.ask(http("/job", JOB, Content_Type=kind))).status == 200


@covers("code/415", "path/content-type")
async def test_a_missing_or_other_content_type_is_415_in_json(world: World) -> None:
    for request in (http("/job", JOB, drop=("Content-Type",)), http("/job", JOB, Content_Type="text/plain")):
        reply = await world.ask(request)
        assert (reply.status, reply.json["status"]) == (415, "INVALID_REQUEST")


@covers("path/no-compression")
async def test_replies_are_not_compressed_though_devices_would_take_it(world: World) -> None:
    reply = await world.ask(http("/job", JOB, Accept_Encoding="gzip, deflate"))
    assert "content-encoding" not in reply.headers
    assert reply.json["status"] == "OK"


# --- who asks -----------------------------------------------------------------------------------------------------


@covers("header/id", "code/400")
async def test_a_request_without_an_id_is_400(world: World) -> None:
    assert "Device ID missing" in refused(await world.ask(http("/job", JOB, drop=("X-Flare-Device-ID",))))
    assert "Device ID missing" in refused(await world.ask(http("/job", JOB, X_Flare_Device_ID="")))


@covers("header/id-forms")
@pytest.mark.parametrize(
    "device_id",
    ["NVFlare_Android-9774d56d682e549c", "3F2504E0-4F89-11D3-9A0C-0305E82C3301", "unknown", "dummy", "a-b-c#7"],
)
async def test_the_ids_of_all_clients_are_taken(world: World, device_id: str) -> None:
    assert (await world.ask(http("/job", JOB, X_Flare_Device_ID=device_id))).status == 200
    assert asked_by(world).device_id == device_id


@covers("header/info-query", "header/info-extra")
async def test_info_is_a_query_string_whose_blank_values_are_not_there(world: World) -> None:
    info = "app_name=demo&app_version=&platform=linux&memory=8&platform=again"
    await world.ask(http("/job", JOB, X_Flare_Device_Info=info))
    assert asked_by(world) == DeviceInfo("d1", "demo", "", "linux", "", {"memory": "8"})


@covers("header/info-python")
async def test_python_encodes_its_info_and_writes_none_for_nothing(world: World) -> None:
    info = "app_name=my+app%26co&app_version=1.0&platform=None&platform_version=None"
    await world.ask(http("/job", JOB, X_Flare_Device_Info=info))
    assert asked_by(world) == DeviceInfo("d1", "my app&co", "1.0")


@covers("header/info-android")
async def test_android_does_not_encode_its_info_and_repeats_its_id(world: World) -> None:
    info = "device_id=NVFlare_Android-7&app_name=Demo App&app_version=1.0&platform=android"
    await world.ask(http("/job", JOB, X_Flare_Device_ID="NVFlare_Android-7", X_Flare_Device_Info=info))
    assert asked_by(world) == DeviceInfo("NVFlare_Android-7", "Demo App", "1.0", "android")


@covers("header/info-mangled")
@pytest.mark.parametrize(
    ("app_name", "arrives"),
    [("R&D", "R"), ("C++", "C"), ("a=b", "a=b"), ("100%", "100%"), ("50%25", "50%"), ("Ä", "Ä")],
)
async def test_an_app_name_that_android_mangles_costs_nothing_but_itself(
    world: World, app_name: str, arrives: str
) -> None:
    info = f"device_id=NVFlare_Android-7&app_name={app_name}&platform=android"
    await world.ask(http("/job", JOB, X_Flare_Device_ID="NVFlare_Android-7", X_Flare_Device_Info=info))
    assert (asked_by(world).app_name.strip(), asked_by(world).platform) == (arrives, "android")


@covers("header/info-json", "wait/who")
async def test_the_json_of_ios_is_read_so_that_its_platform_is_known(world: World) -> None:
    info = '{"app_version":"1.0","platform":"ios","device_id":"something else"}'
    await world.ask(http("/task?job_id=small", X_Flare_Device_ID="ABC", X_Flare_Device_Info=info))
    assert asked_by(world) == DeviceInfo("ABC", "", "1.0", "ios")


@covers("header/info-empty", "header/info-json")
@pytest.mark.parametrize("info", ["", "{}", "{", "{not json}", "[1]", "null"])
async def test_info_that_says_nothing_is_accepted(world: World, info: str) -> None:
    assert (await world.ask(http("/job", JOB, X_Flare_Device_Info=info))).status == 200
    assert asked_by(world) == DeviceInfo("d1")


@covers("header/mismatch", "header/mismatch-ios", "code/400")
@pytest.mark.parametrize("info", ["device_id=d2", "platform=ios&device_id=d2", "device_id=d1&device_id=d1"])
async def test_another_id_in_a_query_string_of_info_is_400(world: World, info: str) -> None:
    assert "Device ID mismatch" in refused(await world.ask(http("/job", JOB, X_Flare_Device_Info=info)))


@covers("header/user")
@pytest.mark.parametrize("text", ["", "{}", "user_id=default_user", "user_id=u&access_token=None", '{"user_id": "u"}'])
async def test_user_info_is_taken_in_every_form_and_decides_nothing(world: World, text: str) -> None:
    assert (await world.ask(http("/job", JOB, X_Flare_User_Info=text))).json["status"] == "OK"


@covers("request/body-identity", "hole-06")
@pytest.mark.parametrize(("path", "body"), [("/job", JOB), ("/task?job_id=small", b"{}"), (RESULT_PATH, result())])
async def test_no_body_says_who_asks(world: World, path: str, body: bytes) -> None:
    forged = {
        "device_info": {"device_id": "d2", "platform": "ios"},
        "user_info": {"user_id": "root"},
        "device_id": "d2",
    }
    data = json.dumps({**json.loads(body), **forged}).encode()
    assert (await world.ask(http(path, data))).status == 200
    assert asked_by(world) == DeviceInfo("d1")
    assert world.dispatcher.requests[-1].user == UserInfo()  # type: ignore[union-attr]


# --- fields -------------------------------------------------------------------------------------------------------


@covers("request/methods-empty", "request/methods-unused")
@pytest.mark.parametrize("methods", [[], ["cnn", "xor"], ["mnist"], [7]])
async def test_methods_may_be_empty_and_are_whatever_a_device_likes(world: World, methods: list[Any]) -> None:
    body = json.dumps({"job_name": "mnist", "capabilities": {"methods": methods}}).encode()
    assert (await world.ask(http("/job", body))).json["status"] == "OK"


@covers("request/body-wins", "request/query")
async def test_a_field_in_the_body_goes_before_the_one_in_the_query(world: World) -> None:
    await world.ask(http("/task?job_id=other", b'{"job_id": "small"}'))
    request = world.dispatcher.requests[-1]
    assert isinstance(request, TaskRequest)
    assert request.job_id == "small"
    await world.ask(http("/result?job_id=x&task_id=x&task_name=x&status=ERROR", result(job_id="small", task_id="t1")))
    report = world.dispatcher.requests[-1]
    assert isinstance(report, ResultReport)
    assert (report.job_id, report.task_id, report.task_name, report.status) == ("small", "t1", "x", "ERROR")


@covers("request/query")
@pytest.mark.parametrize("status", ["", "&status=OK"])
async def test_a_result_without_a_status_is_ok(world: World, status: str) -> None:
    assert (await world.ask(http(RESULT_PATH + status, result()))).json["counted"] is True
    report = world.dispatcher.requests[-1]
    assert isinstance(report, ResultReport)
    assert (report.status, report.task_name) == ("OK", "train")


@covers("request/required", "code/400", "request/job-id-needed")
@pytest.mark.parametrize(
    ("target", "body", "missing"),
    [
        ("/job", b'{"capabilities": {"methods": []}}', "job_name"),
        ("/job", b'{"job_name": "mnist"}', "capabilities"),
        ("/job", b'{"job_name": "mnist", "capabilities": {}}', "methods"),
        ("/task", b"{}", "job_id"),
        ("/selection", b"{}", "job_id"),
        ("/result?task_id=t1&task_name=train", result(), "job_id"),
        ("/result?job_id=small&task_name=train", result(), "task_id"),
        ("/result?job_id=small&task_id=t1", result(), "task_name"),
        (RESULT_PATH, b"{}", "result"),
    ],
)
async def test_what_is_missing_is_named(world: World, target: str, body: bytes, missing: str) -> None:
    assert missing in refused(await world.ask(http(target, body)))
    assert world.dispatcher.requests == []


@covers("request/null-cookie")
@pytest.mark.parametrize("target", ["/task?job_id=small", RESULT_PATH])
async def test_a_cookie_of_null_is_none(world: World, target: str) -> None:
    body = result(cookie=None) if target == RESULT_PATH else b'{"cookie": null}'
    assert (await world.ask(http(target, body))).status == 200
    request = world.dispatcher.requests[-1]
    assert isinstance(request, TaskRequest | ResultReport)
    assert request.cookie is None


@covers("request/null-cookie")
async def test_optional_fields_may_be_null(world: World) -> None:
    nulls = {"status": None, "num_examples": None, "metrics": None, "cookie": None, "job_id": None, "task_name": None}
    assert (await world.ask(http(RESULT_PATH, result(**nulls)))).json["counted"] is True
    assert (await world.ask(http("/task?job_id=small", b'{"accept": null, "job_id": null}'))).status == 200


@covers("request/unknown-keys", "code/500")
@pytest.mark.parametrize(("path", "body"), [("/job", JOB), ("/task?job_id=small", b"{}"), (RESULT_PATH, result())])
async def test_unknown_keys_are_let_pass_and_so_is_the_key_self(world: World, path: str, body: bytes) -> None:
    data = json.dumps({**json.loads(body), "self": 1, "kwargs": {"a": [None]}, "__class__": "x"}).encode()
    assert (await world.ask(http(path, data))).status == 200


@covers("path/body-needed", "code/malformed", "code/500", "code/list", "hole-05")
@pytest.mark.parametrize("target", ["/job", "/task?job_id=small", "/selection?job_id=small", RESULT_PATH])
@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"[1]", b'"text"', b"7", b"{", b"{}}", b'{"a": NaN}', b"\xff{}"])
async def test_what_is_no_json_object_is_400_in_json(world: World, target: str, body: bytes) -> None:
    refused(await world.ask(http(target, body)))


@covers("code/500", "hole-05")
@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/job", b'{"job_name": "mnist", "capabilities": ["cnn"]}'),
        ("/job", b'{"job_name": "mnist", "capabilities": null}'),
        ("/job", b'{"job_name": "mnist", "capabilities": {"methods": "cnn"}}'),
        ("/job", b'{"job_name": ["mnist"], "capabilities": {"methods": []}}'),
        ("/task?job_id=small", b'{"job_id": 7}'),
        (RESULT_PATH, result(result=[])),
        (RESULT_PATH, result(result="text")),
        (RESULT_PATH, result(result={"kind": "WEIGHT_DIFF", "data": []})),
        (RESULT_PATH, result(result={"kind": "WEIGHT_DIFF", "data": {"dict": {"w": {"nested": [1]}}}})),
        (RESULT_PATH, result(task_id=7)),
        (RESULT_PATH, b'{"result": ' + b'{"data": ' * 5000 + b"1" + b"}" * 5000 + b"}"),
    ],
)
async def test_a_wrong_type_is_400_in_json(world: World, target: str, body: bytes) -> None:
    refused(await world.ask(http(target, body)))


@covers("code/500", "request/body-identity")
@pytest.mark.parametrize("name", ["device_info", "user_info"])
@pytest.mark.parametrize("value", ["text", None, [], 7])
async def test_who_asks_may_be_anything_in_a_body_for_nobody_reads_it_there(
    world: World, name: str, value: Any
) -> None:
    assert (await world.ask(http("/task?job_id=small", json.dumps({name: value}).encode()))).status == 200


# --- replies ------------------------------------------------------------------------------------------------------


@covers("reply/200", "status/RETRY", "status/NO_JOB", "status/ERROR", "status/DONE", "status/INVALID_REQUEST")
@pytest.mark.parametrize("status", Status)
async def test_every_status_is_http_200(world: World, status: Status) -> None:
    world.dispatcher.answer_to = lambda request: TaskResponse(status, retry_wait=2.0)
    reply = await world.ask(http("/task?job_id=small"))
    assert (reply.status, reply.json["status"]) == (200, status)


@covers("reply/job", "reply/task", "reply/selection", "reply/result", "path/json-spaces")
async def test_replies_have_flares_fields_and_a_few_that_its_clients_do_not_look_at(world: World) -> None:
    cookie = {"model_version": 1, "device_selection_id": 2}
    world.dispatcher.answer_to = lambda request: {
        JobRequest: JobResponse(Status.OK, "small", "mnist", job_data={"config": {"components": []}}),
        TaskRequest: TaskResponse(Status.OK, "small", "t1", "train", cookie=cookie, lease_s=60.0, retry_wait=0.0),
        SelectionRequest: SelectionResponse(Status.OK, "small", selection={"d1": 2}),
        ResultReport: ResultResponse(Status.OK, True, "t1", "train", duplicate=True),
    }[type(request)]
    job, task, selection, answer = [
        (await world.ask(http(target, body))).json
        for target, body in [
            ("/job", JOB),
            ("/task?job_id=small", b"{}"),
            ("/selection?job_id=small", b"{}"),
            (RESULT_PATH, result()),
        ]
    ]
    assert job == {"status": "OK", "job_id": "small", "job_name": "mnist", "job_data": {"config": {"components": []}}}
    assert task.pop("lease_s") == 60.0
    flares = {"status": "OK", "job_id": "small", "retry_wait": 0, "task_id": "t1", "task_name": "train"}
    assert task == {**flares, "cookie": cookie}
    assert selection == {"status": "OK", "job_id": "small", "selection": {"d1": 2}}
    assert (answer.pop("counted"), answer.pop("duplicate")) == (True, True)
    assert answer == {"status": "OK", "task_id": "t1", "task_name": "train"}


@covers("reply/no-nulls", "config/delivered")
async def test_the_device_config_arrives_without_its_null_members(world: World) -> None:
    config = {"components": [{"name": "trainer", "args": None}, None], "in_filters": None}
    world.dispatcher.answer_to = lambda request: JobResponse(Status.OK, "j", "mnist", job_data={"config": config})
    reply = await world.ask(http("/job", JOB))
    assert reply.json["job_data"] == {"config": {"components": [{"name": "trainer", "args": None}, None]}}


@covers("reply/no-config")
async def test_without_a_device_config_job_data_is_empty(world: World) -> None:
    world.dispatcher.answer_to = lambda request: JobResponse(Status.OK, "j", "mnist", job_data={"config": None})
    assert (await world.ask(http("/job", JOB))).json["job_data"] == {}


@covers("wait/seconds", "wait/milliseconds", "wait/integer", "wait/who")
@pytest.mark.parametrize(
    ("device_id", "info", "wait"),
    [
        ("d1", "", 3),
        ("d1", "platform=ios", 3),
        ("d1", '{"platform":"ios"}', 3),
        ("d1", "platform=None", 3),
        ("d1", "platform=android", 2500),
        ("d1", "platform=Android", 2500),
        ("NVFlare_Android-7", "app_name=mine", 2500),
    ],
)
async def test_a_wait_is_an_integer_in_the_unit_that_the_platform_sleeps(
    world: World, device_id: str, info: str, wait: int
) -> None:
    world.dispatcher.answer_to = lambda request: TaskResponse(Status.RETRY, retry_wait=2.5)
    request = http("/task?job_id=small", X_Flare_Device_ID=device_id, X_Flare_Device_Info=info)
    said = (await world.ask(request)).json["retry_wait"]
    assert (said, type(said)) == (wait, int)


@covers("device/result-RETRY", "device/result-NO_TASK", "device/result-ERROR", "hole-07")
@pytest.mark.parametrize(
    ("platform", "told"),
    [
        ("", {"RETRY": "RETRY", "NO_TASK": "NO_TASK", "ERROR": "ERROR", "NO_JOB": "NO_JOB", "DONE": "DONE"}),
        ("android", {"RETRY": "OK", "NO_TASK": "OK", "ERROR": "OK", "NO_JOB": "NO_JOB", "DONE": "DONE"}),
        ("ios", {"RETRY": "NO_TASK", "NO_TASK": "NO_TASK", "ERROR": "NO_TASK", "NO_JOB": "NO_JOB", "DONE": "DONE"}),
    ],
)
async def test_a_platform_that_mistreats_a_status_is_told_another_and_never_that_it_counts(
    world: World, platform: str, told: dict[str, str]
) -> None:
    for status, word in told.items():
        world.dispatcher.answer_to = lambda request, status=status: ResultResponse(  # type: ignore[misc]
            Status(status), False, "t1", "train", "the reason"
        )
        reply = await world.ask(http(RESULT_PATH, result(), X_Flare_Device_Info=f"platform={platform}"))
        assert (reply.json["status"], reply.json["counted"], reply.json["message"]) == (word, False, "the reason")
