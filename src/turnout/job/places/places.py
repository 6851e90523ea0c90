"""Who holds a place, who may have one, and under which task number."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import NamedTuple

import msgspec

from turnout.job.places.counted import CountedTasks
from turnout.job.places.leases import Lease, LeaseTime, LiveLeases
from turnout.job.places.rows import Row, Rows, Table
from turnout.job.places.selection import Enlist, Selection

TASK_BLOCK = 65_536  #: Task numbers made durable at once, before they are given out. A new block at half of it.
RECENT_MAX = 1_000_000  #: Devices remembered for ``participation_interval_s``; the oldest beyond it may come early.
REPORTED_MAX = 65_536  #: Devices remembered until they ask again; the oldest beyond it is taken for one that waited.
TAKEN_MAX = 1_000_000  #: Devices that may have a task of one version; beyond it nobody new gets one until the next.
SPENT = -1  #: Instead of a task number: this device's task of the version was refused, it gets no other.
LOST_TIME_MAX_S = 3600.0  #: A restart sets job time back to the last commit: a lease may seem to be this much later.
MEASURED = -2  #: This device has measured the version; it may train it too, and measures it no more.


def _value(row: Row) -> int:
    _, task = row
    return msgspec.convert(task, int)


#: Which devices have had a task of the newest version, and which.
TAKEN: Table[bytes, int] = Table("taken", ("device", "task"), lambda taken: [*taken.items()], _value)


class SavedPlaces(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be known beside the rows of leases and of taken tasks, as of a commit."""

    reserved_until: int  #: Task numbers below this may have been given out; the next process begins here.
    durations: tuple[float, ...] = ()  #: Of the newest tasks, in seconds: the lease time follows from them.


class NoTask(NamedTuple):
    """Why a device gets no task now. ``midway``: it has just reported and not waited yet, as all others do."""

    reason: str
    midway: bool = False


@dataclass(slots=True)
class Places:
    """The places of a job and the task numbers given out with them. Times are job time, in seconds."""

    selection: Selection
    lease_time: LeaseTime
    weight_max: float  #: The cap put into each lease.
    resend_window_s: float
    participation_interval_s: float
    validate_share: float = 0.0  #: Of the tasks given to devices that can do it: to measure the model only.
    live: LiveLeases = field(default_factory=LiveLeases)
    next_task: int = 0
    reserved_until: int = 0  #: Numbers below this are durable as given out.
    _taken: dict[bytes, int] = field(default_factory=dict)  # device -> its task of this version, or SPENT
    _newly_taken: dict[bytes, int] = field(default_factory=dict)  # since ``changes`` was called last
    _all_new: bool = False
    _told: bool = False  # every change since the last commit has been told, or is in what was just named
    _reported: dict[bytes, None] = field(default_factory=dict)  # and not asked since; the oldest is first
    _recent: OrderedDict[bytes, float] = field(default_factory=OrderedDict)  # device -> when it may come again

    def ask(
        self,
        device: bytes,
        version: int,
        places: int,
        counted: CountedTasks,
        now: float,
        rng: Random,
        can_validate: bool = False,
        group: tuple[str, str] | None = None,
    ) -> Lease | NoTask:
        """The lease that ``device`` holds already, a new one, or why it gets none now.

        One task a device and version: a device that lost its place gets the same task again, so that however often
        it trains and reports, one result counts. Beside it a device may measure the version once.
        """
        lease = self.live.of(device)
        if lease is not None:
            return lease
        reported = device in self._reported
        self._reported.pop(device, None)
        free = places - len(self.live)
        self.selection.fill(free, now, rng, self.enlister(version, counted, now))
        refusal = self._refusal(device, version, counted, now)
        if refusal:
            return NoTask(refusal, midway=reported)
        if not self.selection.admits(device, free, now, rng, reported):
            return NoTask("others were chosen this time") if free > 0 else NoTask("no place is free", midway=reported)
        task = self._taken.get(device)
        measured = task == MEASURED
        if task is None or measured:
            if len(self._taken) >= TAKEN_MAX:
                return NoTask("too many devices have had a task of this model version")
            if self.next_task >= self.reserved_until:
                return NoTask("task numbers are being reserved")
            task = self._number()
        if can_validate and not measured and self.validate_share > 0 and rng.random() < self.validate_share:
            return self._grant(device, version, task, counted, now, True, group)
        return self._grant(device, version, task, counted, now, group=group)

    def can_have_given(self, lease: Lease, counted: CountedTasks, now: float) -> bool:
        """Whether this job can have sealed ``lease``, whose version is known: who has the key can seal any numbers."""
        return (
            counted.numbered(lease.version, lease.task, self.next_task)
            and 0 < lease.weight_max <= self.weight_max
            and 0 <= lease.granted_at <= now + LOST_TIME_MAX_S
            and lease.granted_at < lease.expires_at <= lease.granted_at + self.lease_time.max_s
        )

    def _refusal(self, device: bytes, version: int, counted: CountedTasks, now: float) -> str:
        """Why this device may have no task now, however many places are free; empty when it may."""
        task = self._taken.get(device)
        if task is not None and (task == SPENT or counted.has(version, task)):
            return "this device has done its task of this model version"
        if self._recent and self._recent.get(device, now) > now:
            return "this device took part only a short while ago"
        return ""

    def enlister(self, version: int, counted: CountedTasks, now: float) -> Enlist:
        """Tells a selection which devices it may choose. The ids of selections come from the task numbers: they are
        never used again either, not even after a crash.
        """
        return partial(self._enlist, version, counted, now)

    def _enlist(self, version: int, counted: CountedTasks, now: float, device: bytes) -> int | None:
        if self.live.of(device) is not None or self._refusal(device, version, counted, now):
            return None
        return self._number() + 1 if self.next_task < self.reserved_until else None

    def _number(self) -> int:
        """A task number that was never given out and never will be again."""
        self.next_task += 1
        return self.next_task - 1

    def _grant(
        self,
        device: bytes,
        version: int,
        task: int,
        counted: CountedTasks,
        now: float,
        validate: bool = False,
        group: tuple[str, str] | None = None,
    ) -> Lease:
        expires_at = now + self.lease_time.lease_s
        lease = Lease(version, task, device, self.weight_max, now, expires_at, validate, group)
        self._take(device, task)
        self.live.add(lease)
        self.selection.granted(device, self.live)
        counted.keep(version, lease.expires_at + self.resend_window_s)
        if self.participation_interval_s > 0:
            self._remember(device, now)
        return lease

    def _remember(self, device: bytes, now: float) -> None:
        self._recent[device] = now + self.participation_interval_s
        self._recent.move_to_end(device)
        while len(self._recent) > RECENT_MAX or next(iter(self._recent.values())) <= now:
            self._recent.popitem(last=False)

    def reported(self, lease: Lease, now: float, trained: bool = True) -> bool:
        """A result of ``lease`` is here: its place is free. Returns whether it still held one.

        How long it took is learned once a lease, whatever the result is worth: a device that sends rubbish again and
        again must not set everybody's lease time. Nor may one that reports a failure, which may come at once.
        """
        held = self.live.end(lease.device, lease.task)
        self._reported[lease.device] = None
        if len(self._reported) > REPORTED_MAX:
            del self._reported[next(iter(self._reported))]
        if held and trained:
            self.lease_time.observe(now - lease.granted_at)
        return held

    def measured(self, lease: Lease) -> None:
        """Its result, of measuring only, is here: the device may train the same version."""
        if self._taken.get(lease.device) == lease.task:
            self._take(lease.device, MEASURED)

    def refuse(self, lease: Lease) -> None:
        """Its result was refused: the device gets no second try in this version."""
        if self._taken.get(lease.device) == lease.task:
            self._take(lease.device, SPENT)

    def void(self, version: int, counted: CountedTasks) -> None:
        """No task that is out will be reported: a device that has one of this version may get another."""
        self.live.end_older(version + 1)
        self._taken = {device: task for device, task in self._taken.items() if task < 0 or counted.has(version, task)}
        self._newly_taken, self._all_new = self._taken.copy(), True

    def new_version(self) -> None:
        """Every device may have a task of the version that begins."""
        self._taken.clear()
        self._newly_taken.clear()
        self._all_new = True

    def taken(self) -> dict[bytes, int]:
        return self._taken.copy()

    def save(self) -> SavedPlaces:
        return SavedPlaces(self.next_task + TASK_BLOCK, self.lease_time.durations())

    def load(self, saved: SavedPlaces) -> None:
        """Numbers below ``reserved_until`` may be out there: none is used again."""
        self.next_task = saved.reserved_until
        self.lease_time.restore(saved.durations)

    def rows(self, closes: bool) -> tuple[Rows[int, Lease], Rows[bytes, int]]:
        """Leases and taken tasks that came or went since this was called last; all, when nobody knows.

        ``closes``: with this commit a new version begins, and everybody may have a task of it.
        """
        live, told = self.live, self._told
        leases = Rows(live.come, live.gone) if told else Rows(live.by_task(), whole=True)
        newly = self._newly_taken if told else self._taken.copy()
        taken = Rows({} if closes else newly, whole=closes or self._all_new or not told)
        live.come, live.gone, self._newly_taken, self._all_new, self._told = {}, set(), {}, False, True
        return leases, taken

    def load_rows(self, leases: Mapping[int, Lease], taken: Mapping[bytes, int]) -> None:
        self.live = LiveLeases(sorted(leases.values(), key=lambda lease: lease.granted_at))
        self._taken = dict(taken)
        self.lose_changes()

    def lose_changes(self) -> None:
        """The commit that they were for did not happen."""
        self._told = False

    def _take(self, device: bytes, task: int) -> None:
        self._taken[device] = self._newly_taken[device] = task
