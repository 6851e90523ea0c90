"""Selection by lot: free places are drawn among all devices known, and whoever is drawn is *invited* for a while.

FedAvg and FedBuff assume a uniform sample. Giving places to who asks prefers devices that ask often; drawing among
those that asked lately does not. Drawing takes the same time however many devices are known.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

from turnout.job.fleets import Fleets, fleet_of
from turnout.job.known import KnownDevices
from turnout.job.leases import LiveLeases, device_hash
from turnout.job.selection import Enlist, Ranges
from turnout.messages import FleetRange, SelectionRequest

DRAWS_MAX = 64  #: Tries to fill free places, each time a device asks.
BARREN_S = 0.05  #: After that many tries for nothing, no other is made for so long: few of those known may take part.
SHOWN_MAX = 10_000  #: Devices that one answer names.


@dataclass(frozen=True, slots=True)
class Invitation:
    """``name`` is the device's id where a fleet's simulator is to be told of it; of others only the hash is known."""

    id: int
    name: str
    expires_at: float


@dataclass(slots=True)
class Cohort:
    """An invitation holds for ``invite_s`` after all who were told to wait will have asked again, at ``latest()``.

    So no place is given to another before whoever was drawn for it could have known.
    """

    known: KnownDevices
    invite_s: float
    devices_min: int  #: No draw before so many are known.
    allow_fleets: bool
    latest: Callable[[], float]
    fleets: Fleets = field(default_factory=Fleets)
    _invited: dict[bytes, Invitation] = field(default_factory=dict)  # the first expires first
    _training: dict[bytes, Invitation] = field(default_factory=dict)  # by places: see ``shown``
    _last_expiry: float = 0.0
    _barren_until: float = 0.0

    def asked(self, device: bytes, device_id: str, now: float) -> None:
        if not self.fleets.heard(device_id):
            self.known.see(device, now)

    def admits(self, device: bytes, free: int, now: float, rng: Random, enlist: Enlist) -> bool:
        self.fill(free, now, rng, enlist)
        return free > 0 and device in self._invited

    def granted(self, device: bytes) -> None:
        self._training[device] = self._invited.pop(device)

    def fill(self, free: int, now: float, rng: Random, enlist: Enlist) -> None:
        """Invite devices until there are as many as ``free`` places, as far as a few tries reach."""
        self._expire(now)
        wanted = free - len(self._invited)
        if wanted <= 0 or now < self._barren_until or len(self.known) + len(self.fleets) < self.devices_min:
            return
        invited = 0
        for _ in range(DRAWS_MAX):
            invited += self._draw(now, rng, enlist)
            if invited == wanted:
                return
        if not invited:
            self._barren_until = now + BARREN_S

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
        return True

    def _any(self, now: float, rng: Random) -> tuple[bytes, str] | None:
        of_fleets = len(self.fleets)
        number = rng.randrange(of_fleets + len(self.known))
        if number < of_fleets:
            name = self.fleets.at(number)
            return device_hash(name), name
        device = self.known.draw(now, rng)
        return None if device is None else (device, "")

    def _expire(self, now: float) -> None:
        while self._invited:
            device, first = next(iter(self._invited.items()))
            if first.expires_at > now:
                return
            del self._invited[device]
            if first.name:
                self.fleets.lapsed(first.name)

    def id_of(self, device: bytes) -> int | None:
        invitation = self._training.get(device)
        return None if invitation is None else invitation.id

    def register(self, fleet: FleetRange, saved_by: int) -> bool:
        return self.fleets.register(fleet, saved_by)

    def is_durable(self, fleet: FleetRange, commits: int) -> bool:
        return self.fleets.is_durable(fleet, commits)

    def shown(self, request: SelectionRequest, version: int, free: int, live: LiveLeases) -> dict[str, int]:
        """The asker itself, and devices of fleets: of its own, or of all when it does not say which is its own.

        Other devices are not named to it: who takes part is nobody's business.
        """
        self._training = {device: each for device, each in self._training.items() if live.of(device) is not None}
        fleet, own = request.fleet, device_hash(request.device.device_id)
        selected = {**self._invited, **self._training}
        shown = {request.device.device_id: selected[own].id} if own in selected else {}
        for each in selected.values():
            if each.name and (fleet is None or fleet_of(each.name) == fleet.prefix) and len(shown) < SHOWN_MAX:
                shown[each.name] = each.id
        return shown

    def snapshot(self) -> Ranges:
        return self.fleets.snapshot()

    def restore(self, fleets: Iterable[tuple[str, int]]) -> None:
        self.fleets.restore(fleets)
