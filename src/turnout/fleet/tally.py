"""Rates and latencies of the recent past. Pure."""

from random import Random

SAMPLES_MAX = 5_000  #: Latencies kept between two readings; of more, a fair sample.


class Latencies:
    """The latencies since the last reading (reservoir sampling: Vitter 1985, algorithm R)."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._samples: list[float] = []
        self._seen = 0

    def add(self, seconds: float) -> None:
        """One more."""
        self._seen += 1
        if len(self._samples) < SAMPLES_MAX:
            self._samples.append(seconds)
        elif (place := int(self._rng.random() * self._seen)) < SAMPLES_MAX:
            self._samples[place] = seconds

    def read(self) -> tuple[float, float]:
        """Median and 99th percentile in seconds, 0 when there are none; begins anew."""
        samples = sorted(self._samples)
        self._samples.clear()
        self._seen = 0
        if not samples:
            return 0.0, 0.0
        return samples[len(samples) // 2], samples[min(len(samples) - 1, len(samples) * 99 // 100)]
