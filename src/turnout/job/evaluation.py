"""One evaluation at a time: while one runs, only the newest version waits for the next."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from turnout.job.events import Evaluate


@dataclass(slots=True)
class Evaluation:
    """Which versions are measured, and what the last measurement said."""

    every: int  #: Versions; 0 for never.
    metrics: dict[str, float] = field(default_factory=dict)
    version: int = 0  #: That ``metrics`` were measured of.
    running: bool = False
    _next: Evaluate | None = None

    def due(self, version: int, last: bool) -> bool:
        return bool(self.every) and (version % self.every == 0 or last)

    def want(self, wanted: Evaluate) -> list[Evaluate]:
        """What to start now: ``wanted``, or nothing while another runs."""
        if self.running:
            self._next = wanted
            return []
        self.running, self._next = True, None
        return [wanted]

    def ended(self, version: int, metrics: Mapping[str, float] | None) -> list[Evaluate]:
        """Take the metrics, None if it failed; returns what to start next."""
        self.running = False
        if metrics is not None:
            self.metrics, self.version = dict(metrics), version
        return self.want(self._next) if self._next is not None else []
