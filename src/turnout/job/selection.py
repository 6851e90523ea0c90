"""Who gets a free place: ``checkin`` gives it to a device that asks; ``cohort.py`` draws among all that are known."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Protocol

from turnout.job.leases import LiveLeases
from turnout.messages import FleetRange, SelectionRequest

RATE_HALF_LIFE_S = 1.0  #: How fast the measured rate of asks forgets.

ANYBODY = "*"  #: Instead of a device's id: whoever asks.

Enlist = Callable[[bytes], int | None]  #: The id of a selection of this device; None if it may not take part now.
Ranges = tuple[tuple[str, int], ...]  #: Of fleets: prefix, devices.


class Selection(Protocol):
    """A kind of selection. Devices go by their hash; times are job time, in seconds."""

    @property
    def allow_fleets(self) -> bool:
        """Whether one request may register a whole fleet."""
        ...

    def asked(self, device: bytes, device_id: str, now: float, drawn: bool) -> bool:
        """A device asks. Whether it may get a task: ``drawn`` says so, where the job's own code gives chances."""
        ...

    def admits(self, device: bytes, free: int, now: float, rng: Random, enlist: Enlist) -> bool:
        """Whether the device that just asked gets one of ``free`` places."""
        ...

    def granted(self, device: bytes, live: LiveLeases) -> None:
        """It has a task now, as all in ``live`` have."""

    def id_of(self, device: bytes) -> int | None:
        """The id of the selection by which it has its task; None when this selection gave it none."""
        ...

    def register(self, fleet: FleetRange, now: float, saved_by: int) -> bool:
        """Know a fleet, if ``allow_fleets``; whether that is news, to be durable with the commit ``saved_by``."""
        ...

    def is_durable(self, fleet: FleetRange, commits: int) -> bool:
        """Whether the fleet is known for good, after so many commits."""
        ...

    def fill(self, free: int, now: float, rng: Random, enlist: Enlist) -> None:
        """Choose devices for ``free`` places, where that does not wait until they ask."""

    def shown(self, request: SelectionRequest, version: int, free: int, live: LiveLeases) -> dict[str, int]:
        """Who is selected, as far as it concerns the asker; the values are ids of selections."""
        ...

    def snapshot(self) -> Ranges:
        """The fleets: their simulators name them only once."""
        ...

    def restore(self, fleets: Iterable[tuple[str, int]], now: float) -> None: ...


@dataclass(slots=True)
class CheckIn:
    """First come, first served favours devices that ask often; so when far more ask than there are places, chance
    decides which of the asks within the next ``window_s`` get them.

    ``window_s`` is about how long a free place may stay free for this fairness; 0 turns thinning off.
    """

    window_s: float
    allow_fleets: bool = False  #: None of its devices would ever be named.
    _rate: float = 0.0  # asks per second, as an exponentially weighted mean
    _since: float = 0.0

    def asked(self, device: bytes, device_id: str, now: float, drawn: bool) -> bool:
        elapsed = max(now - self._since, 0.0)
        self._since = now
        self._rate = self._rate * 0.5 ** (elapsed / RATE_HALF_LIFE_S) + 0.6931 / RATE_HALF_LIFE_S
        return drawn

    def admits(self, device: bytes, free: int, now: float, rng: Random, enlist: Enlist) -> bool:
        if free <= 0:
            return False
        expected = self._rate * self.window_s
        return expected <= free or rng.random() < free / expected

    def granted(self, device: bytes, live: LiveLeases) -> None:
        pass

    def id_of(self, device: bytes) -> int | None:
        return None

    def register(self, fleet: FleetRange, now: float, saved_by: int) -> bool:
        return False

    def is_durable(self, fleet: FleetRange, commits: int) -> bool:
        return False

    def fill(self, free: int, now: float, rng: Random, enlist: Enlist) -> None:
        pass

    def shown(self, request: SelectionRequest, version: int, free: int, live: LiveLeases) -> dict[str, int]:
        return {ANYBODY: version + 1} if free > 0 else {}

    def snapshot(self) -> Ranges:
        return ()

    def restore(self, fleets: Iterable[tuple[str, int]], now: float) -> None:
        pass
