"""Who gets a free place: ``checkin`` gives it to a device that asks; ``cohort.py`` draws among all that are known."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol

from turnout.job.places.fleets import SavedFleets
from turnout.job.places.leases import LiveLeases
from turnout.messages import FleetRange, SelectionRequest

RATE_HALF_LIFE_S = 1.0  #: How fast the measured rate of asks for nothing forgets.

ANYBODY = "*"  #: Instead of a device's id: any device that asks.

Enlist = Callable[[bytes], int | None]  #: The id of a selection of this device; None if it may not take part now.


class Selection(Protocol):
    """A kind of selection. Devices go by their hash; times are job time, in seconds."""

    @property
    def allow_fleets(self) -> bool:
        """Whether one request may register a whole fleet."""
        ...

    def asked(self, device: bytes, device_id: str, now: float, drawn: bool) -> bool:
        """A device asks. Whether it may get a task: ``drawn`` says so, where the job's own code gives chances."""
        ...

    def admits(self, device: bytes, free: int, now: float, rng: Random, reported: bool) -> bool:
        """Whether the device that just asked, and may have a task, gets one of ``free`` places.

        ``reported``: it asks for the first time since its result.
        """
        ...

    def granted(self, device: bytes, live: LiveLeases) -> None:
        """It has a task now, as all in ``live`` have."""

    def id_of(self, device: bytes) -> int | None:
        """The id of the selection by which it has its task; None when this selection gave it none."""
        ...

    def register(self, fleet: FleetRange, now: float, saved_by: int) -> None:
        """Know a fleet, if ``allow_fleets``; what is news is durable with the commit ``saved_by``."""

    def is_durable(self, fleet: FleetRange, commits: int) -> bool:
        """Whether the fleet is known for good, after this many commits."""
        ...

    def fill(self, free: int, now: float, rng: Random, enlist: Enlist) -> None:
        """Choose devices for ``free`` places, where that does not wait until they ask."""

    def shown(self, request: SelectionRequest, version: int, free: int, live: LiveLeases) -> dict[str, int]:
        """Who is selected, as far as it concerns the asker; the values are ids of selections."""
        ...

    def save(self) -> SavedFleets: ...
    def load(self, saved: SavedFleets, now: float) -> None: ...


@dataclass(slots=True)
class CheckIn:
    """First come, first served favours devices that ask often; so when far more ask for nothing than there are places,
    chance decides which of the asks within the next ``window_s`` get them. Asks that got a place, and those of devices
    that may have none, take no part: where there are as many places as takers, each taker gets one.

    A device that has just reported asks at once, while all others are somewhere in their wait: were it served as they
    are, those who report last would keep their places. So its first ask stands for one at any moment of a wait: its
    chance is that of each device that waits, places over takers.

    ``window_s`` is about how long a free place may stay free for this fairness; 0 turns thinning off.
    """

    window_s: float
    waiting: Callable[[float], int] = lambda now: 0  #: How many devices will ask, of those told to wait.
    allow_fleets: bool = False  #: None of its devices would ever be named.
    _rate: float = 0.0  # asks per second that got nothing, as an exponentially weighted mean
    _since: float = 0.0

    def asked(self, device: bytes, device_id: str, now: float, drawn: bool) -> bool:
        return drawn

    def admits(self, device: bytes, free: int, now: float, rng: Random, reported: bool) -> bool:
        if reported:
            return free > 0 and _one_of(free, self.waiting(now) + 1, rng)
        if free > 0 and _one_of(free, self._decayed(now) * self.window_s, rng):
            return True
        self._rate, self._since = self._decayed(now) + 0.6931 / RATE_HALF_LIFE_S, now
        return False

    def _decayed(self, now: float) -> float:
        return self._rate * math.pow(0.5, max(now - self._since, 0.0) / RATE_HALF_LIFE_S)

    def granted(self, device: bytes, live: LiveLeases) -> None:
        pass

    def id_of(self, device: bytes) -> int | None:
        return None

    def register(self, fleet: FleetRange, now: float, saved_by: int) -> None:
        pass

    def is_durable(self, fleet: FleetRange, commits: int) -> bool:
        return False

    def fill(self, free: int, now: float, rng: Random, enlist: Enlist) -> None:
        pass

    def shown(self, request: SelectionRequest, version: int, free: int, live: LiveLeases) -> dict[str, int]:
        return {ANYBODY: version + 1} if free > 0 else {}

    def save(self) -> SavedFleets:
        return SavedFleets()

    def load(self, saved: SavedFleets, now: float) -> None:
        pass


def _one_of(places: int, takers: float, rng: Random) -> bool:
    """Whether this taker gets a place."""
    return takers <= places or rng.random() < places / takers
