"""A job's real core in virtual time, with devices that train as long as they are told to: no processes, no wire."""

import hashlib
import heapq
import itertools
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import numpy as np

from turnout.blobs.base import BlobRef
from turnout.job.compose import parts_of, rules_of
from turnout.job.core.core import JobCore
from turnout.job.core.events import Answer, Commit, Committed, Effect, Evaluated, Result, TaskAsked, Tick
from turnout.job.folder.spec import JobSpec
from turnout.job.journal.journal import Snapshot
from turnout.job.journal.memory import MemoryJournal
from turnout.job.workflow.evaluation import Evaluate
from turnout.messages import DeviceInfo, ResultReport, TaskRequest, TaskResponse
from turnout.wire.edge_headers import ANDROID

COMMIT_S = 0.005


class VirtualFleet:
    """Device ``i`` trains for ``train_s(i)``, reports ``update``, and asks again ``gap_s`` after the answer, whatever
    wait that names: as FLARE's clients do. A wait told to an ask it keeps to. Android hears it to the millisecond.
    """

    def __init__(
        self,
        spec: JobSpec,
        devices: int,
        train_s: Callable[[int], float],
        update: Iterable[float] = (1.0, 1.0, 1.0),
        gap_s: float = 0.0,
        seed: int = 0,
        platform: str = ANDROID,
    ) -> None:
        self.now = 0.0
        self.results: list[int] = []  #: Who was counted, in order.
        self.given: list[int] = []  #: Who got a task, in order.
        self.closed: list[float] = []  #: When the versions were published, from the first.
        self._train_s, self._gap_s, self._platform = train_s, gap_s, platform
        self._update = np.array([*update], "<f4")
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers = itertools.count()
        self._asking: dict[int, int] = {}
        self._journal = MemoryJournal()
        rng = Random(seed)
        parts = parts_of(spec, "j-1", self._journal.key, self._update.size, evaluates=False, rng=rng)
        self.core = JobCore(rules_of(spec, "j-1"), parts, np.zeros(self._update.size, np.float32))
        self._carry(self.core.start(0.0, None))
        for device in range(devices):
            self._at(rng.uniform(0, spec.pacing.wait_max_s / 2), self._ask, device)

    def run(self, until: float) -> "VirtualFleet":
        while self.now < until and not self.core.ended:
            due = self.core.next_tick(self.now)
            if due is None or (self._heap and self._heap[0][0] <= due):
                self.now, _, what, given = heapq.heappop(self._heap)
                what(*given)
            else:
                self.now = max(due, self.now)
                self._carry(self.core.handle(Tick(), self.now))
        return self

    def rounds(self, size: int) -> list[list[int]]:
        """Who was counted in each round, in the order in which they reported."""
        return [self.results[begin : begin + size] for begin in range(0, len(self.results) - size + 1, size)]

    def _at(self, when: float, what: Callable[..., None], *given: object) -> None:
        heapq.heappush(self._heap, (when, next(self._numbers), what, given))

    def _ask(self, device: int) -> None:
        self._feed(device, TaskAsked, TaskRequest(self._info(device), "j-1"))

    def _report(self, device: int, task: TaskResponse) -> None:
        data = memoryview(self._update.tobytes())
        self._feed(device, Result, ResultReport(self._info(device), "j-1", task.task_id or "", "train", data))

    def _info(self, device: int) -> DeviceInfo:
        return DeviceInfo(f"d{device}", platform=self._platform)

    def _feed(self, device: int, kind: Any, message: object) -> None:
        ticket = next(self._numbers)
        self._asking[ticket] = device
        self._carry(self.core.handle(kind(ticket, message), self.now))

    def _carry(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Commit():
                    self._at(self.now + COMMIT_S, self._committed, effect.snapshot)
                case Evaluate():
                    self._at(self.now, self._measured, effect.version)
                case Answer():
                    self._hear(self._asking.pop(effect.ticket), effect.response)

    def _hear(self, device: int, response: Any) -> None:
        if not isinstance(response, TaskResponse):
            self.results.append(device)
            self._at(self.now + self._gap_s, self._ask, device)
        elif response.task_data is not None:
            self.given.append(device)
            self._at(self.now + self._train_s(device), self._report, device, response)
        else:
            self._at(self.now + (response.retry_wait or 1.0), self._ask, device)

    def _committed(self, snapshot: Snapshot) -> None:
        self._journal.commit(snapshot)
        blob = BlobRef(hashlib.sha256(b"%d" % snapshot.version).hexdigest(), 1)
        if snapshot.version > len(self.closed):
            self.closed.append(self.now)
        self._carry(self.core.handle(Committed(snapshot.commit, COMMIT_S, blob), self.now))

    def _measured(self, version: int) -> None:
        self._carry(self.core.handle(Evaluated(version, {}), self.now))
