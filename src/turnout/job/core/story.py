"""What happened to one task, and to the job meanwhile: for a person who asks why a result was not counted."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

STORY_MAX = 20_000  #: Entries; the oldest goes first. About a hundred bytes each.
EVERY = -1  #: Instead of a task number: it concerns every task.


class Told(NamedTuple):
    """One entry."""

    at: float  #: Job time.
    task: int
    what: str
    detail: Any = ""


@dataclass(slots=True)
class Story:
    """The newest entries of all tasks, in the order in which they happened. They end with the process."""

    _told: deque[tuple[float, int, str, Any]] = field(default_factory=lambda: deque(maxlen=STORY_MAX))

    def add(self, at: float, task: int, what: str, detail: Any = "") -> None:
        self._told.append((at, task, what, detail))

    def extend(self, at: float, tasks: Iterable[int], what: str, detail: Any = "") -> None:
        self._told.extend((at, task, what, detail) for task in tasks)

    def of(self, task: int) -> list[Told]:
        """From the first entry of ``task`` on; empty where none is left."""
        told = [Told(*each) for each in self._told if each[1] in (task, EVERY)]
        first = next((number for number, each in enumerate(told) if each.task == task), len(told))
        return told[first:]
