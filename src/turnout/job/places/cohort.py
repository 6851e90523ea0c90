"""Selection by lot: free places are drawn among all devices known, and a device that is drawn is *invited* for a while.

FedAvg and FedBuff assume a uniform sample. Giving places to who asks prefers devices that ask often; drawing among
those that asked lately does not. Drawing takes the same time however many devices are known.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain, takewhile
from random import Random

from turnout.job.places.fleets import Fleets, SavedFleets, fleet_of
from turnout.job.places.known import KnownDevices
from turnout.job.places.leases import LiveLeases, device_hash
from turnout.job.places.selection import Enlist
from turnout.messages import FleetRange, SelectionRequest

DRAWS_MAX = 64  #: Tries to fill free places, each time a device asks.
BARREN_S = 0.05  #: After fruitless draws, none is made for this long.
MISSES_MAX = 16  #: Of these: few of those known may take part.
INVITED_PER_PLACE = 4  #: Most invitations for one free place, of which all but one do not keep it.
TRAINING_SLACK = 64  #: Entries of devices that train no more, beside as many as train.
SHOWN_MAX = 10_000  #: Devices that one answer names.


@dataclass(frozen=True, slots=True)
class Invitation:
    """``name`` is the device's id where a fleet's simulator is to be told of it; of others only the hash is known."""

    id: int
    name: str
    expires_at: float


@dataclass(slots=True)
class Cohort:
    """A place is kept for ``invite_s`` for a device that was drawn for it. Then another is drawn as well, and the first
    of them that asks gets it: an invitation holds until all who were told to wait will have asked, at ``latest()``.
    """

    known: KnownDevices
    fleets: Fleets
    invite_s: float
    allow_fleets: bool
    latest: Callable[[], float]
    _invited: dict[bytes, Invitation] = field(default_factory=dict)  # the first expires first
    _kept: dict[bytes, float] = field(default_factory=dict)  # until when their places are; the first is first
    _training: dict[bytes, Invitation] = field(default_factory=dict)  # and some that do no more
    _last_expiry: float = 0.0
    _barren_until: float = 0.0

    def asked(self, device: bytes, device_id: str, now: float, drawn: bool) -> bool:
        if self.fleets.heard(device_id, now) or device in self._invited:
            return True
        if drawn:
            self.known.see(device, now)
        else:
            self.known.forget(device)
        return drawn

    def admits(self, device: bytes, free: int, now: float, rng: Random, reported: bool) -> bool:
        return free > 0 and device in self._invited

    def granted(self, device: bytes, live: LiveLeases) -> None:
        self._training[device] = self._invited.pop(device)
        self._kept.pop(device, None)
        if len(self._training) > 2 * len(live) + TRAINING_SLACK:
            self._forget_all_but(live)

    def _forget_all_but(self, live: LiveLeases) -> None:
        self._training = {device: each for device, each in self._training.items() if live.of(device) is not None}

    def fill(self, free: int, now: float, rng: Random, enlist: Enlist) -> None:
        """Invite devices until there is one for each of ``free`` places, as far as a few tries reach."""
        self._expire(now)
        wanted = min(free - len(self._kept), INVITED_PER_PLACE * free - len(self._invited))
        if wanted <= 0 or now < self._barren_until or not self._num_known(now):
            return
        invited = misses = 0
        while invited < wanted and invited + misses < DRAWS_MAX and misses < MISSES_MAX:
            if self._draw(now, rng, enlist):
                invited += 1
            else:
                misses += 1
        if not invited:
            self._barren_until = now + BARREN_S

    def _num_known(self, now: float) -> int:
        return len(self.fleets) + self.known.count(now)

    def _draw(self, now: float, rng: Random, enlist: Enlist) -> bool:
        """Whether one more device is invited."""
        drawn = self._any(now, rng)
        if drawn is None or drawn[0] in self._invited:
            return False
        device, name = drawn
        number = enlist(device)
        if number is None:
            return False
        self._last_expiry = max(now + self.invite_s, self.latest() + self.invite_s, self._last_expiry)
        self._invited[device] = Invitation(number, name, self._last_expiry)
        self._kept[device] = now + self.invite_s
        return True

    def _any(self, now: float, rng: Random) -> tuple[bytes, str] | None:
        of_fleets = len(self.fleets)
        number = rng.randrange(max(self._num_known(now), 1))
        if number < of_fleets:
            name = self.fleets.at(number)
            return device_hash(name), name
        device = self.known.draw(now, rng)
        return None if device is None else (device, "")

    def _expire(self, now: float) -> None:
        for device in [*takewhile(lambda device: self._kept[device] <= now, self._kept)]:
            del self._kept[device]
        for device in [*takewhile(lambda device: self._invited[device].expires_at <= now, self._invited)]:
            name = self._invited.pop(device).name
            if name:
                self.fleets.lapsed(name, now)

    def id_of(self, device: bytes) -> int | None:
        invitation = self._training.get(device)
        return None if invitation is None else invitation.id

    def register(self, fleet: FleetRange, now: float, saved_by: int) -> None:
        self.fleets.register(fleet, now, saved_by)

    def is_durable(self, fleet: FleetRange, commits: int) -> bool:
        return self.fleets.is_durable(fleet, commits)

    def shown(self, request: SelectionRequest, version: int, free: int, live: LiveLeases) -> dict[str, int]:
        """The asker itself, and devices of fleets: of its own, or of all when it does not say which is its own.

        Other devices are not named to it: who takes part is nobody's business.
        """
        self._forget_all_but(live)
        fleet, own = request.fleet, device_hash(request.device.device_id)
        mine = self._invited.get(own) or self._training.get(own)
        shown = {request.device.device_id: mine.id} if mine is not None else {}
        for each in chain(self._invited.values(), self._training.values()) if len(self.fleets) else ():
            if each.name and (fleet is None or fleet_of(each.name) == fleet.prefix) and len(shown) < SHOWN_MAX:
                shown[each.name] = each.id
        return shown

    def save(self) -> SavedFleets:
        return self.fleets.save()

    def load(self, saved: SavedFleets, now: float) -> None:
        if self.allow_fleets:  # a person may have thought better of it
            self.fleets.load(saved, now)
