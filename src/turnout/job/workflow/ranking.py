"""Which versions are the best and the newest, whose models are kept, and when what is measured ends the job."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import msgspec


@dataclass(frozen=True, slots=True)
class Target:
    """A metric that is good enough."""

    metric: str
    at_least: float | None = None
    at_most: float | None = None

    def reached(self, version: int, metrics: Mapping[str, float]) -> str:
        """Says so in words; empty while it is not."""
        value = metrics.get(self.metric)
        if value is None:
            return ""
        if self.at_least is not None and value >= self.at_least:
            return f"{self.metric} of version {version} is {value:g}, at least {self.at_least:g}"
        if self.at_most is not None and value <= self.at_most:
            return f"{self.metric} of version {version} is {value:g}, at most {self.at_most:g}"
        return ""


class SavedRanking(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The best version and its metric, and what was measured of the versions that are kept, as of a commit."""

    best: tuple[int, float] | None = None
    measured: dict[int, dict[str, float]] = {}


@dataclass(slots=True)
class Ranking:
    """What the measurements of versions lead to. Measurements come late, and for some versions never."""

    metric: str = ""  #: That makes a version the best; empty: none is.
    higher: bool = True  #: Whether more of it is better.
    keep: int = 1  #: So many newest versions are kept.
    patience: int | None = None  #: Versions without a better one after which the job is over.
    target: Target | None = None
    best: tuple[int, float] | None = None  #: The version, and its metric.
    measured: dict[int, dict[str, float]] = field(default_factory=dict)  #: All metrics of each version that is kept.
    _complained: bool = False

    def take(self, version: int, metrics: Mapping[str, float], newest: int) -> bool:
        """A version was measured while ``newest`` is the newest. Returns whether it is the best so far."""
        value = metrics.get(self.metric) if self.metric else None
        better = value is not None and (self.best is None or self._above(value, self.best[1]))
        if better:
            assert value is not None
            self.best = version, value
        self.measured = {**self.measured, version: dict(metrics)}  # another dict: a snapshot holds the last
        self.published(newest)
        return better

    def repeat(self, version: int) -> None:
        """The best is the newest again, as ``version``: from there on another has as long as before to be better."""
        assert self.best is not None
        before, value = self.best
        self.best = version, value
        self.measured = {**self.measured, version: self.measured.get(before, {self.metric: value})}

    def published(self, newest: int) -> None:
        """There is a new version: forget what was measured of those that are not kept any more."""
        self.measured = {version: found for version, found in self.measured.items() if self.keeps(version, newest)}

    def _above(self, value: float, other: float) -> bool:
        return value > other if self.higher else value < other

    def keeps(self, version: int, newest: int) -> bool:
        return version > newest - self.keep or (self.best is not None and version == self.best[0])

    def over(self, version: int, metrics: Mapping[str, float]) -> str:
        """Why this measurement ends the job, after ``take``; empty: it does not."""
        if self.target is not None and (reached := self.target.reached(version, metrics)):
            return reached
        if self.patience is None or self.best is None or version - self.best[0] < self.patience:
            return ""
        best, value = self.best
        return f"no version since {best}, with {self.metric} {value:g}, was better: {version - best} versions"

    def complaint(self, metrics: Mapping[str, float]) -> str:
        """What a person should know of a measurement without a metric that is asked for: once, and else nothing."""
        asked = {self.metric, self.target.metric if self.target else ""} - {""}
        missing = ", ".join(sorted(asked - metrics.keys()))
        if not missing or self._complained:
            return ""
        self._complained = True
        return f"evaluate gave no {missing}, which job.toml asks for; it gave {', '.join(metrics) or 'nothing'}"

    def save(self) -> SavedRanking:
        return SavedRanking(self.best, self.measured)

    def load(self, saved: SavedRanking) -> None:
        self.best, self.measured = saved.best, saved.measured

    def forget_all_but(self, present: Collection[int]) -> None:
        """Of versions whose models are not ``present``, as after a restored backup, nothing is known any more."""
        self.best = self.best if self.best is not None and self.best[0] in present else None
        self.measured = {version: metrics for version, metrics in self.measured.items() if version in present}
