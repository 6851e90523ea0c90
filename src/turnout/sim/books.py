"""Holds what is on the disk against the tasks that are counted: of what each version is made, and what is left.

Device i adds exactly 1 at coordinate i with every task; all weigh 1, and the server's step is plain SGD at rate 1.
Where versions are made of powers of two of results, all sums are exact in float32, so equality needs no tolerance.
"""

from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from turnout.job.journal.journal import Snapshot

TOLERANCE = 0.001  #: After a version of another number of results; one result more or less makes an eighth.


class Violation(AssertionError):
    """The system broke a promise."""


class Books:
    """Which counted task is in which version, or in none; told of every commit."""

    def __init__(self, devices: int, least: int, goal: int, device_of: Callable[[int], int]) -> None:
        """A version may be of ``least`` to ``goal`` results; ``device_of`` is by task number."""
        self._devices = devices
        self.least = least
        self._goal = goal
        self._device_of = device_of
        self._models = {0: np.zeros(devices)}  # by version
        self._version = 0
        self._open: set[int] = set()  # tasks in the sum of the version to come
        self._exact = True
        self.in_versions = 0
        self.dropped = 0

    def committed(self, durable: Snapshot, newly: Collection[int]) -> None:
        """``newly`` counted tasks came with this commit."""
        self._open |= set(newly)
        if durable.version != self._version:
            self._closed(durable)
        self._check_model(durable)
        left = self._sum(self._open)
        if not np.array_equal(durable.total, left):
            device = int(np.flatnonzero(durable.total != left)[0])
            raise Violation(f"device {device}: {durable.total[device]} are left over, and {left[device]:.0f} should be")
        self._check_numbers(durable)

    def left(self, durable: Snapshot) -> int:
        """How many counted results are in no version."""
        return durable.buffered + self.dropped

    def _closed(self, durable: Snapshot) -> None:
        if durable.version != self._version + 1:
            raise Violation(f"version {self._version} is followed by {durable.version}")
        assert durable.made is not None
        results = durable.made[3][durable.version]
        if results:
            self._models[durable.version] = self._next(durable.version, results)
            self.in_versions += results
        else:
            self._models[durable.version] = self._again(durable)
            self.dropped += len(self._open)
        self._version = durable.version
        self._open = set()

    def _next(self, version: int, results: int) -> NDArray[np.float64]:
        if results != len(self._open):
            raise Violation(f"version {version} is made of {len(self._open)} results, and is said to be of {results}")
        if not self.least <= results <= self._goal:
            raise Violation(f"version {version} is of {results} results, and may be of {self.least} to {self._goal}")
        self._exact &= results & (results - 1) == 0
        return self._models[version - 1] + self._sum(self._open) / results

    def _again(self, durable: Snapshot) -> NDArray[np.float64]:
        """Training diverged: this is an earlier version again, which was the best when it was read."""
        for version, _ in durable.blobs:
            if np.allclose(durable.model, self._models[version], atol=TOLERANCE):
                return self._models[version]
        raise Violation(f"version {durable.version} is of no result, and no version that was kept")

    def _check_model(self, durable: Snapshot) -> None:
        expected = self._models[durable.version]
        model = durable.model.astype(np.float64)
        wrong = np.abs(model - expected) > (0 if self._exact else TOLERANCE)
        if wrong.any():
            device = int(np.flatnonzero(wrong)[0])
            raise Violation(
                f"device {device}: {model[device]} in version {durable.version}, and its tasks make {expected[device]}"
            )

    def _check_numbers(self, durable: Snapshot) -> None:
        said = durable.made[:3] if durable.made is not None else ()
        if (*said, durable.buffered) != (self.in_versions, 0, self.dropped, len(self._open)):
            raise Violation(
                f"{self.in_versions} results are in versions, {self.dropped} were dropped and {len(self._open)} are "
                f"left, and said are {said} and {durable.buffered}"
            )

    def _sum(self, tasks: Collection[int]) -> NDArray[np.float64]:
        return np.bincount([self._device_of(task) for task in tasks], minlength=self._devices).astype(np.float64)
