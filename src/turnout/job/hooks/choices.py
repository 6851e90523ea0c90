"""What the job's own code says of devices and of results: ``select`` and ``weigh`` of its ``server.py``.

The job never depends on them: while ``select`` has not answered, a device has every chance; a result that ``weigh``
does not judge in time counts what it would without. People are warned of either.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import msgspec

from turnout.errors import TurnoutError
from turnout.job.folder.folder import SELECT, WEIGH, JobFolder
from turnout.job.hooks.runner import HookRunner
from turnout.job.places.leases import Lease
from turnout.messages import DeviceInfo, ResultReport
from turnout.process.loops import tell_failure

BATCH_MAX = 256  #: Facts in one call,
BATCH_S = 0.25  #: which should take about this long.
CALL_TIMEOUT_S = 60.0  #: A call that takes longer hangs: its process is replaced.
WAITING_MAX = 10_000  #: Who waits for a number at once; any more do without,
WAITING_BYTES_MAX = 64 * 2**20  #: as do results whose updates would be more than this together.
WEIGH_PATIENCE_S = 2.0  #: A device waits for its answer meanwhile, 8 s at most.
SELECT_PATIENCE_S = 30.0
DROPPED_S = 5.0  #: After a question that could not be asked, it is asked again.
CHANCES_MAX = 1024  #: Descriptions of devices whose chance is remembered.
CHANCE_S = 60.0  #: For this long; then it is asked for again, for the fleet and the job have moved on.

logger = logging.getLogger("turnout.job")

Warn = Callable[[str], None]
Decided = Callable[[float | None], None]
Description = tuple[str, str, str, str]
Numbers = list[float]


class Judging(Protocol):
    """Something that gives a number for what it is told, or None."""

    def ask(self, facts: dict[str, Any], decided: Decided, num_bytes: int = 0) -> None: ...
    async def close(self) -> None: ...


def chances_of(folder: JobFolder, runner: HookRunner | None, warn: Warn, now: Callable[[], float]) -> "Chances | None":
    """None for a job that selects without code of its own."""
    if runner is None or not folder.has_hook(SELECT):
        return None
    return Chances(Judge(runner, SELECT, SELECT_PATIENCE_S, warn, CHANCES_MAX), now)


def weights_of(folder: JobFolder, runner: HookRunner | None, warn: Warn) -> "Weights | None":
    """None for a job that weighs without code of its own."""
    if runner is None or not folder.has_hook(WEIGH):
        return None
    return Weights(Judge(runner, WEIGH, WEIGH_PATIENCE_S, warn))


@dataclass(slots=True)
class _Question:
    """``decided`` is None once it was called."""

    facts: dict[str, Any]
    num_bytes: int
    due: float
    decided: Decided | None


class Judge:
    """Asks one function, batch after batch; each question is answered once, with a number or with None.

    With None at the latest after ``patience_s``, however slow the function is. What waits is bounded in number and in
    ``num_bytes``, the bytes of whatever waits for the answer.
    """

    def __init__(
        self,
        runner: HookRunner,
        name: str,
        patience_s: float,
        warn: Warn,
        waiting_max: int = WAITING_MAX,
        waiting_bytes_max: int = WAITING_BYTES_MAX,
        call_timeout_s: float = CALL_TIMEOUT_S,
    ) -> None:
        self._name = name
        self._patience_s = patience_s
        self._waiting_max = waiting_max
        self._waiting_bytes_max = waiting_bytes_max
        self._call_timeout_s = call_timeout_s
        self._warn = warn
        self._loop = asyncio.get_running_loop()
        self._runner = runner
        self._waiting: deque[_Question] = deque()  # not asked yet
        self._open: deque[_Question] = deque()  # by when they are due; those that were decided are among them
        self._undecided = self._bytes = 0
        self._batch = 1
        self._timer: asyncio.TimerHandle | None = None
        self._told = ""
        self._working: asyncio.Task[None] | None = self._spawn(self._start())

    def ask(self, facts: dict[str, Any], decided: Decided, num_bytes: int = 0) -> None:
        if self._undecided >= self._waiting_max or self._bytes + num_bytes > self._waiting_bytes_max:
            decided(None)
            return
        question = _Question(facts, num_bytes, self._loop.time() + self._patience_s, decided)
        self._undecided += 1
        self._bytes += num_bytes
        self._waiting.append(question)
        self._open.append(question)
        if self._timer is None:
            self._timer = self._loop.call_at(question.due, self._overdue)
        if self._working is None:
            self._working = self._spawn(self._work())

    def _overdue(self) -> None:
        """Time out overdue questions and drop settled ones."""
        self._timer = None
        late = False
        while self._open and (self._open[0].decided is None or self._open[0].due <= self._loop.time()):
            question = self._open.popleft()
            late |= question.decided is not None
            self._decide(question, None)
        while self._waiting and self._waiting[0].decided is None:
            self._waiting.popleft()
        if late:
            self._note(f"{self._name} of server.py takes longer than {self._patience_s:g} s, and is done without")
        if self._open:
            self._timer = self._loop.call_at(self._open[0].due, self._overdue)

    def _decide(self, question: _Question, number: float | None) -> None:
        decided, question.decided = question.decided, None
        if decided is not None:
            self._undecided -= 1
            self._bytes -= question.num_bytes
            decided(number)

    async def _start(self) -> None:
        """Have the process ready before there is a question: what it imports may take longer than anybody waits."""
        try:
            await self._runner.check(self._name)
        except TurnoutError as error:
            self._failed(error)
        await self._work()

    async def _work(self) -> None:
        while self._waiting:
            batch: list[_Question] = []
            while self._waiting and len(batch) < self._batch:
                question = self._waiting.popleft()
                if question.decided is not None:
                    batch.append(question)
            if batch:
                began = self._loop.time()
                numbers = await self._judged([question.facts for question in batch])
                each_s = (self._loop.time() - began) / len(batch)
                self._batch = max(1, min(BATCH_MAX, round(BATCH_S / max(each_s, 1e-6))))
                for number, question in enumerate(batch):
                    self._decide(question, None if numbers is None else numbers[number])
        self._working = None

    async def _judged(self, batch: list[dict[str, Any]]) -> Numbers | None:
        try:
            answer = await self._runner.run(self._name, msgspec.msgpack.encode(batch), self._call_timeout_s)
            return msgspec.msgpack.decode(answer, type=Numbers)
        except TurnoutError as error:
            self._failed(error)
            return None

    def _failed(self, error: TurnoutError) -> None:
        self._note(f"{self._name} of server.py failed, and is done without: {error}")

    def _note(self, text: str) -> None:
        if text != self._told:  # not for every batch that fails
            self._told = text
            logger.warning("%s", text)
            self._warn(text)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        task.add_done_callback(tell_failure)  # what was called back may be half done: the job's process must end
        return task

    async def close(self) -> None:
        """Stop. Open questions are not answered any more: devices send again."""
        if self._timer is not None:
            self._timer.cancel()
        if self._working is not None:
            self._working.cancel()


class Chances:
    """The chance of each kind of device to be selected when it asks, as ``select`` gives it; 0 to 1."""

    def __init__(self, judge: Judging, now: Callable[[], float]) -> None:
        self._judge = judge
        self._now = now
        self._known: OrderedDict[Description, tuple[float, float]] = OrderedDict()  # chance, until when it is fresh

    def of(self, device: DeviceInfo) -> float:
        """What is known now; 1 for a kind of device that has not been judged yet."""
        kind = (device.platform, device.platform_version, device.app_name, device.app_version)
        chance, fresh_until = self._known.get(kind, (1.0, 0.0))
        if self._now() >= fresh_until:
            self._known[kind] = chance, self._now() + CHANCE_S  # not asked for again meanwhile
            names = ("platform", "platform_version", "app_name", "app_version")
            self._judge.ask(dict(zip(names, kind, strict=True)), partial(self._decided, kind))
        self._known.move_to_end(kind)
        if len(self._known) > CHANCES_MAX:  # devices may make up any number of kinds: those that ask most stay
            self._known.popitem(last=False)
        return chance

    def _decided(self, kind: Description, chance: float | None) -> None:
        known = self._known.get(kind)
        if known is not None:
            fresh_s = DROPPED_S if chance is None else CHANCE_S
            self._known[kind] = known[0] if chance is None else min(chance, 1.0), self._now() + fresh_s

    async def close(self) -> None:
        await self._judge.close()


class Weights:
    """By how much a result counts more or less than it would: the factor that ``weigh`` gives it."""

    def __init__(self, judge: Judging) -> None:
        self._judge = judge

    def ask(self, report: ResultReport, lease: Lease, version: int, decided: Callable[[float], None]) -> None:
        """``version`` is the newest; ``decided`` is called with the factor, soon or at once."""
        facts = {
            "num_examples": report.num_examples,
            "metrics": report.metrics,
            "staleness": version - lease.version,
            "platform": report.device.platform,
            "platform_version": report.device.platform_version,
            "app_name": report.device.app_name,
            "app_version": report.device.app_version,
        }
        self._judge.ask(facts, lambda factor: decided(1.0 if factor is None else factor), report.update.nbytes)

    async def close(self) -> None:
        await self._judge.close()
