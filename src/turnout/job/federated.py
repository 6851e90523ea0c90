"""What devices measured of a version on their own data: each metric's mean, weighted by examples."""

import math
from collections.abc import Mapping
from typing import Any

VERSIONS_MAX = 100  #: The newest so many are remembered.
METRICS_MAX = 64  #: Of one version; what devices name beyond that is ignored, and so is
NAME_CHARS_MAX = 64  #: a longer name,
VALUE_MAX = 1e30  #: and a larger value: sums must stay finite.
PREFIX = "federated/"  #: Before the names, so that they are not taken for what the server measured.

Sums = dict[int, dict[str, tuple[float, float]]]  #: By version and name: the weighted sum, and the weights.


class Federated:
    """Running sums: however many devices measure, what is kept is one pair of numbers a metric."""

    def __init__(self, sums: Mapping[int, Mapping[str, tuple[float, float]]] | None = None) -> None:
        """``sums`` as a snapshot has them."""
        self._sums: Sums = {version: dict(of_version) for version, of_version in (sums or {}).items()}

    def add(self, version: int, metrics: Mapping[str, Any], weight: float) -> None:
        """What one device measured; ``weight`` is above 0."""
        sums = self._sums.setdefault(version, {})
        for name, value in metrics.items():
            if len(name) > NAME_CHARS_MAX or not math.isfinite(value) or abs(value) > VALUE_MAX:
                continue
            if name in sums or len(sums) < METRICS_MAX:
                total, weights = sums.get(name, (0.0, 0.0))
                sums[name] = total + weight * value, weights + weight
        while len(self._sums) > VERSIONS_MAX:
            del self._sums[min(self._sums)]

    def mean(self, version: int) -> dict[str, float]:
        """By name, with the prefix; empty when nobody has measured this version."""
        return {PREFIX + name: total / weights for name, (total, weights) in self._sums.get(version, {}).items()}

    def newest(self) -> dict[str, float]:
        """The mean of the newest version that anybody has measured."""
        return self.mean(max(self._sums)) if self._sums else {}

    def snapshot(self) -> Sums:
        return {version: dict(sums) for version, sums in self._sums.items()}
