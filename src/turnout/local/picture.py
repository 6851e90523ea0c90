"""What a person watching a job sees, gathered from control's API, the fleet and the processes' own words. Pure.

Facts come in with ``saw_...``; ``view`` and ``plain`` draw them.
"""

from collections import deque
from dataclasses import dataclass, field

from turnout.client.view import JobView
from turnout.device.counters import FleetCounters
from turnout.messages import GatewayCounters

EVENTS_KEPT = 8
RATE_WINDOW_S = 2.0  #: Requests per second are the mean over about this time.


@dataclass(slots=True)
class Picture:
    """One moment of a run. ``metric`` is the measure shown: the one that ``server.py`` names first, or none."""

    title: str
    devices: int
    began: float  #: By the clock of the ``now`` arguments.
    now: float = 0.0
    view: JobView | None = None
    fleet: FleetCounters | None = None
    central: dict[str, float] | None = None  #: What the same model reaches trained centrally, once it is known.
    requests_per_s: float = 0.0
    by_version: dict[int, float] = field(default_factory=dict)  #: The metric of every version seen evaluated.
    events: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))
    metric: str = ""
    over: bool = False
    _counts: deque[tuple[float, int]] = field(default_factory=deque)
    _gateways: dict[int, GatewayCounters] = field(default_factory=dict)
    _requests: int = 0

    @property
    def elapsed_s(self) -> float:
        """Since the run began."""
        return self.now - self.began

    @property
    def value(self) -> float | None:
        """The metric now."""
        status = self.view.status if self.view else None
        return status.metrics.get(self.metric) if status else None

    @property
    def behind(self) -> str:
        """In words, the version that the metric now is of, unless it is the newest."""
        status = self.view.status if self.view else None
        if status is None or self.value is None or status.version_of(self.metric) == status.version:
            return ""
        return f" (of version {status.version_of(self.metric)})"

    def saw_job(self, view: JobView, now: float) -> None:
        """The job as control shows it."""
        self.now = now
        if view.status is None and self.view is not None:
            return  # control has just been restarted and does not know yet
        self.view = view
        if view.status is None or not view.status.metrics:
            return
        for version in [version for version in self.by_version if version > view.status.metrics_version]:
            del self.by_version[version]  # the job has lost them and trains them anew
        self.measured(view.status.metrics_version, view.status.metrics)

    def measured(self, version: int, metrics: dict[str, float]) -> None:
        """What a version was measured to be."""
        if metrics and not self.metric:
            self.metric = "accuracy" if "accuracy" in metrics else next(iter(metrics))
        if self.metric in metrics:
            self.by_version[version] = metrics[self.metric]

    def saw_gateways(self, gateways: list[GatewayCounters], now: float) -> None:
        """All counters; a gateway that was started again counts from zero."""
        for counters in gateways:
            before = self._gateways.get(counters.gateway)
            restarted = before is None or counters.uptime_s < before.uptime_s
            self._requests += _total(counters) - (0 if restarted or before is None else _total(before))
            self._gateways[counters.gateway] = counters
        self._counts.append((now, self._requests))
        while self._counts[0][0] < now - RATE_WINDOW_S and len(self._counts) > 2:
            self._counts.popleft()
        (first_at, first), (last_at, last) = self._counts[0], self._counts[-1]
        self.requests_per_s = (last - first) / (last_at - first_at) if last_at > first_at else 0.0

    def said(self, line: str, now: float) -> None:
        """Something happened that people should read."""
        self.events.append((now - self.began, line))


def _total(counters: GatewayCounters) -> int:
    return sum(counters.requests.values())
