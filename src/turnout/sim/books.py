"""Holds what is on the disk against the tasks that are counted: of what each version is made, and what is left.

Device i adds exactly 1 at coordinate i with every task, so a result that is lost, or in the sum twice, shows as a
number at the coordinate of its device. What the numbers should be says ``reference.py``.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from turnout.aggregator.mean import TOTAL, SavedSum
from turnout.job.folder.spec import JobSpec, RoundsTraining
from turnout.job.journal.journal import MODEL, Snapshot
from turnout.job.workflow.made import SavedMade
from turnout.job.workflow.published import SavedModels
from turnout.sim.reference import Server, Vector

TOLERANCE = 1e-4  #: Of sums in float32; a result more or less makes a hundredth of the least step at the very least.
#: Versions in a row that repeat an earlier one: training may diverge in one, and an evaluation of before find that out.
AGAIN_MAX = 2


class Violation(AssertionError):
    """The system broke a promise."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one counted result brings to a version."""

    device: int
    weight: float
    discount: float


class Books:
    """Which counted result is in which version, or in none; told of every commit."""

    def __init__(self, size: int, spec: JobSpec) -> None:
        training = spec.training
        self.least = training.least
        self._goal = training.cohort if isinstance(training, RoundsTraining) else training.buffer_goal
        self._size = size
        self._server = Server(spec)
        self._models = {0: np.zeros(size)}  # by version
        self._version = 0
        self._sum, self._weight, self._count = np.zeros(size), 0.0, 0  # of the version to come
        self.measured = 0  #: Results that measured the model only.
        self._again_in_a_row = 0
        self.in_versions = 0
        self.dropped = 0

    def committed(self, durable: Snapshot, newly: Collection[Part]) -> None:
        """``newly`` counted results came with this commit, beside those that only measured."""
        for part in newly:
            self._sum[part.device] += part.weight * part.discount
            self._weight += part.weight
        self._count += len(newly)
        if durable.version != self._version:
            self._closed(durable)
        self._check(durable, "model", durable.model, self._models[durable.version])
        self._check(durable, "running sum", durable.vectors[TOTAL], self._sum)
        self._check_optimizer(durable)
        self._check_numbers(durable)

    def left(self, durable: Snapshot) -> int:
        """How many counted results are in no version."""
        return durable.of(SavedSum).count + self.dropped

    def _closed(self, durable: Snapshot) -> None:
        if durable.version != self._version + 1:
            raise Violation(f"version {self._version} is followed by {durable.version}")
        results = durable.of(SavedMade).of_version[durable.version]
        if results:
            self._models[durable.version] = self._next(durable.version, results)
            self.in_versions += results
            self._again_in_a_row = 0
        else:
            self._again_in_a_row += 1
            if self._again_in_a_row > AGAIN_MAX:
                raise Violation(f"{self._again_in_a_row} versions in a row are of no result")
            self._models[durable.version] = self._again(durable)
            self._server.forget()
            self.dropped += self._count
        self._version = durable.version
        self._sum, self._weight, self._count = np.zeros(self._size), 0.0, 0

    def _next(self, version: int, results: int) -> Vector:
        if results != self._count:
            raise Violation(f"version {version} is made of {self._count} results, and is said to be of {results}")
        if not self.least <= results <= self._goal:
            raise Violation(f"version {version} is of {results} results, and may be of {self.least} to {self._goal}")
        return self._server.step(self._models[version - 1], self._sum / self._weight)

    def _again(self, durable: Snapshot) -> Vector:
        """Training diverged: this is an earlier version again, which was the best when it was read."""
        for version, _ in durable.of(SavedModels).blobs:
            if _equal(durable.model, self._models[version]):
                return self._models[version]
        raise Violation(f"version {durable.version} is of no result, and no version that was kept")

    def _check(self, durable: Snapshot, what: str, found: NDArray[np.floating], expected: Vector) -> None:
        if not _equal(found, expected):
            wrong = np.abs(found - expected) > TOLERANCE * np.maximum(1.0, np.abs(expected))
            device = int(np.flatnonzero(wrong)[0])
            raise Violation(
                f"device {device}: the {what} at version {durable.version}, commit {durable.commit}, is "
                f"{found[device]} there, and its results make {expected[device]}"
            )

    def _check_optimizer(self, durable: Snapshot) -> None:
        state = self._server.state
        remembered = [vector for name, vector in durable.vectors.items() if name not in (MODEL, TOTAL)]
        if len(remembered) != len(state):
            raise Violation(f"the optimizer remembers {len(remembered)} vectors, and should {len(state)}")
        for number, (found, expected) in enumerate(zip(remembered, state, strict=True)):
            self._check(durable, f"optimizer's vector {number}", found, expected)

    def _check_numbers(self, durable: Snapshot) -> None:
        made, buffered = durable.of(SavedMade), durable.of(SavedSum).count
        said = made.in_versions, made.measured, made.dropped
        if (*said, buffered) != (self.in_versions, self.measured, self.dropped, self._count):
            raise Violation(
                f"{self.in_versions} results are in versions, {self.measured} measured, {self.dropped} were dropped "
                f"and {self._count} are left, and said are {said} and {buffered}"
            )


def _equal(found: NDArray[np.floating], expected: Vector) -> bool:
    return bool((np.abs(found - expected) <= TOLERANCE * np.maximum(1.0, np.abs(expected))).all())
