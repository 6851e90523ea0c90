"""Devices for which a simulator speaks: ``prefix#0`` to ``prefix#(N-1)``, kept as ranges however many they are."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from turnout.messages import FleetRange

FLEETS_MAX = 64  #: Ranges known at once; one more replaces that which was silent longest.
SILENCE_MAX = 64  #: Invitations in a row that nobody of a range takes up before it is forgotten.
MARK = "#"
_INDEX = re.compile("0|[1-9][0-9]{0,6}")


def fleet_of(device_id: str) -> str:
    """The prefix of the fleet of which this may be a device."""
    return device_id.rpartition(MARK)[0]


@dataclass(slots=True)
class _Fleet:
    devices: int
    saved_by: int  #: The number of the commit that makes it durable.
    silent: int = 0  #: Invitations that lapsed since one of its devices last asked.


class Fleets:
    """By prefix; the one heard of last stands last."""

    def __init__(self) -> None:
        self._fleets: dict[str, _Fleet] = {}
        self._total = 0

    def __len__(self) -> int:
        """Devices, not ranges."""
        return self._total

    def register(self, fleet: FleetRange, saved_by: int) -> bool:
        """Know these devices from now on; whether that is news, to be durable with the commit ``saved_by``."""
        known = self._fleets.get(fleet.prefix)
        if known is not None and known.devices == fleet.devices:
            known.silent = 0
            return False
        self._forget(fleet.prefix)
        if len(self._fleets) >= FLEETS_MAX:
            self._forget(next(iter(self._fleets)))
        self._add(fleet.prefix, fleet.devices, saved_by)
        return True

    def is_durable(self, fleet: FleetRange, commits: int) -> bool:
        """Whether the range is in the commits so far: its simulator names it only until it is told so."""
        known = self._fleets.get(fleet.prefix)
        return known is not None and known.saved_by <= commits

    def heard(self, device_id: str) -> bool:
        """A device asks; whether it is one of these."""
        prefix, _, index = device_id.rpartition(MARK)
        fleet = self._fleets.get(prefix)
        if fleet is None or not _INDEX.fullmatch(index) or int(index) >= fleet.devices:
            return False
        fleet.silent = 0
        self._fleets[prefix] = self._fleets.pop(prefix)
        return True

    def lapsed(self, device_id: str) -> None:
        """It did not take up its invitation."""
        prefix = fleet_of(device_id)
        fleet = self._fleets.get(prefix)
        if fleet is not None:
            fleet.silent += 1
            if fleet.silent >= SILENCE_MAX:
                self._forget(prefix)

    def at(self, number: int) -> str:
        """The id of one of them, by a number from 0 to below their count."""
        for prefix, fleet in self._fleets.items():
            if number < fleet.devices:
                return f"{prefix}{MARK}{number}"
            number -= fleet.devices
        raise IndexError(number)

    def snapshot(self) -> tuple[tuple[str, int], ...]:
        return tuple((prefix, fleet.devices) for prefix, fleet in self._fleets.items())

    def restore(self, fleets: Iterable[tuple[str, int]]) -> None:
        for prefix, devices in fleets:
            self._add(prefix, devices, saved_by=0)

    def _add(self, prefix: str, devices: int, saved_by: int) -> None:
        self._fleets[prefix] = _Fleet(devices, saved_by)
        self._total += devices

    def _forget(self, prefix: str) -> None:
        gone = self._fleets.pop(prefix, None)
        if gone is not None:
            self._total -= gone.devices
