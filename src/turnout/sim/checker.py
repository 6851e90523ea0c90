"""Knows what was really trained, and holds the system's words and its disk against that.

Device i adds exactly 1 at coordinate i with every task it trains. Weights are 1, the server's step is plain SGD at
rate 1 and every version takes a power of two of results: all sums are exact in float32, so equality needs no tolerance.
"""

from collections import defaultdict

import numpy as np

from turnout.job.counted import CountedTasks
from turnout.job.journal import MemoryJournal, Snapshot
from turnout.messages import ResultOffer, ResultReport, ResultResponse, Status, TaskResponse

ANSWER_TIMEOUT_S = 9.0  #: A gateway answers a result within 8 s, and a tick; existing devices hang up after 10.


class Violation(AssertionError):
    """The system broke a promise."""


class Checker:
    """Sees every task given, every result sent, every commit and every answer."""

    def __init__(self, devices: int, goal: int, staleness_max: int) -> None:
        self._goal = goal
        self._staleness_max = staleness_max
        self._durable: Snapshot | None = None
        self._numbers: dict[int, tuple[int, int]] = {}  # task number -> (device, version)
        self._number_of: dict[str, int] = {}  # task id -> task number
        self._sent: set[int] = set()  # task numbers with a result under way, at any time
        self._told_counted: set[int] = set()
        self._told_refused: set[int] = set()  # not counted, and never will be
        self._in_bitmaps: set[int] = set()  # counted, says the disk
        self._devices = devices
        self._exact = True
        self.seen: dict[str, int] = defaultdict(int)

    def task_given(self, device: int, response: TaskResponse) -> None:
        """The job gives ``device`` a task; its number is in the cookie, counted from 1."""
        assert response.task_id is not None
        assert response.task_data is not None
        assert response.cookie is not None
        number = response.cookie["device_selection_id"] - 1
        version = response.task_data.meta["model_version"]
        if self._durable is None or version > self._durable.version:
            raise Violation(f"device {device} was given version {version}, which is not durable")
        holder = self._numbers.setdefault(number, (device, version))
        if holder != (device, version):
            raise Violation(f"task {number} was given to {holder} and to {(device, version)}")
        self._number_of[response.task_id] = number
        self.seen["tasks"] += 1

    def result_sent(self, report: ResultReport) -> None:
        self._sent.add(self._number_of[report.task_id])
        self.seen["results sent"] += 1

    def committed(self, durable: Snapshot) -> None:
        """The journal holds this now, whoever knows of it: it is the exact sum of the tasks it says are counted."""
        self._durable = durable
        counted = CountedTasks(durable.counted)
        for number, (_, version) in self._numbers.items():
            if counted.has(version, number):
                self._in_bitmaps.add(number)
            elif counted.knows(version) and number in self._in_bitmaps:
                raise Violation(f"task {number} was counted, and now it is not")
        self._check_sums(durable)

    def _check_sums(self, durable: Snapshot) -> None:
        expected = np.zeros(self._devices)
        for number in self._in_bitmaps:
            expected[self._numbers[number][0]] += 1
        present = durable.model.astype(np.float64) * self._goal + durable.total
        if self._exact and not np.array_equal(present, expected):
            device = int(np.flatnonzero(present != expected)[0])
            raise Violation(f"device {device}: {present[device]} in the model, {expected[device]:.0f} tasks counted")
        invented = self._in_bitmaps - self._sent
        if invented:
            raise Violation(f"tasks {sorted(invented)} are counted, and nobody sent them")
        self._check_words()

    def _check_words(self) -> None:
        """``counted`` tells the truth: what was acknowledged is durable, what was refused never gets in."""
        lost = self._told_counted - self._in_bitmaps
        if lost:
            raise Violation(f"tasks {sorted(lost)} were acknowledged, but they are not durable")
        both = self._told_refused & self._in_bitmaps
        if both:
            raise Violation(f"tasks {sorted(both)} were refused, but they are counted")

    def answered(self, request: ResultReport | ResultOffer, response: ResultResponse) -> None:
        """The job answers a result or an offer of one; called before the answer leaves it."""
        number = self._number_of[request.task_id]
        if response.counted:
            self._told_counted.add(number)
            self.seen["duplicates" if response.duplicate else "counted"] += 1
            if not response.duplicate:
                self._check_staleness(number)
        elif response.status is Status.OK:
            self.seen["offers taken up"] += 1
        elif response.status is not Status.RETRY:
            self._told_refused.add(number)
            self.seen["refused"] += 1
            if (response.message or "").startswith("trained from"):
                self._check_too_stale(number)
        self._check_words()

    def _check_too_stale(self, number: int) -> None:
        assert self._durable is not None
        staleness = self._durable.version - self._numbers[number][1]
        if staleness <= self._staleness_max:
            raise Violation(f"task {number} was refused as too stale at a staleness of {staleness}")

    def _check_staleness(self, number: int) -> None:
        """A result is staged at the durable version, or at the one before when its commit closed that."""
        assert self._durable is not None
        staleness = self._durable.version - 1 - self._numbers[number][1]
        if staleness > self._staleness_max:
            raise Violation(f"task {number} was counted at staleness {staleness} or more")

    def told(self, report: ResultReport, response: ResultResponse, waited_s: float) -> None:
        """What a gateway tells a device about its result, by whatever way it came to know."""
        if response.counted and self._number_of[report.task_id] not in self._told_counted:
            raise Violation(f"the device of {report.task_id} hears that it is counted, and no job said so")
        if waited_s > ANSWER_TIMEOUT_S:
            raise Violation(f"the answer to a result took {waited_s:.1f} s")

    def last_version_may_be_of_any_number(self) -> None:
        """A stopped job closes a version of what is there: its mean is no multiple of the usual one any more."""
        self._exact = False

    def settled(self) -> None:
        """In the end everything that was sent and not given up on has one answer, and it is true."""
        self._check_words()


class WatchedJournal(MemoryJournal):
    """The disk of the simulated world: what is written to it is checked at once."""

    def __init__(self, checker: Checker) -> None:
        super().__init__()
        self._checker = checker

    def commit(self, snapshot: Snapshot) -> None:
        super().commit(snapshot)
        self._checker.committed(snapshot)
