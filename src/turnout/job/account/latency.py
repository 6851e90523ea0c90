"""How long something took lately, for people."""

from collections import deque
from math import ceil

WINDOW = 1000  #: The number of newest ones that are looked at.


class Latency:
    """Quantiles of the last durations."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=WINDOW)

    def add(self, seconds: float) -> None:
        self._seconds.append(seconds)

    def quantiles(self) -> dict[str, float]:
        """``p50`` and ``p99`` in milliseconds; empty when nothing has been measured."""
        if not self._seconds:
            return {}
        ordered = sorted(self._seconds)
        last = len(ordered) - 1
        return {name: round(1000 * ordered[ceil(share * last)], 3) for name, share in (("p50", 0.5), ("p99", 0.99))}
