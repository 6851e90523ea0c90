"""Holds the words that devices were told against the model on the disk. Pure.

Every device added 1 at its own coordinate with each task, so the model times the results of a version, plus the open
buffer, says how often each device was counted; the bitmaps beside it say which tasks these were. Nothing is rounded.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.chaos.ledger import Task
from turnout.aggregator.mean import TOTAL, SavedSum
from turnout.job.account.tally import SavedTally
from turnout.job.journal.journal import Snapshot
from turnout.job.places.counted import COUNTED, CountedTasks
from turnout.job.workflow.made import SavedMade


@dataclass(frozen=True, slots=True)
class Verdict:
    """How often each promise was broken; ``counted`` is the number of results in the model."""

    counted: int
    lost: int  #: Acknowledged, and not in the model.
    double: int  #: In the model more often than tasks were done.
    invented: int  #: In the bitmaps, and never sent.
    denied: int  #: In the model, by their bitmaps or by the word of an acknowledgement, and refused all the same.
    open: int  #: Without any final answer: nothing is promised of these.
    mistakes: tuple[str, ...] = ()  #: Whatever else does not agree, in words.

    @property
    def holds(self) -> bool:
        return not (self.lost or self.double or self.invented or self.denied or self.mistakes)


def judge(tasks: Mapping[int, Task], snapshot: Snapshot, goal: int) -> Verdict:
    """``tasks`` are all that were sent, by number; ``goal`` is the number of results of a version."""
    present = snapshot.model.astype(np.float64) * goal + snapshot.vectors[TOTAL]
    counted = CountedTasks(snapshot.rows(COUNTED).values())
    expected, allowed = _by_device(tasks, counted, present.size)
    missing = np.maximum(expected - present, 0)
    surplus = np.maximum(present - allowed, 0)
    return Verdict(
        counted=int(present.sum()),
        lost=max(_not_in_bitmaps(tasks, counted), int(np.ceil(missing).sum())),
        double=int(np.ceil(surplus).sum()),
        invented=sum(number not in tasks for number in _numbers(snapshot)),
        denied=sum(
            bool(task.refused) and (task.acknowledged or counted.has(task.version, number))
            for number, task in tasks.items()
        ),
        open=sum(task.is_open for task in tasks.values()),
        mistakes=tuple(_mistakes(present, snapshot, goal)),
    )


def _by_device(
    tasks: Mapping[int, Task], counted: CountedTasks, devices: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How often each device must be in the model, and how often it may be.

    These differ only by tasks that were neither acknowledged nor refused and whose bitmaps are gone.
    """
    must, may = np.zeros(devices), np.zeros(devices)
    for number, task in tasks.items():
        if task.acknowledged or counted.has(task.version, number):
            must[task.device] += 1
            may[task.device] += 1
        elif not task.refused and not counted.knows(task.version):
            may[task.device] += 1
    return must, may


def _not_in_bitmaps(tasks: Mapping[int, Task], counted: CountedTasks) -> int:
    return sum(
        task.acknowledged and counted.knows(task.version) and not counted.has(task.version, number)
        for number, task in tasks.items()
    )


def _numbers(snapshot: Snapshot) -> list[int]:
    """The numbers of all tasks in the bitmaps."""
    found: list[int] = []
    for _, first, _, bitmap in snapshot.rows(COUNTED).values():
        bits = np.unpackbits(np.frombuffer(bitmap, np.uint8), bitorder="little")
        found += (np.flatnonzero(bits) + first).tolist()
    return found


def _mistakes(present: NDArray[np.float64], snapshot: Snapshot, goal: int) -> list[str]:
    mistakes = []
    if not np.array_equal(present, np.floor(present)) or present.min(initial=0) < 0:
        mistakes.append("the model holds what no sum of whole results is")
    said, summed = snapshot.of(SavedTally).counted, present.sum()
    if said != summed:
        mistakes.append(f"the job says that it counted {said}, and its model holds {summed:g}")
    total, buffered, made = snapshot.vectors[TOTAL], snapshot.of(SavedSum).count, snapshot.of(SavedMade)
    if np.any(total != np.floor(total)) or total.sum() != buffered:
        mistakes.append(f"{buffered} results are left over, and their sum is {total.sum():g}")
    if (made.in_versions, made.measured, made.dropped) != (snapshot.version * goal, 0, 0):
        mistakes.append(f"{snapshot.version} versions of {goal}, and the job says {made}")
    if snapshot.version * goal + buffered != summed:
        versions = f"{snapshot.version} versions of {goal} and {buffered} in the buffer"
        mistakes.append(f"{versions} make another number than the {summed:g} in the model")
    return mistakes
