"""When a device that got no task shall return: an appointment book with no memory per device.

Bonawitz et al. 2019 (section 2.3) call this pace steering. Ours hands out appointments one after the other at the
rate at which the job wants to be asked. Estimating the population instead oscillates by a factor of eight.
"""

from random import Random

JITTER = 0.2  #: Share of a wait by which it is spread, so that devices told the same do not come the same moment.
DEADLINE_SPREAD = 0.5  #: Share of the time to a deadline over which all are spread who would come after it.
BIN_S = 5.0  #: Returns are compared with appointments in bins this long.
SHARE_MIN = 0.1  #: However few return, at most ten devices are told each moment.
SHARE_WEIGHT = 0.3  #: How much the latest bin says about the share that returns.
SLOTS_MAX = 2000  #: Who waits is counted in slots shorter than a wait, of which the longest wait has at most so many.
SLOT_MIN_S = 0.1
MEASURABLE = 10  #: A bin with fewer appointments than this says nothing.


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
        self._due: dict[int, int] = {}  # appointments by slot

    def arrived(self, now: float) -> None:
        """A device asked."""
        current = int(now // BIN_S)
        if current != self._bin:
            self._compare(current)
        self._arrived += 1

    def wait(self, now: float, rng: Random, until: float | None = None, least_s: float = 0.0) -> float:
        """How long a device shall wait, in seconds; not past ``until`` (a waiting cohort's deadline).

        Not less than ``least_s``, as far as the bounds allow.
        """
        self.next_free = max(self.next_free, now) + self.share / self.rate
        self.next_free = min(self.next_free, now + self._max)
        wait = (self.next_free - now) * (1 + JITTER * (2 * rng.random() - 1))
        if until is not None and wait > until - now:
            wait = (until - now) * (1 - DEADLINE_SPREAD * rng.random())
        if wait < least_s:
            wait = least_s * (1 + JITTER * rng.random())
        wait = min(max(wait, self._min), self._max)
        due = int((now + wait) // BIN_S)
        self._booked[due] = self._booked.get(due, 0) + 1
        slot = int((now + wait) // self._slot_s)
        self._due[slot] = self._due.get(slot, 0) + 1
        self.latest = max(self.latest, now + wait)
        return wait

    def waiting(self, now: float) -> int:
        """About how many devices will still come, of those who were told to."""
        current = int(now // self._slot_s)
        return round(self.share * sum(devices for slot, devices in self._due.items() if slot >= current))

    def _compare(self, current: int) -> None:
        booked = self._booked.get(self._bin, 0)
        if booked >= MEASURABLE:
            seen = min(max(self._arrived / booked, SHARE_MIN), 1.0)
            self.share += SHARE_WEIGHT * (seen - self.share)
        self._booked = {due: n for due, n in self._booked.items() if due >= current}
        begin = int(current * BIN_S // self._slot_s)
        self._due = {slot: n for slot, n in self._due.items() if slot >= begin}
        self._bin, self._arrived = current, 0
