"""The book of requests in flight: every entry leaves it once, at its time, and its bounds hold."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from turnout.dispatcher.pending import LARGE_BYTES, DispatcherLimits, Pending
from turnout.dispatcher.room import Room
from turnout.messages import Topic

MIB = 1024 * 1024
LIMITS = DispatcherLimits(inflight_max=2, request_timeout_s=5.0, result_timeout_s=8.0)


@pytest.fixture
def room() -> Room:
    return Room(bytes_max=100, job_share_max=0.5)


@pytest.fixture
def pending(room: Room) -> Pending[str]:
    return Pending(LIMITS, room)


def test_what_was_added_is_settled_once(pending: Pending[str]) -> None:
    assert pending.add(1, "a", Topic.TASK, 0, "one", now=0.0)

    assert pending.settle(1) == "one"
    assert pending.settle(1) is None
    assert len(pending) == 0


def test_an_unknown_ticket_settles_nothing(pending: Pending[str]) -> None:
    assert pending.settle(7) is None


def test_a_request_expires_after_its_timeout_and_a_result_after_its_own(pending: Pending[str]) -> None:
    pending.add(1, "a", Topic.RESULT, 10, "result", now=0.0)
    pending.add(2, "a", Topic.TASK, 0, "task", now=1.0)

    assert pending.expire(5.9) == []
    assert pending.expire(6.0) == ["task"]
    assert pending.expire(7.9) == []
    assert pending.expire(8.0) == ["result"]
    assert len(pending) == 0


@pytest.mark.parametrize(
    ("size_bytes", "after_s"),
    [(MIB - 1, 8.0), (MIB, 8.0625), (16 * MIB, 9.0), (32 * MIB, 10.0), (112 * MIB, 15.0), (256 * MIB, 15.0)],
)
def test_a_large_result_may_take_longer_by_a_second_for_16_mib_up_to_a_bound(size_bytes: int, after_s: float) -> None:
    pending: Pending[str] = Pending(LIMITS, Room(bytes_max=1024 * MIB, job_share_max=0.5))
    pending.add(1, "a", Topic.RESULT, size_bytes, "result", now=0.0)
    assert pending.expire(after_s - 0.001) == []
    assert pending.expire(after_s) == ["result"]


def test_a_bound_below_the_time_of_a_small_result_does_not_shorten_that_of_a_large_one() -> None:
    limits = DispatcherLimits(result_timeout_s=60.0)
    pending: Pending[str] = Pending(limits, Room(bytes_max=1024 * MIB, job_share_max=0.5))
    pending.add(1, "a", Topic.RESULT, 32 * MIB, "result", now=0.0)
    assert pending.expire(59.9) == []


def test_a_large_result_does_not_keep_those_behind_it_from_expiring(pending: Pending[str]) -> None:
    pending.add(1, "a", Topic.RESULT, 32 * MIB, "large", now=0.0)
    assert pending.add(2, "b", Topic.RESULT, 10, "small", now=1.0, has_room=True)
    assert pending.expire(9.0) == ["small"]
    assert pending.expire(10.0) == ["large"]


def test_the_oldest_expire_first_and_the_rest_stay(pending: Pending[str]) -> None:
    for ticket, now in ((1, 0.0), (2, 1.0)):
        pending.add(ticket, "a", Topic.TASK, 0, f"at {now}", now)
    pending.add(3, "b", Topic.SELECTION, 0, "at 2.0", 2.0)

    assert pending.expire(6.5) == ["at 0.0", "at 1.0"]
    assert pending.settle(3) == "at 2.0"


def test_a_reply_after_expiry_finds_nothing(pending: Pending[str]) -> None:
    pending.add(1, "a", Topic.TASK, 0, "one", now=0.0)
    pending.expire(10.0)

    assert pending.settle(1) is None


def test_losing_a_job_gives_back_all_of_it_and_nothing_else(pending: Pending[str], room: Room) -> None:
    pending.add(1, "a", Topic.TASK, 0, "a's task", now=0.0)
    pending.add(2, "b", Topic.TASK, 0, "b's task", now=0.0)
    pending.add(3, "a", Topic.RESULT, 60, "a's result", now=0.0)

    assert pending.lose("a") == ["a's task", "a's result"]
    assert pending.lose("a") == []
    assert pending.count("a") == 0
    assert pending.count("b") == 1
    assert room.used == 0


def test_requests_of_one_job_are_bounded_and_do_not_bound_another(pending: Pending[str]) -> None:
    assert pending.add(1, "a", Topic.TASK, 0, "1", now=0.0)
    assert pending.add(2, "a", Topic.SELECTION, 0, "2", now=0.0)
    assert not pending.add(3, "a", Topic.OFFER, 0, "3", now=0.0)
    assert pending.add(4, "b", Topic.TASK, 0, "4", now=0.0)

    pending.settle(1)

    assert pending.add(5, "a", Topic.TASK, 0, "5", now=0.0)


def test_results_are_not_bounded_in_number_but_in_bytes(pending: Pending[str]) -> None:
    for ticket in range(5):
        assert pending.add(ticket, "a", Topic.RESULT, 10, "r", now=0.0)
    assert not pending.add(5, "a", Topic.RESULT, 1, "r", now=0.0)
    assert pending.add(6, "a", Topic.TASK, 0, "a request is no result", now=0.0)

    pending.settle(0)

    assert pending.add(7, "a", Topic.RESULT, 10, "r", now=0.0)


def test_results_of_a_job_that_does_not_answer_leave_room_for_those_of_another(pending: Pending[str]) -> None:
    ticket = 0
    while pending.add(ticket, "hung", Topic.RESULT, 10, "r", now=0.0):
        ticket += 1

    assert ticket == 5
    assert pending.add(100, "lively", Topic.RESULT, 10, "r", now=0.0)
    assert pending.add(101, "lively", Topic.RESULT, 10, "r", now=0.0)


def test_a_result_that_has_room_already_is_not_judged_again(pending: Pending[str], room: Room) -> None:
    room.use("a", 40)

    assert not pending.add(1, "a", Topic.RESULT, 40, "r", now=0.0)
    assert pending.add(1, "a", Topic.RESULT, 40, "r", now=0.0, has_room=True)

    room.release("a", 40)
    assert room.used == 40


def test_a_result_larger_than_the_bound_goes_when_it_goes_alone(pending: Pending[str]) -> None:
    assert pending.add(1, "a", Topic.RESULT, 1000, "large", now=0.0)
    assert not pending.add(2, "a", Topic.RESULT, 1, "small", now=0.0)

    pending.settle(1)

    assert pending.add(3, "a", Topic.RESULT, 1, "small", now=0.0)


QUARTER = LARGE_BYTES // 4


class PendingMachine(RuleBasedStateMachine):
    """Compared with the obvious: a list of entries. Sizes are in quarters of what is a large result."""

    def __init__(self) -> None:
        super().__init__()
        self.room = Room(bytes_max=100 * QUARTER, job_share_max=0.5)
        self.pending: Pending[int] = Pending(LIMITS, self.room)
        self.model: dict[int, tuple[float, str, Topic, int]] = {}
        self.now = 0.0
        self.ticket = 0

    @rule(job=st.sampled_from("abc"), topic=st.sampled_from(Topic), quarters=st.integers(0, 60))
    def add(self, job: str, topic: Topic, quarters: int) -> None:
        self.ticket += 1
        size = quarters * QUARTER
        result = topic is Topic.RESULT
        same = [entry for entry in self.model.values() if (entry[2] is Topic.RESULT) is result]
        fits = self.room.fits(job, size) if result else sum(entry[1] == job for entry in same) < 2
        assert self.pending.add(self.ticket, job, topic, size, self.ticket, self.now) is fits
        if fits:
            longer_s = quarters / 64 if quarters >= 4 else 0.0
            self.model[self.ticket] = (self.now + (8.0 + longer_s if result else 5.0), job, topic, size)

    @rule(back=st.integers(0, 8))
    def settle(self, back: int) -> None:
        ticket = self.ticket - back
        known = self.model.pop(ticket, None)
        assert self.pending.settle(ticket) == (None if known is None else ticket)

    @rule(passed=st.floats(0.0, 9.0))
    def expire(self, passed: float) -> None:
        self.now += passed
        due = {ticket for ticket, entry in self.model.items() if entry[0] <= self.now}
        expired = self.pending.expire(self.now)
        assert len(expired) == len(due)
        assert set(expired) == due
        for ticket in due:
            del self.model[ticket]

    @rule(job=st.sampled_from("abc"))
    def lose(self, job: str) -> None:
        gone = {ticket for ticket, entry in self.model.items() if entry[1] == job}
        lost = self.pending.lose(job)
        assert len(lost) == len(gone)
        assert set(lost) == gone
        for ticket in gone:
            del self.model[ticket]

    @invariant()
    def counts_agree(self) -> None:
        assert len(self.pending) == len(self.model)
        assert self.room.used == sum(e[3] for e in self.model.values() if e[2] is Topic.RESULT)
        for job in "abc":
            assert self.pending.count(job) == sum(entry[1] == job for entry in self.model.values())


TestPendingMachine = PendingMachine.TestCase
TestPendingMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
