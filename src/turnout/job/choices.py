"""What the job's own code says of devices and of results: ``select`` and ``weigh`` of its ``server.py``.

The job never depends on them: while ``select`` has not answered, a device has every chance; a result that ``weigh``
does not judge in time counts what it would without. People are warned of either.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec

from turnout.errors import TurnoutError
from turnout.job.choice_hook import Numbers, init_of
from turnout.job.folder import JobFolder
from turnout.job.leases import Lease
from turnout.messages import DeviceInfo, ResultReport
from turnout.workers import WorkerPool

TARGET = "turnout.job.choice_hook:judge"
SELECT, WEIGH = "select", "weigh"  #: The functions' names.
BATCH_MAX = 256  #: Facts in one call.
WAITING_MAX = 10_000  #: Results that wait for their weight; any more count as they are.
WEIGH_TIMEOUT_S = 2.0  #: Of one call. A device waits for its answer meanwhile, 8 s at most.
SELECT_TIMEOUT_S = 10.0
CHANCES_MAX = 1024  #: Descriptions of devices whose chance is remembered.
CHANCE_S = 60.0  #: For so long; then it is asked for again, for the fleet and the job have moved on.

logger = logging.getLogger("turnout.job")

Warn = Callable[[str], None]
Decided = Callable[[float | None], None]
Description = tuple[str, str, str, str]


class Judging(Protocol):
    """Something that gives a number for what it is told, or None."""

    def ask(self, facts: dict[str, Any], decided: Decided) -> None: ...
    async def close(self) -> None: ...


def chances_of(folder: JobFolder, warn: Warn, now: Callable[[], float]) -> "Chances | None":
    """None for a job that selects without code of its own."""
    if folder.server is None or not folder.has_hook(SELECT):
        return None
    return Chances(Judge(folder.server, SELECT, SELECT_TIMEOUT_S, CHANCES_MAX, warn), now)


def weights_of(folder: JobFolder, warn: Warn) -> "Weights | None":
    """None for a job that weighs without code of its own."""
    if folder.server is None or not folder.has_hook(WEIGH):
        return None
    return Weights(Judge(folder.server, WEIGH, WEIGH_TIMEOUT_S, WAITING_MAX, warn))


class Judge:
    """Asks one function, batch after batch; whoever asks is called back with a number, or None when there is none."""

    def __init__(self, server: Path, name: str, timeout_s: float, waiting_max: int, warn: Warn) -> None:
        self._name = name
        self._timeout_s = timeout_s
        self._waiting_max = waiting_max
        self._warn = warn
        self._workers = WorkerPool(TARGET, size=1, queue_max=0, init=init_of(server, name))
        self._waiting: list[tuple[dict[str, Any], Decided]] = []
        self._working: asyncio.Task[None] | None = None
        self._told = ""

    def ask(self, facts: dict[str, Any], decided: Decided) -> None:
        if len(self._waiting) >= self._waiting_max:
            decided(None)
            return
        self._waiting.append((facts, decided))
        if self._working is None:
            self._working = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
            numbers = await self._judged([facts for facts, _ in batch])
            for number, (_, decided) in enumerate(batch):
                decided(None if numbers is None else numbers[number])
        self._working = None

    async def _judged(self, batch: list[dict[str, Any]]) -> Numbers | None:
        try:
            answer = await self._workers.run(msgspec.msgpack.encode(batch), self._timeout_s)
            return msgspec.msgpack.decode(answer, type=Numbers)
        except TurnoutError as error:
            text = f"{self._name} of server.py failed, and is done without: {error}"
            logger.warning("%s", text)
            if text != self._told:  # not for every batch that fails
                self._told = text
                self._warn(text)
            return None

    async def close(self) -> None:
        """Stop. Who waits is not called any more: devices send again."""
        if self._working is not None:
            self._working.cancel()
        await self._workers.close()


class Chances:
    """The chance of each kind of device to be selected when it asks, as ``select`` gives it; 0 to 1."""

    def __init__(self, judge: Judging, now: Callable[[], float]) -> None:
        self._judge = judge
        self._now = now
        self._known: dict[Description, tuple[float, float]] = {}  # the chance, and until when it is fresh

    def of(self, device: DeviceInfo) -> float:
        """What is known now; 1 for a kind of device that has not been judged yet."""
        kind = (device.platform, device.platform_version, device.app_name, device.app_version)
        chance, fresh_until = self._known.get(kind, (1.0, 0.0))
        if self._now() >= fresh_until:
            if len(self._known) >= CHANCES_MAX:
                self._known.clear()
            self._known[kind] = chance, self._now() + CHANCE_S  # not asked for again meanwhile
            names = ("platform", "platform_version", "app_name", "app_version")
            self._judge.ask(dict(zip(names, kind, strict=True)), partial(self._decided, kind))
        return chance

    def _decided(self, kind: Description, chance: float | None) -> None:
        if chance is not None:
            self._known[kind] = min(chance, 1.0), self._now() + CHANCE_S

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
        self._judge.ask(facts, lambda factor: decided(1.0 if factor is None else factor))

    async def close(self) -> None:
        await self._judge.close()
