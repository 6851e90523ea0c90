"""The course of a job that never ran: events and samples as control tells them, the same every time."""

import math
from random import Random
from typing import Any

GOAL = 20
PLACES = 200
VERSION_S = 12.0
SAMPLE_S = 1.0

Json = dict[str, Any]


class Course:
    """One job's course, second by second from ``begin`` on. ``learning`` is how fast its accuracy rises."""

    def __init__(self, begin: float, seed: int = 0, learning: float = 0.12) -> None:
        self.now = begin
        self.version = 0
        self.events: list[Json] = [{"at": begin, "kind": "started"}]
        self.samples: list[Json] = []
        self._learning = learning
        self._random = Random(seed)
        self._counts = {"counted": 0, "lost": 0, "duplicates": 0, "too_stale": 0, "not_leased": 0, "in": 0, "out": 0}
        self._buffered = 0.0
        self._staleness: dict[str, int] = {}
        self._since = begin

    def advance(self, seconds: int = 1) -> tuple[list[Json], list[Json]]:
        """Let time pass; the events and samples that came of it."""
        events, samples = len(self.events), len(self.samples)
        for _ in range(seconds):
            self._second()
        return self.events[events:], self.samples[samples:]

    def add(self, kind: str, **fields: object) -> Json:
        event = {"at": self.now, "kind": kind, **fields}
        self.events.append(event)
        return event

    def _second(self) -> None:
        self.now += SAMPLE_S
        results = GOAL / VERSION_S * self._random.uniform(0.6, 1.4)
        self._buffered += results
        for _ in range(round(results)):
            behind = str(min(int(self._random.expovariate(0.6)), 9))
            self._staleness[behind] = self._staleness.get(behind, 0) + 1
        counts = self._counts
        counts["counted"] += round(results)
        counts["lost"] += self._random.random() < 0.2
        counts["duplicates"] += self._random.random() < 0.03
        counts["too_stale"] += self._random.random() < 0.08
        counts["not_leased"] += self._random.random() < 0.02
        counts["in"] += round(9_000 * results)
        counts["out"] += round(14_000 * results)
        if self._buffered >= GOAL:
            self._publish()
        self.samples.append(self._sample())

    def _publish(self) -> None:
        self._buffered -= GOAL
        self.version += 1
        self.add("published", version=self.version, counted=self._counts["counted"], took_s=self.now - self._since)
        self._since = self.now
        accuracy = 0.97 - 0.87 * math.exp(-self._learning * self.version) + self._random.uniform(-0.008, 0.008)
        loss = 2.3 * math.exp(-0.9 * self._learning * self.version) + 0.11
        measured = {"accuracy": round(accuracy, 4), "loss": round(loss, 4)}
        self.add("evaluated", version=self.version, metrics=measured)

    def _sample(self) -> Json:
        counts, wave = self._counts, math.sin(self.now / 90)
        return {
            "at": self.now,
            "state": "OPEN",
            "version": self.version,
            "buffered": int(self._buffered),
            "goal": GOAL,
            "places": PLACES,
            "training": round(186 + 9 * wave + self._random.uniform(-3, 3)),
            "waiting": round(310 + 60 * wave + self._random.uniform(-8, 8)),
            "lost": counts["lost"],
            "counted": counts["counted"],
            "duplicates": counts["duplicates"],
            "refused": {reason: counts[reason] for reason in ("too_stale", "not_leased")},
            "staleness": dict(self._staleness),
            "requests_per_s": round(61 + 12 * wave + self._random.uniform(-5, 5), 1),
            "latency_ms": {"p50": self._between(0.8, 1.2), "p99": self._between(3, 9)},
            "ack_ms": {"p50": self._between(6, 9), "p99": self._between(14, 30)},
            "bytes_in": counts["in"],
            "bytes_out": counts["out"],
            "waiting_for": f"{int(self._buffered)} of {GOAL} updates for version {self.version + 1}; "
            f"186 tasks are out; oldest lease {20 + int(self.now) % 30} s",
        }

    def _between(self, low: float, high: float) -> float:
        return round(self._random.uniform(low, high), 2)
