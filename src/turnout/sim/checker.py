"""Knows what was really trained, and holds the system's words and its model against that.

Device i adds exactly 1 at coordinate i with every task it trains. Weights are 1, the server's step is plain SGD at
rate 1 and every version takes a power of two of results: all sums are exact in float32, so equality needs no tolerance.
"""

from collections import defaultdict

import numpy as np

from turnout.job.journal import MemoryJournal
from turnout.messages import ResultReport, ResultResponse, Status, TaskResponse


class Violation(AssertionError):
    """The system broke a promise."""


class Checker:
    """Sees every task given, every result sent and every answer, and may read the disk."""

    def __init__(self, devices: int, goal: int, staleness_max: int, journal: MemoryJournal) -> None:
        self._goal = goal
        self._staleness_max = staleness_max
        self._journal = journal
        self._owner: dict[str, int] = {}  # task id -> device, as given out
        self._numbers: dict[int, tuple[int, int]] = {}  # task number -> (device, version)
        self._number_of: dict[str, int] = {}
        self._sent: list[set[int]] = [set() for _ in range(devices)]  # task numbers with a result under way
        self._counted: list[set[int]] = [set() for _ in range(devices)]  # told: counted
        self._refused: list[set[int]] = [set() for _ in range(devices)]  # told: not counted, and never will be
        self.seen: dict[str, int] = defaultdict(int)

    def task_given(self, device: int, response: TaskResponse) -> None:
        """The job gives ``device`` a task; its number is in the cookie, counted from 1."""
        assert response.task_id is not None
        assert response.task_data is not None
        assert response.cookie is not None
        number = response.cookie["device_selection_id"] - 1
        version = response.task_data.meta["model_version"]
        durable = self._journal.load()
        if durable is None or version > durable.version:
            raise Violation(f"device {device} was given version {version}, which is not durable")
        holder = self._numbers.setdefault(number, (device, version))
        if holder != (device, version):
            raise Violation(f"task {number} was given to {holder} and to {(device, version)}")
        self._number_of[response.task_id] = number
        self.seen["tasks"] += 1

    def result_sent(self, device: int, report: ResultReport) -> None:
        self._sent[device].add(self._number_of[report.task_id])
        self.seen["results sent"] += 1

    def answered(self, device: int, report: ResultReport, response: ResultResponse) -> None:
        """The job answers a result; called before the answer leaves it."""
        number = self._number_of[report.task_id]
        if response.counted:
            self._counted[device].add(number)
            self.seen["duplicates" if response.duplicate else "counted"] += 1
            if self._in_the_model(device) < len(self._counted[device]):
                raise Violation(f"task {number} of device {device} is answered as counted, but it is not durable")
            if not response.duplicate:
                self._check_staleness(number)
        elif response.status is not Status.RETRY:
            self._refused[device].add(number)
            self.seen["refused"] += 1
        if self._counted[device] & self._refused[device]:
            raise Violation(f"device {device} was told both that task {number} is counted and that it is not")

    def _check_staleness(self, number: int) -> None:
        """A result is staged at the durable version, or at the one before when its commit closed that."""
        durable = self._journal.load()
        assert durable is not None
        staleness = durable.version - 1 - self._numbers[number][1]
        if staleness > self._staleness_max:
            raise Violation(f"task {number} was counted at staleness {staleness} or more")

    def told(self, device: int, report: ResultReport, response: ResultResponse) -> None:
        """What reached the device, by whatever way, about a result."""
        if response.counted and self._number_of[report.task_id] not in self._counted[device]:
            raise Violation(f"device {device} heard that its result is counted, and no job said so")

    def sums(self) -> None:
        """At any time: what is durable was trained, at most once, and holds everything that was acknowledged."""
        for device, (sent, counted, refused) in enumerate(zip(self._sent, self._counted, self._refused, strict=True)):
            present = self._in_the_model(device)
            if present < len(counted):
                raise Violation(f"device {device}: {len(counted)} results acknowledged, {present} in the model")
            if present > len(sent - refused):
                raise Violation(f"device {device}: {present} results in the model, {len(sent - refused)} may be")

    def _in_the_model(self, device: int) -> float:
        """How many results of ``device`` are in the durable model and its buffer."""
        durable = self._journal.load()
        if durable is None:
            return 0.0
        return float(np.float64(durable.model[device]) * self._goal + durable.total[device])

    def nothing_open(self) -> None:
        """After the faults have stopped and everybody has resent: every result is settled, and sums are equal."""
        for device, (sent, counted, refused) in enumerate(zip(self._sent, self._counted, self._refused, strict=True)):
            present = self._in_the_model(device)
            open_ = sent - counted - refused
            if not len(counted) <= present <= len(counted) + len(open_):
                raise Violation(
                    f"device {device}: {len(counted)} acknowledged, {len(open_)} open, {present} in the model"
                )
