"""When a device that got no task shall return: an appointment book with no memory per device.

Bonawitz et al. 2019 (section 2.3) call this pace steering. Ours hands out appointments one after the other at the
rate at which the job wants to be asked. Estimating the population instead oscillates by a factor of eight.
"""

from math import ceil
from random import Random

import msgspec

JITTER = 0.2  #: Share of a wait by which it is spread, so that devices told the same do not come the same moment.
DEADLINE_SPREAD = 0.5  #: Share of the time to a deadline over which all are spread who would come after it.
BIN_S = 5.0  #: Returns are compared with appointments in bins this long.
SHARE_MIN = 0.1  #: However few return, at most ten devices are told each moment.
SHARE_WEIGHT = 0.3  #: How much the latest bin says about the share that returns.
SLOTS_MAX = 2000  #: Waiting devices are counted in slots shorter than a wait; the longest wait has at most this many.
SLOT_MIN_S = 0.1
WHOLE_S = 1.0  #: Waits are told in whole seconds, but for Android.
MEASURABLE = 10  #: A bin with fewer appointments than this says nothing.


class SavedPacing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first free appointment, as of a commit."""

    next_free: float = 0.0


class AppointmentBook:
    """``rate`` is asks per second wanted from waiting devices; waits lie within ``wait_min_s`` and ``wait_max_s``."""

    def __init__(self, rate: float, wait_min_s: float, wait_max_s: float, next_free: float = 0.0) -> None:
        self.rate = rate
        self.next_free = next_free
        self.share = 1.0  #: Observed share of told devices that do return.
        self.latest = 0.0  #: By then all who were told to wait will have come, if they do.
        self._min, self._max = wait_min_s, wait_max_s
        self._booked: dict[int, int] = {}  # appointments by bin; at most wait_max_s / BIN_S entries
        self._bin = 0
        self._arrived = 0
        self._slot_s = min(BIN_S, max(wait_min_s / 2, wait_max_s / SLOTS_MAX, SLOT_MIN_S))
        self._due: dict[int, int] = {}  # appointments by slot, from the first that is not over
        self._first_slot = 0
        self._num_due = 0  # in all of these

    def save(self) -> SavedPacing:
        return SavedPacing(self.next_free)

    def load(self, saved: SavedPacing) -> None:
        self.next_free = saved.next_free

    def arrived(self, now: float) -> None:
        """A device asked."""
        current = int(now // BIN_S)
        if current != self._bin:
            self._compare(current)
        self._arrived += 1

    def wait(
        self,
        now: float,
        rng: Random,
        until: float | None = None,
        least_s: float = 0.0,
        step_s: float = 0.0,
        midway: bool = False,
    ) -> float:
        """How long a device shall wait, in seconds; not past ``until`` (a waiting cohort's deadline).

        Not less than ``least_s``, as far as the bounds allow. ``midway``: the rest of such a wait, from any moment of
        it. ``step_s``: it will hear the next whole multiple of this.
        """
        self.next_free = max(self.next_free, now) + self.share / self.rate
        self.next_free = min(self.next_free, now + self._max)
        wait = (self.next_free - now) * (1 + JITTER * (2 * rng.random() - 1))
        if until is not None and wait > until - now:
            wait = (until - now) * (1 - DEADLINE_SPREAD * rng.random())
        if wait < least_s:
            wait = least_s * (1 + JITTER * rng.random())
        wait = min(max(wait, self._min), self._max)
        if midway:
            wait *= rng.random()
        self._book(now + (ceil(wait / step_s) * step_s if step_s else wait))
        return wait

    def _book(self, at: float) -> None:
        due = int(at // BIN_S)
        self._booked[due] = self._booked.get(due, 0) + 1
        slot = int(at // self._slot_s)
        self._due[slot] = self._due.get(slot, 0) + 1
        self._num_due += 1
        self.latest = max(self.latest, at)

    def waiting(self, now: float) -> int:
        """About how many devices will still come, of those who were told to."""
        self._pass_slots(int(now // self._slot_s))
        return round(self.share * self._num_due)

    def _pass_slots(self, current: int) -> None:
        """Forget the slots before ``current``."""
        if current - self._first_slot > len(self._due):
            self._due = {slot: n for slot, n in self._due.items() if slot >= current}
            self._num_due = sum(self._due.values())
        else:
            for slot in range(self._first_slot, current):
                self._num_due -= self._due.pop(slot, 0)
        self._first_slot = max(self._first_slot, current)

    def _compare(self, current: int) -> None:
        booked = self._booked.get(self._bin, 0)
        if booked >= MEASURABLE:
            seen = min(max(self._arrived / booked, SHARE_MIN), 1.0)
            self.share += SHARE_WEIGHT * (seen - self.share)
        self._booked = {due: n for due, n in self._booked.items() if due >= current}
        self._pass_slots(int(current * BIN_S // self._slot_s))
        self._bin, self._arrived = current, 0
