"""Outcomes as HTTP: which status, headers and body."""

import msgspec
import pytest

from tests.unit.gateway.fakes import SHA
from turnout.blobs.base import BlobName
from turnout.gateway.calls import Answer, Kind, Model, Notice, Refusal, busy
from turnout.gateway.http1.replies import USUAL, Manner, Permission, Reply, head_bytes, misuse, render
from turnout.messages import ModelRef, ResultResponse, Status, TaskResponse
from turnout.wire.edge_replies import ReplyWriter
from turnout.wire.forms import WEIGHTS

WRITER = ReplyWriter()
MODEL = Model(BlobName("j", SHA), memoryview(bytes(range(100))))


def said(reply: Reply) -> dict[str, object]:
    found: dict[str, object] = msgspec.json.decode(b"".join(reply.body))
    return found


@pytest.mark.parametrize(("kind", "status"), [("INVALID", 400), ("UNKNOWN", 404), ("TOO_LARGE", 413)])
def test_a_refusal_has_the_status_of_its_kind(kind: str, status: int) -> None:
    reply = render(Refusal(Kind[kind], "why", "no"), "", WRITER, USUAL)
    assert (reply.status, reply.label, reply.headers) == (status, str(status), ())
    assert said(reply) == {"status": "INVALID_REQUEST", "message": "no"}


def test_a_busy_gateway_says_when_to_come_back_in_the_header_and_in_the_body() -> None:
    reply = render(busy("why", "later", 5), "android", WRITER, USUAL)
    assert (reply.status, reply.headers) == (503, ((b"Retry-After", b"5"),))
    assert said(reply) == {"status": "RETRY", "message": "later", "retry_wait": 5}


def test_what_is_wrong_in_http_alone_has_a_status_and_headers_of_its_own() -> None:
    reply = render(misuse(405, "method", "no", ((b"Allow", b"GET"),)), "", WRITER, USUAL)
    assert (reply.status, reply.headers) == (405, ((b"Allow", b"GET"),))


@pytest.mark.parametrize(("platform", "status"), [("android", "OK"), ("ios", "NO_TASK"), ("Android", "OK")])
def test_phones_are_told_of_a_refused_result_as_of_the_jobs_other_refusals(platform: str, status: str) -> None:
    instead = ResultResponse(Status.ERROR, False, "t1", message="no")
    reply = render(Refusal(Kind.INVALID, "shape", "no", instead=instead), platform, WRITER, USUAL)
    assert reply.status == 200
    assert said(reply) == {"status": status, "counted": False, "task_id": "t1", "message": "no"}


def test_an_answer_is_counted_by_what_it_says() -> None:
    reply = render(Answer(TaskResponse(Status.DONE)), "", WRITER, USUAL)
    assert (reply.status, reply.label, said(reply)) == (200, "DONE", {"status": "DONE"})


def test_a_model_inside_a_task_is_not_copied() -> None:
    model = b'{"w":[1.0]}'
    task = TaskResponse(Status.OK, "j", "t1", "train", ModelRef(SHA, 4, {}))
    reply = render(Answer(task, model, WEIGHTS), "", WRITER, USUAL)
    assert reply.body[1] is model
    assert said(reply)["task_data"] == {"kind": "WEIGHTS", "meta": {}, "data": {"w": [1.0]}}


def test_health_is_not_kept_and_a_permission_has_no_body() -> None:
    assert render(Notice(b"{}"), "", WRITER, USUAL).headers == ((b"Cache-Control", b"no-store"),)
    permission = render(Permission(b"", ((b"A", b"b"),)), "", WRITER, USUAL)
    assert head_bytes(permission, b"now", b"") == b"HTTP/1.1 204 No Content\r\nDate: now\r\nA: b\r\n\r\n"


# --- models ---


def model(headers: dict[bytes, bytes], *, head_only: bool = False) -> Reply:
    return render(MODEL, "", WRITER, Manner(head_only=head_only, asked=headers))


def test_a_model_is_sent_whole_in_part_not_at_all_or_refused() -> None:
    whole, part, none, beyond = (
        model({}),
        model({b"range": b"bytes=10-19"}),
        model({b"if-none-match": f'"{SHA}"'.encode()}),
        model({b"range": b"bytes=100-"}),
    )
    assert (whole.status, whole.media, b"".join(whole.body)) == (200, b"application/octet-stream", MODEL.view)
    assert (b"ETag", f'"{SHA}"'.encode()) in whole.headers
    assert (part.status, b"".join(part.body)) == (206, bytes(range(10, 20)))
    assert (b"Content-Range", b"bytes 10-19/100") in part.headers
    assert (none.status, none.body) == (304, ())
    assert (beyond.status, beyond.refused) == (416, "range")
    assert (b"Content-Range", b"bytes */100") in beyond.headers


def test_head_ignores_the_range() -> None:
    reply = model({b"range": b"bytes=10-19"}, head_only=True)
    assert (reply.status, sum(map(len, reply.body))) == (200, 100)
