"""What devices measured of a version on their own data: each metric's mean, weighted by examples, and its spread."""

import math
from bisect import bisect
from collections.abc import Mapping
from typing import Any

import msgspec

from turnout.job.places.counted import mixed
from turnout.messages import DeviceMetric

VERSIONS_MAX = 3  #: The newest are remembered: all is written whole with each commit, and people are told of two.
METRICS_MAX = 64  #: Of one version; a name beyond that takes the place of the one that the fewest devices said.
NAME_CHARS_MAX = 64  #: A longer name is ignored, and so is
VALUE_MAX = 1e30  #: a larger value: sums must stay finite.
SAMPLE_MAX = 64  #: Values kept of one metric: percentiles are exact up to as many devices.
PREFIX = "federated/"  #: Before the names, so that they are not taken for what the server measured.


class Sum(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Of one metric of one version. Earlier releases wrote the first two fields."""

    total: float = 0.0  #: Of values times examples.
    examples: float = 0.0
    devices: int = 0
    values: float = 0.0  #: The sum of the values,
    squares: float = 0.0  #: and of their squares.
    said: int = 0  #: Devices that said it or a name which it replaced: at least as many as said it.
    #: Values, each behind a number that looks random; the least of these are a uniform sample of all devices.
    sample: tuple[tuple[int, float], ...] = ()

    def with_one(self, value: float, examples: float, number: int) -> "Sum":
        return Sum(
            self.total + examples * value,
            self.examples + examples,
            self.devices + 1,
            self.values + value,
            self.squares + value * value,
            self.said + 1,
            self._sampled(number, value),
        )

    def _sampled(self, number: int, value: float) -> tuple[tuple[int, float], ...]:
        new = (number, value)
        if len(self.sample) >= SAMPLE_MAX and new >= self.sample[-1]:
            return self.sample
        at = bisect(self.sample, new)
        return (*self.sample[:at], new, *self.sample[at:])[:SAMPLE_MAX]

    def shown(self, version: int, name: str) -> DeviceMetric:
        mean = self.values / self.devices if self.devices else 0.0
        variance = self.squares / self.devices - mean * mean if self.devices else 0.0
        ordered = sorted(value for _, value in self.sample)
        percentiles = {f"p{share}": ordered[share * (len(ordered) - 1) // 100] for share in (10, 50, 90) if ordered}
        spread, metric = math.sqrt(max(variance, 0.0)), PREFIX + name
        return DeviceMetric(
            metric, version, self.devices, self.examples, self.total / self.examples, mean, spread, percentiles
        )


Sums = dict[int, dict[str, Sum]]  #: By version and name.


class SavedFederated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The sums, as of a commit."""

    sums: Sums = {}


class Federated:
    """Running sums and a small sample: however many devices measure, what is kept of a metric is bounded.

    One device cannot use up the names: a new name takes the place of that which the fewest devices said, and inherits
    their number (Space-Saving, Metwally et al. 2005), so a name that many devices say stays.
    """

    def __init__(self) -> None:
        self._sums: Sums = {}

    def save(self) -> SavedFederated:
        return SavedFederated({version: dict(sums) for version, sums in self._sums.items()})

    def load(self, saved: SavedFederated) -> None:
        kept = sorted(saved.sums)[-VERSIONS_MAX:]  # earlier releases kept more
        self._sums = {version: dict(saved.sums[version]) for version in kept}

    def add(self, version: int, metrics: Mapping[str, Any], examples: float, task: int = 0) -> None:
        """What one device measured on ``examples``, with the task of this number."""
        if version not in self._sums and not self._open(version):
            return
        sums = self._sums[version]
        for name, value in metrics.items():
            if len(name) > NAME_CHARS_MAX or not math.isfinite(value) or abs(value) > VALUE_MAX:
                continue
            before = sums.get(name)
            if before is None and len(sums) >= METRICS_MAX:
                before = Sum(said=sums.pop(min(sums, key=lambda each: sums[each].said)).said)
            sums[name] = (before or Sum()).with_one(value, examples, mixed(task) >> 1)

    def _open(self, version: int) -> bool:
        """Begin a version, for the oldest where there are enough; False for one that is older than all of these."""
        if len(self._sums) >= VERSIONS_MAX:
            oldest = min(self._sums)
            if version < oldest:
                return False
            del self._sums[oldest]
        self._sums[version] = {}
        return True

    def mean(self, version: int) -> dict[str, float]:
        """By name, with the prefix; empty when nobody has measured this version.

        What most devices said comes first: a view that shows only some shows those.
        """
        return {PREFIX + name: each.total / each.examples for name, each in self._most_said(version)}

    def _most_said(self, version: int) -> list[tuple[str, Sum]]:
        return sorted(self._sums.get(version, {}).items(), key=lambda named: -named[1].devices)

    def newest(self) -> dict[str, float]:
        """The mean of the newest version that anybody has measured."""
        return self.mean(max(self._sums)) if self._sums else {}

    def shown(self) -> tuple[DeviceMetric, ...]:
        """Of the newest version that anybody has measured, what most devices said first."""
        version = max(self._sums, default=0)
        return tuple(each.shown(version, name) for name, each in self._most_said(version))
