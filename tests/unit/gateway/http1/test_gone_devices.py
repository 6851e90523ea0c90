"""Devices that stall, leave and come back: what they held is given back, and no late answer reaches anybody else."""

import gc
from types import FunctionType, ModuleType

import pytest

from tests.unit.dispatcher.wires import World
from tests.unit.gateway.fakes import (
    BIG_SCHEMA,
    JOB,
    SCHEMA,
    TASK,
    FakeDispatcher,
    Gateway,
    http,
    result,
    update_of,
)
from turnout.dispatcher.pending import DispatcherLimits
from turnout.gateway.limits import GatewayLimits
from turnout.messages import ResultOffer, ResultResponse, Status, TaskResponse

BIG = result(update_of(BIG_SCHEMA), "big")
HALF = BIG[: len(BIG) // 2]


# --- stalled bodies ---


def test_a_body_that_stalls_is_given_up_however_much_of_it_came_quickly() -> None:
    gateway = Gateway(limits=GatewayLimits(body_stall_s=20, body_bytes_per_s_min=1.0))
    wire = gateway.connect().send(HALF)
    gateway.pass_time(20)
    assert wire.replies() == []
    gateway.pass_time(2)
    assert wire.only_reply().status == 408
    assert gateway.dispatcher.room.reserved == 0


def test_a_body_of_which_something_comes_now_and_then_does_not_stall() -> None:
    gateway = Gateway(limits=GatewayLimits(body_stall_s=20, body_bytes_per_s_min=1.0))
    wire = gateway.connect().send(HALF)
    for piece in (BIG[len(HALF) : -2], BIG[-2:-1], BIG[-1:]):
        gateway.pass_time(19)
        wire.send(piece)
    assert wire.only_reply().json["counted"] is True


def test_a_body_that_we_do_not_read_does_not_stall() -> None:
    gateway = Gateway(limits=GatewayLimits(body_stall_s=5, admission_timeout_s=50))
    gateway.dispatcher.room.bytes_max = 0
    wire = gateway.connect().send(HALF)
    gateway.pass_time(40)
    gateway.dispatcher.room.make()
    gateway.pass_time(4)
    wire.send(BIG[len(HALF) :])
    assert wire.only_reply().json["counted"] is True


def test_a_result_on_a_new_connection_takes_over_from_one_that_stalled() -> None:
    gateway = Gateway(limits=GatewayLimits(upload_takeover_s=3))
    dead = gateway.connect().send(HALF)
    gateway.pass_time(3)
    assert gateway.connect().send(BIG).only_reply().json["counted"] is True
    assert dead.only_reply().status == 408
    assert gateway.counters.refused["taken_over"] == 1
    assert gateway.dispatcher.room.reserved == 0
    assert not gateway.site.uploads


def test_a_result_that_is_still_coming_is_not_taken_over() -> None:
    gateway = Gateway(limits=GatewayLimits(upload_takeover_s=3))
    first = gateway.connect().send(HALF)
    gateway.pass_time(2)
    first.send(BIG[len(HALF) : -1])
    gateway.pass_time(2)
    assert gateway.connect().send(BIG).only_reply().json["status"] == "RETRY"
    first.send(BIG[-1:])
    assert first.only_reply().json["counted"] is True


@pytest.mark.parametrize("asked_before", [b"", TASK])
def test_a_stalled_body_of_a_request_that_has_its_reply_gets_no_second_one(asked_before: bytes) -> None:
    gateway = Gateway(FakeDispatcher(hold=True), GatewayLimits(body_stall_s=20))
    wire = gateway.connect().send(asked_before + http("/nowhere", bytes(1000))[:-990])
    gateway.pass_time(22)
    if asked_before:
        assert wire.replies() == []
        gateway.dispatcher.answer_next()
    gateway.pass_time(3)
    assert [reply.status for reply in wire.replies()] == [200, 404][not asked_before :]
    assert gateway.counters.refused["slow_body"] == 1
    assert wire.closed


# --- devices that leave while something is under way ---


def test_a_device_that_leaves_before_its_job_wants_the_result_leaves_nothing_behind() -> None:
    """Though an earlier request keeps its connection."""
    gateway = Gateway(FakeDispatcher(hold=True))
    wire = gateway.connect().send(JOB, HALF)
    assert wire.send_eof()
    gateway.dispatcher.answer_next(1)
    assert gateway.dispatcher.room.reserved == 0
    assert not gateway.site.uploads
    gateway.dispatcher.answer_next(0)
    assert wire.only_reply().status == 200


def test_a_result_behind_a_last_reply_leaves_nothing_behind_when_room_comes() -> None:
    gateway = Gateway(FakeDispatcher(hold=True))
    gateway.dispatcher.room.bytes_max = 0
    wire = gateway.connect().send(JOB, result(update_of(SCHEMA)))
    gateway.site.draining = True  # the reply to the first request is now the last
    gateway.dispatcher.answer_next()
    assert wire.only_reply().headers["connection"] == "close"
    gateway.dispatcher.room.make()
    assert gateway.dispatcher.room.reserved == 0
    assert gateway.dispatcher.waiting == []


@pytest.mark.parametrize("answers", [[0, 0], [1, 0]], ids=["in order", "the other way round"])
def test_answers_after_the_last_reply_reach_nobody(answers: list[int]) -> None:
    gateway = Gateway(FakeDispatcher(hold=True))
    wire = gateway.connect().send(JOB, TASK)
    gateway.site.draining = True
    for index in answers:
        gateway.dispatcher.answer_next(index)
    assert [reply.headers["connection"] for reply in wire.replies()] == ["close"]


# --- answers that come after the gateway gave up ---


def test_a_commit_that_comes_too_late_is_no_answer_to_another_request_of_its_connection() -> None:
    """The real dispatcher behind one connection that pipelines: result, task, result, task."""
    world = World(DispatcherLimits(request_timeout_s=5.0, result_timeout_s=8.0))
    world.launch("small")
    gateway = Gateway(world.dispatcher)  # type: ignore[arg-type]
    first, second = (result(update_of(SCHEMA)).replace(b"task_id=t1", b"task_id=" + name) for name in (b"a", b"b"))
    wire = gateway.connect().send(first)
    world.tick(4.0)
    wire.send(TASK)
    world.tick(8.0)  # given up: the result, though its task request is still open
    assert [reply.json["status"] for reply in wire.replies()] == ["RETRY"]
    wire.send(second)

    world.wires.reply(ResultResponse(Status.OK, True, "a"), at=0)  # the commit, too late
    assert len(wire.replies()) == 1
    world.wires.reply(ResultResponse(Status.OK, True, "b"), at=2)
    world.wires.reply(TaskResponse(Status.DONE), at=1)
    world.wires.reply(ResultResponse(Status.OK, True, "a"), at=0)

    retry, task, counted = (reply.json for reply in wire.replies())
    assert (retry["counted"], retry["task_id"]) == (False, "a")
    assert task["status"] == "DONE"
    assert (counted["counted"], counted["task_id"]) == (True, "b")


def test_an_answer_that_comes_after_its_device_has_reconnected_goes_to_the_old_connection_alone() -> None:
    world = World()
    world.launch("small")
    gateway = Gateway(world.dispatcher)  # type: ignore[arg-type]
    old, new = gateway.connect().send(result(update_of(SCHEMA))), gateway.connect()
    old.lose()
    new.send(result(update_of(SCHEMA)))
    world.wires.reply(ResultResponse(Status.OK, True, "t1"), at=0)
    assert new.replies() == []
    world.wires.reply(ResultResponse(Status.OK, True, "t1", duplicate=True), at=1)
    assert new.only_reply().json["duplicate"] is True
    assert bytes(old.written) == b""


def test_a_word_that_comes_after_admission_was_given_up_is_not_acted_on() -> None:
    gateway = Gateway(FakeDispatcher(hold=True), GatewayLimits(admission_timeout_s=5))
    wire = gateway.connect().send(HALF)
    gateway.pass_time(7)
    assert wire.only_reply().status == 503
    gateway.dispatcher.answer_next()
    assert len(wire.replies()) == 1
    assert gateway.dispatcher.room.reserved == 0
    assert not gateway.site.uploads


# --- what a connection holds ---


def largest_bytes(root: object) -> int:
    """The size of the largest bytes that are reached from here."""
    seen, left, found = {id(root)}, [root], 0
    while left:
        for each in gc.get_referents(left.pop()):
            if id(each) in seen or isinstance(each, type | FunctionType | ModuleType):
                continue
            seen.add(id(each))
            left.append(each)
            if isinstance(each, bytes):
                found = max(found, len(each))
    return found


@pytest.mark.parametrize("pieces", [(BIG,), (HALF, BIG[len(HALF) :])])
def test_an_open_connection_does_not_keep_the_result_that_it_brought(pieces: tuple[bytes, ...]) -> None:
    gateway = Gateway()
    wire = gateway.connect().send(*pieces)
    assert wire.only_reply().json["counted"] is True
    assert largest_bytes(wire.http) > 80_000  # the dispatcher has it
    gateway.dispatcher.requests.clear()
    assert largest_bytes(wire.http) < 1000


@pytest.mark.parametrize("end", ["refused", "lost"])
def test_a_result_that_waits_for_room_in_vain_is_not_kept_in_the_queue_for_it(end: str) -> None:
    gateway = Gateway(limits=GatewayLimits(admission_timeout_s=5))
    gateway.dispatcher.room.bytes_max = 0
    wire = gateway.connect().send(result(bytes(3000)))
    assert largest_bytes(gateway.dispatcher.room.waiting) >= 3000
    if end == "lost":
        wire.lose()
    else:
        gateway.pass_time(7)
    assert largest_bytes(gateway.dispatcher.room.waiting) < 1000


def test_a_result_in_one_read_that_the_job_refuses_at_once_is_not_decoded() -> None:
    gateway = Gateway()
    gateway.dispatcher.answer_to = lambda request: ResultResponse(Status.NO_TASK, False, "t1")
    wire = gateway.connect().send(BIG)
    assert wire.only_reply().json["status"] == "NO_TASK"
    assert [type(request) for request in gateway.dispatcher.requests] == [ResultOffer]
