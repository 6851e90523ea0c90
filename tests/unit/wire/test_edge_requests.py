"""Job, task and selection requests: what is taken, what is refused and in which words."""

from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.errors import DeviceError
from turnout.messages import NOBODY, DeviceInfo, JobRequest, SelectionRequest, TaskRequest
from turnout.wire.edge_requests import (
    BadBody,
    MissingField,
    decode_job,
    decode_selection,
    decode_task,
    encode_request,
)

DEVICE = DeviceInfo("d1")


def test_a_job_request_is_read() -> None:
    body = b'{"job_name": "mnist", "capabilities": {"methods": ["cnn", "xor"]}}'
    assert decode_job(DEVICE, NOBODY, body) == JobRequest(DEVICE, "mnist", {"methods": ["cnn", "xor"]})


def test_an_empty_list_of_methods_is_taken_because_androids_default_is_one() -> None:
    assert decode_job(DEVICE, NOBODY, b'{"job_name": "a", "capabilities": {"methods": []}}').job_name == "a"


def test_an_empty_job_name_is_left_to_the_dispatcher() -> None:
    assert decode_job(DEVICE, NOBODY, b'{"job_name": "", "capabilities": {"methods": []}}').job_name == ""


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b'{"capabilities": {"methods": []}}', "job_name"),
        (b'{"job_name": "a"}', "capabilities"),
        (b'{"job_name": "a", "capabilities": {}}', "methods"),
        (b'{"job_name": "a", "capabilities": []}', "capabilities"),
        (b'{"job_name": "a", "capabilities": {"methods": "cnn"}}', "methods"),
        (b'{"job_name": 7, "capabilities": {"methods": []}}', "job_name"),
        (b"null", "object"),
        (b"[]", "object"),
        (b"", "truncated"),
        (b"{", "truncated"),
        (b'{"job_name": "\xff"}', "UTF-8"),
        (b'{"job_name": "a", "capabilities": ' + b'{"a":' * 100_000, "nested too deeply"),
        (b'{"job_name": "a", "capabilities": {"methods": [NaN]}}', "malformed"),
    ],
)
def test_a_bad_job_request_is_refused_with_the_field_and_an_example(body: bytes, names: str) -> None:
    with pytest.raises(DeviceError, match=f"/job.*{names}.*send"):
        decode_job(DEVICE, NOBODY, body)


def test_a_body_that_says_who_asks_is_not_believed() -> None:
    body = b'{"device_info": {"device_id": "someone-else"}, "user_info": "text", "self": 1}'
    assert decode_task(DEVICE, NOBODY, {"job_id": "j"}, body).device is DEVICE


def test_a_task_request_takes_its_job_id_from_the_query() -> None:
    assert decode_task(DEVICE, NOBODY, {"job_id": "j"}, b"{}") == TaskRequest(DEVICE, "j")


def test_the_body_wins_over_the_query() -> None:
    assert decode_task(DEVICE, NOBODY, {"job_id": "q"}, b'{"job_id": "b"}').job_id == "b"


def test_a_null_cookie_is_none() -> None:
    assert decode_task(DEVICE, NOBODY, {"job_id": "j"}, b'{"cookie": null, "accept": null}').cookie is None


def test_a_cookie_comes_back_as_it_was() -> None:
    body = b'{"cookie": {"model_version": 3, "device_selection_id": 4}, "accept": ["safetensors"]}'
    task = decode_task(DEVICE, NOBODY, {"job_id": "j"}, body)
    assert task.cookie == {"model_version": 3, "device_selection_id": 4}
    assert task.accept == ("safetensors",)


@pytest.mark.parametrize(
    "cookie",
    [
        b'"text"',
        b"1",
        b"[]",
        b'{"of": {"objects": 1}}',
        b'{"too": "%b"}' % (b"x" * 4096),
        b'{"no message can carry": 1%b}' % (b"0" * 30),
    ],
)
def test_a_cookie_of_another_kind_is_ignored(cookie: bytes) -> None:
    task = decode_task(DEVICE, NOBODY, {"job_id": "j"}, b'{"cookie": %b, "accept": ["safetensors"]}' % cookie)
    assert (task.cookie, task.accept) == (None, ("safetensors",))


def test_an_empty_job_id_is_left_to_the_dispatcher() -> None:
    assert decode_task(DEVICE, NOBODY, {"job_id": ""}, b"{}").job_id == ""


def test_a_job_name_that_is_null_is_left_to_the_dispatcher() -> None:
    assert decode_job(DEVICE, NOBODY, b'{"job_name": null, "capabilities": {"methods": []}}').job_name == ""


@pytest.mark.parametrize("decode", [decode_task, decode_selection])
def test_a_job_id_that_is_null_leaves_that_of_the_query_or_else_is_empty(decode: Callable[..., TaskRequest]) -> None:
    assert decode(DEVICE, NOBODY, {"job_id": "j"}, b'{"job_id": null}').job_id == "j"
    assert decode(DEVICE, NOBODY, {}, b'{"job_id": null}').job_id == ""


@pytest.mark.parametrize("decode", [decode_task, decode_selection])
def test_a_missing_job_id_is_named_with_where_to_put_it(decode: Callable[..., object]) -> None:
    with pytest.raises(MissingField, match=r"missing job_id.*\?job_id="):
        decode(DEVICE, NOBODY, {}, b"{}")


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'"text"', b'{"accept": "safetensors"}'])
def test_a_bad_task_request_is_refused(body: bytes) -> None:
    with pytest.raises(BadBody, match="/task"):
        decode_task(DEVICE, NOBODY, {"job_id": "j"}, body)


@given(st.binary(max_size=300))
def test_no_body_raises_anything_but_a_device_error(body: bytes) -> None:
    for decode in (
        lambda: decode_job(DEVICE, NOBODY, body),
        lambda: decode_task(DEVICE, NOBODY, {}, body),
        lambda: decode_selection(DEVICE, NOBODY, {}, body),
    ):
        with pytest.raises(DeviceError):
            decode()


def query_of(target: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(target).query, keep_blank_values=True))


def test_what_a_device_asks_the_gateway_understands() -> None:
    job = JobRequest(DEVICE, "mnist", {"methods": ["cnn"]})
    sent = encode_request(job)
    assert (sent.method, sent.target) == ("POST", "/job")
    assert decode_job(DEVICE, NOBODY, sent.body) == job

    task = TaskRequest(DEVICE, "job/ä 1", {"model_version": 3}, ("safetensors",))
    sent = encode_request(task)
    assert decode_task(DEVICE, NOBODY, query_of(sent.target), sent.body) == task

    selection = SelectionRequest(DEVICE, "j")
    sent = encode_request(selection)
    assert decode_selection(DEVICE, NOBODY, query_of(sent.target), sent.body) == selection


def test_a_job_request_without_capabilities_is_completed_so_that_any_server_takes_it() -> None:
    assert b'"methods":[]' in encode_request(JobRequest(DEVICE, "mnist")).body
