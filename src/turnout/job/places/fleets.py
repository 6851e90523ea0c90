"""Devices for which a simulator speaks: ``prefix#0`` to ``prefix#(N-1)``, kept as ranges however many they are."""

import re
from dataclasses import dataclass

import msgspec

from turnout.messages import FleetRange

FLEETS_MAX = 64  #: Ranges known at once; one more replaces that which was silent longest.
MARK = "#"
_INDEX = re.compile("0|[1-9][0-9]{0,6}")


def fleet_of(device_id: str) -> str:
    """The prefix of the fleet of which this may be a device."""
    return device_id.rpartition(MARK)[0]


class SavedFleets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ranges, as of a commit: their simulators name them only once."""

    ranges: tuple[tuple[str, int], ...] = ()  #: Prefix, devices.


@dataclass(slots=True)
class _Fleet:
    devices: int
    saved_by: int  #: The number of the commit that makes it durable.
    heard_at: float  #: When one of its devices last asked, or it was registered.


class Fleets:
    """By prefix; the one heard of last stands last.

    One of which no device asks for ``silence_s`` though it is invited is forgotten. A simulator may be slow, and names
    its range only once: so time decides, and not how many invitations it lets lapse.
    """

    def __init__(self, silence_s: float) -> None:
        self._silence_s = silence_s
        self._fleets: dict[str, _Fleet] = {}
        self._total = 0

    def __len__(self) -> int:
        """Devices, not ranges."""
        return self._total

    def register(self, fleet: FleetRange, now: float, saved_by: int) -> None:
        """Know these devices from now on; what is news is durable with the commit ``saved_by``."""
        known = self._fleets.get(fleet.prefix)
        if known is not None and known.devices == fleet.devices:
            known.heard_at = now
            self._fleets[fleet.prefix] = self._fleets.pop(fleet.prefix)
            return
        self._forget(fleet.prefix)
        if len(self._fleets) >= FLEETS_MAX:
            self._forget(next(iter(self._fleets)))
        self._add(fleet.prefix, _Fleet(fleet.devices, saved_by, now))

    def is_durable(self, fleet: FleetRange, commits: int) -> bool:
        """Whether the range is in the commits so far: its simulator names it only until it is told so."""
        known = self._fleets.get(fleet.prefix)
        return known is not None and known.saved_by <= commits

    def heard(self, device_id: str, now: float) -> bool:
        """A device asks; whether it is one of these."""
        prefix, _, index = device_id.rpartition(MARK)
        fleet = self._fleets.get(prefix)
        if fleet is None or not _INDEX.fullmatch(index) or int(index) >= fleet.devices:
            return False
        fleet.heard_at = now
        self._fleets[prefix] = self._fleets.pop(prefix)
        return True

    def lapsed(self, device_id: str, now: float) -> None:
        """It did not take up its invitation."""
        prefix = fleet_of(device_id)
        fleet = self._fleets.get(prefix)
        if fleet is not None and now - fleet.heard_at > self._silence_s:
            self._forget(prefix)

    def at(self, number: int) -> str:
        """The id of one of them, by a number from 0 to below their count."""
        for prefix, fleet in self._fleets.items():
            if number < fleet.devices:
                return f"{prefix}{MARK}{number}"
            number -= fleet.devices
        raise IndexError(number)

    def save(self) -> SavedFleets:
        return SavedFleets(tuple((prefix, fleet.devices) for prefix, fleet in self._fleets.items()))

    def load(self, saved: SavedFleets, now: float) -> None:
        for prefix, devices in saved.ranges:
            self._add(prefix, _Fleet(devices, 0, now))

    def _add(self, prefix: str, fleet: _Fleet) -> None:
        self._fleets[prefix] = fleet
        self._total += fleet.devices

    def _forget(self, prefix: str) -> None:
        gone = self._fleets.pop(prefix, None)
        if gone is not None:
            self._total -= gone.devices
