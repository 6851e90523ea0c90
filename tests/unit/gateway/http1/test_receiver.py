"""Bytes to requests: what of a read is one, and what of it is refused."""

from tests.unit.gateway.fakes import JOB, TASK, Gateway, get, http
from turnout.gateway.calls import Call, Refusal
from turnout.gateway.http1.receiver import HEAD, OVER, Receiver, Request
from turnout.gateway.http1.replies import USUAL
from turnout.gateway.routes import Route


def feed(receiver: Receiver, data: bytes) -> list[Request | Refusal]:
    return receiver.feed(data, measuring=False)


def only(found: list[Request | Refusal]) -> Request:
    (request,) = found
    assert isinstance(request, Request)
    return request


def test_a_request_that_is_whole_is_found_once_with_its_body() -> None:
    request = only(feed(Receiver(Gateway().shared), TASK))
    assert (request.route, request.manner, request.body) == (Route.TASK, USUAL, b'{"accept": ["safetensors"]}')
    assert isinstance(request.decision, Call)


def test_a_request_in_two_reads_is_found_at_the_end_of_its_head_and_of_its_body() -> None:
    receiver = Receiver(Gateway().shared)
    assert feed(receiver, TASK[:20]) == []
    request = only(feed(receiver, TASK[20:-5]))
    assert (request.body, receiver.received) == (None, len(b'{"accept": ["safetensors"]}') - 5)
    assert only(feed(receiver, TASK[-5:])) is request
    assert request.body == b'{"accept": ["safetensors"]}'
    assert receiver.state == HEAD


def test_requests_behind_one_another_are_found_in_their_order() -> None:
    found = feed(Receiver(Gateway().shared), TASK + JOB + get("/healthz"))
    assert [request.route for request in found if isinstance(request, Request)] == [
        Route.TASK,
        Route.JOB,
        Route.HEALTH,
    ]


def test_what_comes_before_something_malformed_is_found_and_nothing_behind_it() -> None:
    receiver = Receiver(Gateway().shared)
    first, second = feed(receiver, TASK + b"GET / HTTP/2.0\r\nHost: x\r\n\r\n" + JOB)
    assert isinstance(first, Request)
    assert isinstance(second, Refusal)
    assert receiver.state == OVER


def test_a_request_says_how_it_wants_its_reply() -> None:
    request = only(feed(Receiver(Gateway().shared), http("/job", b"{}", Connection="close")))
    assert (request.manner.close, request.manner.keep) == (True, False)
    request = only(feed(Receiver(Gateway().shared), get("/healthz", "HEAD")))
    assert request.manner.head_only
