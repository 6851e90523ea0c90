"""What of a job's events is worth a line in a chart, by model version. Pure."""

from dataclasses import dataclass, field
from typing import Protocol

from turnout.client.view import Sample
from turnout.messages import JobEvent

SAMPLE_EVERY_S = 10.0  #: Of the samples, which come each second.


class Tracker(Protocol):
    """Where numbers go. ``step`` is a model version, or seconds since the job began; ``at`` seconds since 1970."""

    def log(self, numbers: dict[str, float], step: int, at: float) -> None: ...

    def close(self, completed: bool) -> None:
        """Nothing more comes; ``completed`` says whether because the job has reached its goal."""


@dataclass(slots=True)
class Course:
    """Turns events into numbers; each version is told once, though it may be published again after a restart."""

    _published: set[int] = field(default_factory=set)
    _evaluated: set[int] = field(default_factory=set)
    _began_at: float | None = None
    _sampled_at: float = 0.0

    def event(self, event: JobEvent, tracker: Tracker) -> None:
        if self._began_at is None:
            self._began_at = event.at
        if event.kind == "published" and event.version not in self._published:
            self._published.add(event.version)
            tracker.log({"version/results": event.counted, "version/seconds": event.took_s}, event.version, event.at)
        elif event.kind == "evaluated" and event.version not in self._evaluated:
            self._evaluated.add(event.version)
            numbers = {f"model/{name}": value for name, value in event.metrics.items()}
            tracker.log(numbers, event.version, event.at)

    def sample(self, sample: Sample, tracker: Tracker) -> None:
        if self._began_at is None:
            self._began_at = sample.at
        if sample.at < self._sampled_at + SAMPLE_EVERY_S:
            return
        self._sampled_at = sample.at
        numbers: dict[str, float] = {
            "fleet/training": sample.training,
            "fleet/waiting": sample.waiting,
            "fleet/lost": sample.lost,
            "fleet/counted": sample.counted,
            "fleet/refused": sum(sample.refused.values()),
            "server/requests_per_s": sample.requests_per_s,
        }
        numbers |= {f"server/ack_ms_{name}": value for name, value in sample.ack_ms.items()}
        tracker.log(numbers, max(0, round(sample.at - self._began_at)), sample.at)
