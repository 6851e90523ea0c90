"""One evaluation at a time: while one runs, only the newest version waits for the next."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from turnout.messages import FailingEvaluation


@dataclass(frozen=True, slots=True)
class Evaluate:
    """Measure this model, elsewhere; report Evaluated. Never two at once."""

    version: int
    model: NDArray[np.float32]


class SavedEvaluation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether it fails, as of a commit."""

    fails: FailingEvaluation | None = None


@dataclass(slots=True)
class Evaluation:
    """Which versions are measured, and what the last measurement said."""

    every: int  #: Versions; 0 for never.
    metrics: dict[str, float] = field(default_factory=dict)
    version: int = 0  #: That ``metrics`` were measured of.
    fails: FailingEvaluation | None = None  #: None: the last one worked, or there was none.
    running: bool = False
    _running: int = 0  # which version; of old unless one is running
    _next: Evaluate | None = None

    def due(self, version: int, last: bool) -> bool:
        return bool(self.every) and (version % self.every == 0 or last)

    def want(self, wanted: Evaluate) -> list[Evaluate]:
        """What to start now: ``wanted``, or nothing while another runs."""
        if self.running:
            self._next = wanted
            return []
        self.running, self._running, self._next = True, wanted.version, None
        return [wanted]

    def awaits(self, version: int) -> bool:
        """Whether this version is being measured, or will be next."""
        return (self.running and version == self._running) or (self._next is not None and version == self._next.version)

    def save(self) -> SavedEvaluation:
        return SavedEvaluation(self.fails)

    def load(self, saved: SavedEvaluation) -> None:
        self.fails = saved.fails

    def show(self, measured: Mapping[int, Mapping[str, float]]) -> None:
        """Show the last of these metrics, by version, until there are new ones."""
        if measured:
            self.version = max(measured)
            self.metrics = dict(measured[self.version])

    def ended(self, version: int, metrics: Mapping[str, float] | None, error: str = "") -> list[Evaluate]:
        """Take the metrics, None if it failed; returns what to start next."""
        self.running = False
        if metrics is not None:
            self.metrics, self.version, self.fails = dict(metrics), version, None
        elif self.fails is None:
            self.fails = FailingEvaluation(version, version, error=error)
        else:
            self.fails = replace(self.fails, last=version, times=self.fails.times + 1, error=error)
        return self.want(self._next) if self._next is not None else []


def failing(fails: FailingEvaluation) -> str:
    """In words, while it does."""
    times = f" ({fails.times} times)" if fails.times > 1 else ""
    return f"evaluation fails since version {fails.since}{times}: {fails.error}"


def failed(fails: FailingEvaluation) -> str:
    """In words, once it works again."""
    if fails.times == 1:
        return f"evaluation of version {fails.since} failed: {fails.error}"
    return f"evaluation of {fails.times} versions failed, {fails.since} to {fails.last}: {fails.error}"
