"""What a gateway has done since it started, as plain numbers."""

from bisect import bisect_left
from dataclasses import dataclass, field
from time import perf_counter

from turnout.gateway.routes import Route
from turnout.messages import LATENCY_BOUNDS_S, GatewayCounters

OTHER = "other"  #: Requests for paths that lead nowhere, or that could not be read.
KINDS = (*map(str, Route), OTHER)


@dataclass(slots=True)
class Counters:
    """Counts of one gateway process."""

    started: float
    requests: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    refused: dict[str, int] = field(default_factory=dict)
    connections: int = 0
    answers: dict[str, dict[str, int]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    latency: dict[str, list[int]] = field(
        default_factory=lambda: {kind: [0] * (len(LATENCY_BOUNDS_S) + 1) for kind in KINDS}
    )
    latency_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 0.0))
    bytes_in: int = 0
    bytes_out: int = 0

    def refuse(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def answer(self, kind: str, status: str, asked_at: float) -> None:
        """Count how a request ended, and how long it took since ``asked_at``, by ``perf_counter``."""
        answers = self.answers[kind]
        answers[status] = answers.get(status, 0) + 1
        took_s = perf_counter() - asked_at
        self.latency[kind][bisect_left(LATENCY_BOUNDS_S, took_s)] += 1
        self.latency_s[kind] += took_s

    def snapshot(self, gateway: int, now: float) -> GatewayCounters:
        """What control is told."""
        return GatewayCounters(
            gateway=gateway,
            requests={route: count for route, count in self.requests.items() if count},
            refused=dict(self.refused),
            connections=self.connections,
            uptime_s=now - self.started,
            answers={kind: dict(answers) for kind, answers in self.answers.items() if answers},
            latency={kind: list(counts) for kind, counts in self.latency.items() if self.answers[kind]},
            latency_s={kind: spent_s for kind, spent_s in self.latency_s.items() if self.answers[kind]},
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
        )
