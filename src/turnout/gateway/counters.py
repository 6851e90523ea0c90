"""What a gateway has done since it started, as plain numbers."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field

from turnout.gateway.routes import Route
from turnout.messages import LATENCY_BOUNDS_S, GatewayCounters

JOBS_MAX = 64  #: Running jobs whose refused results are counted apart.
OTHER = "other"  #: Requests for paths that lead nowhere, or that could not be read.
KINDS = (*map(str, Route), OTHER)


@dataclass(slots=True)
class Answers:
    """How requests of one kind ended, and how long they took."""

    by_status: dict[str, int] = field(default_factory=dict)
    by_duration: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS_S) + 1))
    spent_s: float = 0.0


@dataclass(slots=True)
class Counters:
    """Counts of one gateway process."""

    started: float
    clock: Callable[[], float]  #: Of the times that requests take.
    requests: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    refused: dict[str, int] = field(default_factory=dict)
    refused_of: dict[str, dict[str, int]] = field(default_factory=dict)
    connections: int = 0
    answers: dict[str, Answers] = field(default_factory=lambda: {kind: Answers() for kind in KINDS})
    bytes_in: int = 0
    bytes_out: int = 0

    def refuse(self, reason: str, job_id: str = "") -> None:
        """Count a refusal; ``job_id``: of the running job whose result it was."""
        self.refused[reason] = self.refused.get(reason, 0) + 1
        if job_id in self.refused_of or (job_id and len(self.refused_of) < JOBS_MAX):
            of_job = self.refused_of.setdefault(job_id, {})
            of_job[reason] = of_job.get(reason, 0) + 1

    def forget_unless(self, runs: Callable[[str], bool]) -> None:
        """Count no jobs apart that have ended: what was refused of theirs stays in ``refused``, which has them all."""
        for job_id in [job_id for job_id in self.refused_of if not runs(job_id)]:
            del self.refused_of[job_id]

    def answer(self, kind: str, status: str, asked_at: float) -> None:
        """Count how a request ended, and how long it took since ``asked_at``, by ``clock``."""
        answers = self.answers[kind]
        by_status = answers.by_status
        by_status[status] = by_status.get(status, 0) + 1
        took_s = self.clock() - asked_at
        answers.by_duration[bisect_left(LATENCY_BOUNDS_S, took_s)] += 1
        answers.spent_s += took_s

    def snapshot(self, gateway: int, now: float) -> GatewayCounters:
        """What control is told."""
        asked = {kind: answers for kind, answers in self.answers.items() if answers.by_status}
        return GatewayCounters(
            gateway=gateway,
            requests={route: count for route, count in self.requests.items() if count},
            refused=dict(self.refused),
            refused_of={job_id: dict(of_job) for job_id, of_job in self.refused_of.items()},
            connections=self.connections,
            uptime_s=now - self.started,
            answers={kind: dict(answers.by_status) for kind, answers in asked.items()},
            latency={kind: list(answers.by_duration) for kind, answers in asked.items()},
            latency_s={kind: answers.spent_s for kind, answers in asked.items()},
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
        )
