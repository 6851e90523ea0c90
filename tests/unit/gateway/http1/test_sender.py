"""Outcomes to bytes, in the order of their requests."""

from tests.unit.gateway.fakes import FakeDispatcher, Gateway, split_replies
from turnout.gateway.calls import Answer, Kind, Refusal
from turnout.gateway.exchange import Exchange
from turnout.gateway.http1.replies import Manner
from turnout.gateway.http1.sender import WRITE_BYTES, Sender
from turnout.messages import JobResponse, Status, TaskResponse

DONE = Answer(TaskResponse(Status.DONE))


class Nobody:
    """A line on which nothing is said."""

    lost = False

    def answered(self, exchange: Exchange) -> None: ...
    def admitted(self, exchange: Exchange) -> None: ...
    def skips_body(self, exchange: Exchange) -> None: ...
    def gives_way(self, exchange: Exchange) -> bool:
        return False


def sender_of(*manners: Manner | None) -> tuple[Sender, list[Exchange]]:
    """A sender with as many exchanges."""
    gateway = Gateway(FakeDispatcher())
    sender = Sender(gateway.shared)
    exchanges = [Exchange(Nobody(), gateway.site) for _ in manners]
    for exchange, manner in zip(exchanges, manners, strict=True):
        sender.add(exchange, *(() if manner is None else (manner,)))
    return sender, exchanges


def taken(sender: Sender) -> list[bytes]:
    pieces = []
    while (piece := sender.take_next()) is not None:
        pieces.append(bytes(piece))
    return pieces


def test_a_reply_waits_for_those_before_it() -> None:
    sender, (first, second) = sender_of(None, None)
    second.settle(DONE)
    assert sender.take_next() is None
    first.refuse(Refusal(Kind.UNKNOWN, "blob", "no"))
    assert [reply.status for reply in split_replies(b"".join(taken(sender)))] == [404, 200]


def test_a_large_reply_is_taken_in_pieces_and_nothing_else_meanwhile() -> None:
    sender, (large, small) = sender_of(None, None)
    large.settle(Answer(JobResponse(Status.OK, job_data={"config": {"text": "x" * 3 * WRITE_BYTES}})))
    small.settle(DONE)
    assert sender.take_next() is not None
    assert sender.rest is not None
    pieces = taken(sender)
    assert max(map(len, pieces)) == WRITE_BYTES
    assert sender.rest is None
    assert pieces[-1].endswith(b'{"status":"DONE"}')


def test_nothing_is_sent_after_the_last_reply() -> None:
    sender, (last, later) = sender_of(Manner(close=True), None)
    last.settle(DONE)
    later.settle(DONE)
    (reply,) = split_replies(b"".join(taken(sender)))
    assert reply.headers["connection"] == "close"
    assert (sender.last, later.gone) == (True, True)
