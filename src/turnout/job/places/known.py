"""The devices that asked lately: any number, in 23 to 70 bytes each, and one of them drawn in constant time.

A hash table of device hashes side by side. How long ago a device asked is one byte beside it. Forgetting those that
were silent, and moving to a table of another size, are done a few slots at a time, so that no ask waits for it.
"""

from random import Random

from turnout.job.places.leases import DEVICE_HASH_BYTES

KNOWN_MAX = 10_000_000  #: Devices; one beyond is drawn only once others were silent.
SLOTS_MIN = 8  #: A power of two, as all sizes are.
FULL = 0.75  #: The share of slots in use at which the table doubles,
SPARSE = 0.125  #: and that at which it is halved.
SLOTS_PER_ASK = 2  #: Looked at with each ask, to forget who was silent;
SLOTS_PER_MOVE = 8  #: while the table moves to another size: more than can be added;
SLOTS_PER_LOSS = 64  #: while most of those in it are to be forgotten.
MOSTLY = 4  #: So many times as many as are known.
AGES = 255  #: Ages a byte can tell; 0 marks a free slot.
STEPS = 2  #: Of age, within which a device must ask again.
DRAWS_MAX = 200  #: Slots tried for one device. With one of nine in use, none is found once in 10^10 times.
HASH_BITS = 64
HASH_MASK = 2**HASH_BITS - 1


class KnownDevices:
    """By hash. A device is known for ``known_s`` after its last ask, and for at most half as long again.

    ``secret`` scatters them: nobody who does not know it can make up devices that stand in each other's way.
    """

    def __init__(self, known_s: float, secret: bytes) -> None:
        self._step_s = known_s / STEPS
        self._key = int.from_bytes(secret[: HASH_BITS // 8]) | 1
        self._start_anew(0.0)

    def _start_anew(self, now: float) -> None:
        self._table = _Table(SLOTS_MIN, self._key)
        self._leaving: _Table | None = None  # of another size, until all in it have moved
        self._hand = 0  # the slot looked at next: of that which is left, or else of the table
        self._last = now
        self._seen_age = 0
        self._mostly_silent = False

    def count(self, now: float) -> int:
        """How many are known."""
        age = self._age(now)
        ages = [(age - 1 - back) % AGES + 1 for back in range(STEPS + 1)]
        tables = (self._table,) if self._leaving is None else (self._table, self._leaving)
        return sum(table.of_age[each] for table in tables for each in ages)

    def _all(self) -> int:
        """With those that are to be forgotten."""
        return self._table.count + (self._leaving.count if self._leaving is not None else 0)

    def see(self, device: bytes, now: float) -> None:
        """``device`` asks. Times are in seconds, and never go back."""
        if now - self._last > (STEPS + 1) * self._step_s:  # all were silent, and ages are known for that long only
            self._start_anew(now)
        self._last = now
        age = self._age(now)
        if self._leaving is not None:
            self._leaving.drop(device)
        if self._all() < KNOWN_MAX or self._table.has(device):
            self._table.put(device, age)
        if age != self._seen_age:
            self._seen_age = age
            self._mostly_silent = self._all() > MOSTLY * self.count(now)
        looks = SLOTS_PER_ASK if self._leaving is None else SLOTS_PER_MOVE
        for _ in range(SLOTS_PER_LOSS if self._mostly_silent else looks):
            self._look(age)
        self._fit()

    def forget(self, device: bytes) -> None:
        """It is not to be drawn until it asks again."""
        self._table.drop(device)
        if self._leaving is not None:
            self._leaving.drop(device)

    def draw(self, now: float, rng: Random) -> bytes | None:
        """One of them, each as likely as any other; None when there is none, or luck is very bad."""
        age, table, leaving = self._age(now), self._table, self._leaving
        slots = len(table.ages) + (len(leaving.ages) if leaving is not None else 0)
        for _ in range(DRAWS_MAX if self._all() else 0):
            slot, of = rng.randrange(slots), table
            if slot >= len(table.ages):
                assert leaving is not None
                slot, of = slot - len(table.ages), leaving
            if of.ages[slot] and not _old(of.ages[slot], age):
                return of.at(slot)
        return None

    @property
    def num_bytes(self) -> int:
        """What they take of the memory."""
        tables = (self._table,) if self._leaving is None else (self._table, self._leaving)
        return sum(len(table.keys) + len(table.ages) for table in tables)

    def _age(self, now: float) -> int:
        return int(now / self._step_s) % AGES + 1

    def _look(self, age: int) -> None:
        """At the next slot: each device there is forgotten, moves or stays."""
        of = self._table if self._leaving is None else self._leaving
        slot = self._hand % len(of.ages)
        found = of.ages[slot]
        gone = bool(found) and _old(found, age)
        if found and (gone or of is self._leaving):
            device = of.at(slot)
            of.remove(slot)  # another may come to stand here: look again
            if not gone:
                self._table.put(device, found)
        else:
            self._hand = slot + 1
        if self._leaving is not None and not self._leaving.count:
            self._leaving, self._hand = None, 0

    def _fit(self) -> None:
        """Begin to move when the size is wrong. By the time that the next move is due, this one is done."""
        slots, count = len(self._table.ages), self._table.count
        if self._leaving is None and count >= FULL * slots:
            self._leaving, self._table, self._hand = self._table, _Table(2 * slots, self._key), 0
        elif self._leaving is None and count < SPARSE * slots and slots > SLOTS_MIN:
            self._leaving, self._table, self._hand = self._table, _Table(slots // 2, self._key), 0


def _old(age: int, current: int) -> bool:
    return (current - age) % AGES > STEPS


class _Table:
    """Open addressing with linear probing; where one is removed, others move back (Knuth 6.4, algorithm R)."""

    __slots__ = ("_key", "_shift", "ages", "count", "keys", "of_age")

    def __init__(self, slots: int, key: int) -> None:
        self.keys = bytearray(slots * DEVICE_HASH_BYTES)
        self.ages = bytearray(slots)
        self.count = 0
        self.of_age = [0] * (AGES + 1)
        self._key = key
        self._shift = HASH_BITS - (slots - 1).bit_length()

    def at(self, slot: int) -> bytes:
        return bytes(self.keys[slot * DEVICE_HASH_BYTES : (slot + 1) * DEVICE_HASH_BYTES])

    def has(self, device: bytes) -> bool:
        return bool(self.ages[self._find(device)])

    def put(self, device: bytes, age: int) -> None:
        slot = self._find(device)
        if self.ages[slot]:
            self.of_age[self.ages[slot]] -= 1
        else:
            self.count += 1
        self.of_age[age] += 1
        self._set(slot, device, age)

    def drop(self, device: bytes) -> None:
        slot = self._find(device)
        if self.ages[slot]:
            self.remove(slot)

    def remove(self, slot: int) -> None:
        free, size = slot, len(self.ages)
        self.of_age[self.ages[slot]] -= 1
        while True:
            slot = (slot + 1) % size
            if not self.ages[slot]:
                break
            device = self.at(slot)
            if (slot - self._home(device)) % size >= (slot - free) % size:  # it may stand at the free slot
                self._set(free, device, self.ages[slot])
                free = slot
        self.ages[free] = 0
        self.count -= 1

    def _find(self, device: bytes) -> int:
        """Its slot, or the free one where it would stand."""
        slot, size = self._home(device), len(self.ages)
        while self.ages[slot] and self.at(slot) != device:
            slot = (slot + 1) % size
        return slot

    def _home(self, device: bytes) -> int:
        """Multiplicative hashing with an odd key (Dietzfelbinger et al. 1997): the upper bits of the product."""
        product: int = int.from_bytes(device[:8]) * self._key & HASH_MASK
        return product >> self._shift

    def _set(self, slot: int, device: bytes, age: int) -> None:
        self.keys[slot * DEVICE_HASH_BYTES : (slot + 1) * DEVICE_HASH_BYTES] = device
        self.ages[slot] = age
