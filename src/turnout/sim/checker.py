"""Knows what was really trained, and holds words and disk of the system against that; the sums are in ``books.py``."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from turnout.aggregator.mean import SavedSum
from turnout.aggregator.typical import Norms
from turnout.blobs.base import BlobRef
from turnout.job.account.tally import SavedTally
from turnout.job.account.warnings import SavedWarnings
from turnout.job.core import answers
from turnout.job.core.events import Finish
from turnout.job.folder.spec import BufferedTraining, JobSpec
from turnout.job.journal.journal import SavedJob, Snapshot
from turnout.job.places.counted import COUNTED, CountedTasks
from turnout.job.places.leases import LEASES, Lease
from turnout.job.places.places import TAKEN, SavedPlaces
from turnout.job.workflow.made import SavedMade
from turnout.job.workflow.pause import SavedPause
from turnout.job.workflow.published import SavedModels
from turnout.job.workflow.ranking import SavedRanking
from turnout.messages import VALIDATED, ResultOffer, ResultReport, ResultResponse, Status, TaskResponse
from turnout.sim.books import Books, Part, Violation
from turnout.sim.hooks import Hooks
from turnout.sim.reference import discount_of, weight_of

ANSWER_TIMEOUT_S = 9.0  #: A gateway answers a result within 8 s, and a tick; existing devices hang up after 10.
ROUNDING_S = 0.001  #: A device is told its lease in milliseconds.

#: What the first snapshot of a process need not have in common with the last of its predecessor: time went on, numbers
#: were reserved, the newest version is not published yet, and there may be something to warn of.
DIFFERS_AFTER_RESTART = (SavedJob, SavedPlaces, SavedModels, SavedWarnings)


@dataclass(frozen=True, slots=True)
class Given:
    """A task that was given out."""

    device: int
    version: int


class Checker:
    """Sees every task given, every result sent, every commit and every answer."""

    def __init__(self, size: int, spec: JobSpec, hooks: Hooks, clock: Callable[[], float]) -> None:
        """The model has ``size`` numbers, one for each device."""
        self.size = size
        self.books = Books(size, spec)
        self.strangers: set[int] = set()  #: Devices of which nothing may count.
        self.blobs: dict[str, bytes] = {}  #: The models that are on the disk.
        self._spec = spec
        self._hooks = hooks
        self._staleness_max = spec.training.staleness_max if isinstance(spec.training, BufferedTraining) else 0
        self._clock = clock
        self.durable: Snapshot | None = None
        self._given: dict[int, Given] = {}  # by task number
        self._number_of: dict[str, int] = {}  # task id -> task number
        self._known_until: dict[int, float] = {}  # task number -> job time until which a resend must be known again
        #: By task number, of results under way at any time: the examples, by whether it measured only.
        self._sent: dict[int, dict[bool, float]] = defaultdict(dict)
        self._told_counted: set[int] = set()
        self._told_refused: set[int] = set()  # not counted, and never will be
        self._in_bitmaps: set[int] = set()  # counted, says the disk
        self._ended_leases: set[Lease] = set()  # held a place in an earlier commit, and none in a later one
        self._published: dict[int, BlobRef] = {}
        self._granted: dict[tuple[int, bytes], float] = {}  # by process and device: job time of its last task
        self.refused_elsewhere: set[str] = set()  #: Tasks whose results a gateway refused, and told the job so.
        #: Commits that are under way, also those of processes that were replaced.
        self._begun: list[tuple[Snapshot, Mapping[int, Lease], Mapping[bytes, int]]] = []
        self.seen: dict[str, int] = defaultdict(int)

    # --- tasks and results -------------------------------------------------------------------------------------

    def task_given(self, device_id: str, lease: Lease, response: TaskResponse, now: float, incarnation: int) -> None:
        """The job, in one of its processes, gives this device this task. ``now`` is job time."""
        model = response.task_data
        assert response.task_id is not None
        assert response.lease_s is not None
        assert model is not None
        number, given = lease.task, Given(index_of(device_id), lease.version)
        if self.durable is None or model.meta["model_version"] != lease.version or lease.version > self.durable.version:
            raise Violation(f"device {device_id} was given version {lease.version}, which is not durable")
        holder = self._given.setdefault(number, given)
        if holder != given:
            raise Violation(f"task {number} was given to {holder} and to {given}")
        if response.lease_s > self._spec.leases.max_s + ROUNDING_S:
            raise Violation(f"task {number} is leased for {response.lease_s} s")
        if now - lease.granted_at < ROUNDING_S:  # else it was given before, and the device asked again
            self._check_interval(lease, incarnation)
        self._number_of[response.task_id] = number
        until = now + response.lease_s + self._spec.leases.resend_window_s - ROUNDING_S
        self._known_until[number] = min(until, self._known_until.get(number, until))
        self.seen["tasks to measure" if lease.validate else "tasks"] += 1

    def _check_interval(self, lease: Lease, incarnation: int) -> None:
        """A device takes part no more often than it should, as far as one process knows."""
        last = self._granted.get((incarnation, lease.device))
        interval_s = self._spec.selection.participation_interval_s
        if last is not None and last < lease.granted_at < last + interval_s - ROUNDING_S:
            raise Violation(f"task {lease.task} was given {lease.granted_at - last:.1f} s after the last of its device")
        self._granted[(incarnation, lease.device)] = lease.granted_at

    def model_named(self, response: TaskResponse) -> None:
        """A process that was not replaced names this model to a device."""
        if response.task_data is not None and response.task_data.sha256 not in self.blobs:
            raise Violation(f"a device was given the model {response.task_data.sha256}, which is not there")

    def result_sent(self, report: ResultReport) -> None:
        self._sent[self._number_of[report.task_id]][report.status == VALIDATED] = report.num_examples
        self.seen["results sent"] += 1

    def published(self, version: int, blob: BlobRef) -> None:
        """Devices get this version from now on."""
        if self._published.setdefault(version, blob) != blob:
            raise Violation(f"version {version} was published as two models")

    # --- the disk ----------------------------------------------------------------------------------------------

    def committed(self, written: Snapshot, read: bool = False) -> None:
        """The journal holds this now, known or not: it is the exact sum of the tasks it says are counted.

        ``read``: it was found there, whoever wrote it.
        """
        before, durable = self.durable, written.after(self.durable)
        self.durable = durable
        self._version_before = before.version if before is not None else 0
        newly = self._newly_counted(durable)
        self._book(newly, durable)
        self._check_counts(durable)
        self._check_kept(durable)
        if before is not None:
            self._check_staleness(newly, before)
            self._check_leases(durable, before)
        if not read:
            self._check_changes(written, durable)

    def loaded(self, found: Snapshot | None) -> None:
        """The process that holds the job reads this: what was committed, or a commit more that said it had failed."""
        known = self.durable.commit if self.durable is not None else 0
        commit = found.commit if found is not None else 0
        if commit < known:
            raise Violation(f"commit {known} was durable, and the journal ends at commit {commit}")
        if found is not None and commit > known:
            self.seen["commits that happened all the same"] += 1
            self.committed(found, read=True)

    def reads_back(self, found: Snapshot | None) -> None:
        """What anybody reads after a commit is what was committed."""
        written = self.durable
        if found is None or written is None:
            return
        same = (found.commit, found.version, found.sections) == (written.commit, written.version, written.sections)
        same &= all(found.rows(table) == written.rows(table) for table in written.tables)
        if not same or not all(np.array_equal(found.vectors[name], written.vectors[name]) for name in written.vectors):
            raise Violation(f"commit {written.commit} is read back as something else")
        self.seen["commits read back"] += 1

    def _book(self, newly: set[int], durable: Snapshot) -> None:
        """Tell the books of these results.

        A device that lost its task may get it again to measure, and report both. Whichever came first counts, which
        only the job knows: the books must be right in one of the ways in which it may have been.
        """
        wrong: Violation | None = None
        ways = self._ways(newly, durable)
        for measured in ways:
            books = self.books if len(ways) == 1 else deepcopy(self.books)
            books.measured += len(measured)
            try:
                books.committed(durable, [self._part(number) for number in newly - measured])
            except Violation as violation:
                wrong = wrong or violation
            else:
                self.books = books
                return
        assert wrong is not None
        raise wrong

    def _ways(self, newly: set[int], durable: Snapshot) -> list[set[int]]:
        """Which of these may have measured only: as many as the job says."""
        measured = {number for number in newly if False not in self._sent[number]}
        either = sorted(number for number in newly if len(self._sent[number]) > 1)
        more = durable.of(SavedMade).measured - self.books.measured - len(measured)
        return [measured.union(some) for some in combinations(either, min(max(more, 0), len(either)))]

    def _part(self, number: int) -> Part:
        """What the result of this task should bring to the sum."""
        given = self._given[number]
        examples = self._sent[number][False]
        weight = weight_of(self._spec, examples, self._hooks.factor(examples))
        return Part(given.device, weight, discount_of(self._spec, self._version_before - given.version))

    def _newly_counted(self, durable: Snapshot) -> set[int]:
        """The task numbers that were not counted before this commit."""
        counted = CountedTasks(durable.rows(COUNTED).values())
        newly = set()
        for number, given in self._given.items():
            if counted.has(given.version, number):
                if number not in self._in_bitmaps:
                    newly.add(number)
            elif counted.knows(given.version) and number in self._in_bitmaps:
                raise Violation(f"task {number} was counted, and now it is not")
        self._in_bitmaps |= newly
        invented = newly - self._sent.keys()
        if invented:
            raise Violation(f"tasks {sorted(invented)} are counted, and nobody sent them")
        strange = {number for number in newly if self._given[number].device in self.strangers}
        if strange:
            raise Violation(f"tasks {sorted(strange)} are counted, and their updates are far from all others")
        return newly

    def _check_counts(self, durable: Snapshot) -> None:
        said, moved = durable.of(SavedTally).counted, durable.of(Norms).taken
        if said != len(self._in_bitmaps):
            raise Violation(f"{len(self._in_bitmaps)} tasks are counted, people see {said}")
        trained = len(self._in_bitmaps) - self.books.measured
        least = trained - self.books.dropped  # where training diverged, the norm goes back
        if not least <= moved <= trained:
            raise Violation(f"{trained} updates are counted, and {moved} moved the median norm")
        self._check_words()

    def _check_staleness(self, newly: set[int], before: Snapshot) -> None:
        """What a commit adds was taken at the version that was durable before it."""
        for number in newly:
            staleness = before.version - self._given[number].version
            if staleness > self._staleness_max:
                raise Violation(f"task {number} was counted at a staleness of {staleness}")

    def _check_kept(self, durable: Snapshot) -> None:
        """Nobody begins while the job is paused, and the best model stays."""
        since, best = durable.of(SavedPause).since, durable.of(SavedRanking).best
        if since is not None and any(lease.granted_at > since for lease in durable.rows(LEASES).values()):
            raise Violation(f"a device was given a task after {since:.3f} s, when the job was paused")
        if best is not None and best[0] not in {durable.version, *(v for v, _ in durable.of(SavedModels).blobs)}:
            raise Violation(f"version {best[0]} is the best, and its model is not kept")

    def dropped(self, blob: BlobRef) -> None:
        """The file of a model is removed."""
        self.seen["models removed"] += 1
        kept = self.durable.of(SavedModels).blobs if self.durable is not None else ()
        if any(blob.sha256 == each.sha256 for _, each in kept):
            raise Violation(f"the model {blob.sha256} is removed, and a restart would need it")

    def begins(self, snapshot: Snapshot, leases: Mapping[int, Lease], taken: Mapping[bytes, int]) -> None:
        """A process begins this commit, and knows of these leases and taken tasks."""
        self._begun.append((snapshot, leases, taken))

    def _check_changes(self, written: Snapshot, durable: Snapshot) -> None:
        """What is said to have come and gone since the last commit is all that came and went: only that is written."""
        _, leases, taken = next(begun for begun in self._begun if begun[0] is written)
        self._begun = [begun for begun in self._begun if begun[0] is not written]
        if leases != durable.rows(LEASES):
            raise Violation(f"commit {durable.commit} does not say which leases came and went")
        if taken != durable.rows(TAKEN):
            raise Violation(f"commit {durable.commit} does not say which devices have had a task")
        self.seen["commits by changes"] += not written.tables[LEASES].whole

    def _check_leases(self, durable: Snapshot, before: Snapshot) -> None:
        """Leases end for a reason, once and for all, and job time counts the time for which the job ran."""
        now, earlier = durable.of(SavedJob).job_time, before.of(SavedJob).job_time
        if not earlier - ROUNDING_S <= now <= self._clock() + ROUNDING_S:
            raise Violation(f"job time went from {earlier:.3f} to {now:.3f} s")
        leases = set(durable.rows(LEASES).values())
        for lease in set(before.rows(LEASES).values()) - leases:
            old = lease.version < durable.version - self._staleness_max
            void = lease.task < durable.of(SavedJob).void_below  # it ended with the job, or where training diverged
            if not (old or void) and lease.task not in self._sent and lease.expires_at > now + ROUNDING_S:
                raise Violation(f"the lease of task {lease.task} ended, and its time was not over")
            self._ended_leases.add(lease)
        for lease in leases:
            if lease in self._ended_leases:
                raise Violation(f"the lease of task {lease.task} had ended, and lives again")
            if lease.expires_at < now - ROUNDING_S:
                raise Violation(f"the lease of task {lease.task} has been over for {now - lease.expires_at:.3f} s")

    def recovered(self, durable: Snapshot, first: Snapshot) -> None:
        """A process that has just read ``durable`` is about to commit ``first``: all must be as it was."""
        for kind in durable.sections.keys() - DIFFERS_AFTER_RESTART:
            if durable.of(kind) != first.of(kind):
                raise Violation(f"a restart changed {kind.__name__}")
        job, again = durable.of(SavedJob), first.of(SavedJob)
        if (job.ending, job.void_below, durable.version) != (again.ending, again.void_below, first.version):
            raise Violation("a restart changed the version, the end of the job, or which tasks are void")
        places, after = durable.of(SavedPlaces), first.of(SavedPlaces)
        if after.reserved_until < places.reserved_until or after.durations != places.durations:
            raise Violation("a restart forgot which task numbers were given out, or how long tasks took")
        for table in durable.tables:
            if durable.rows(table) != first.rows(table):
                raise Violation(f"a restart changed the table {table.name}")
        same = durable.vectors.keys() == first.vectors.keys()
        if not same or not all(np.array_equal(vector, first.vectors[name]) for name, vector in durable.vectors.items()):
            raise Violation("a restart changed the model, the sum or the optimizer's state")
        self.seen["recoveries"] += 1

    # --- words -------------------------------------------------------------------------------------------------

    def _check_words(self) -> None:
        """``counted`` tells the truth: what was acknowledged is durable, what was refused never gets in."""
        lost = self._told_counted - self._in_bitmaps
        if lost:
            raise Violation(f"tasks {sorted(lost)} were acknowledged, but they are not durable")
        both = self._told_refused & self._in_bitmaps
        if both:
            raise Violation(f"tasks {sorted(both)} were refused, but they are counted")

    def answered(self, request: ResultReport | ResultOffer, response: ResultResponse, now: float) -> None:
        """The job answers a result or an offer of one; called before the answer leaves it. ``now`` is job time."""
        number = self._number_of.get(request.task_id)
        if number is None:
            self._check_forged(response)
        elif response.counted:
            self._told_counted.add(number)
            self.seen["duplicates" if response.duplicate else "counted"] += 1
        elif response.message == answers.TOO_OLD.message:
            self._check_too_old(number, now)
        elif response.status is Status.OK:
            self.seen["offers taken up"] += 1
        elif response.status is not Status.RETRY:
            self._check_refused(number, response.message or "")
        self._check_words()

    def _check_forged(self, response: ResultResponse) -> None:
        """Nobody was given this task."""
        self.seen["forged"] += 1
        if response.counted:
            raise Violation("a task that was never given out is said to be counted")

    def _check_too_old(self, number: int, now: float) -> None:
        """Neither yes nor no; allowed beyond the resend window, or if it does not count and from now on never will."""
        self.seen["too old to know"] += 1
        if number not in self._in_bitmaps:
            self._told_refused.add(number)
        elif now < self._known_until[number]:
            raise Violation(
                f"task {number} is counted, and {self._known_until[number] - now:.1f} s too early forgotten"
            )
        else:
            self.seen["too old to know, and counted"] += 1

    def _check_refused(self, number: int, why: str) -> None:
        self._told_refused.add(number)
        self.seen["refused"] += 1
        assert self.durable is not None
        staleness = self.durable.version - self._given[number].version
        if why.startswith("trained from"):
            if staleness <= self._staleness_max:
                raise Violation(f"task {number} was refused as too stale at a staleness of {staleness}")
        elif "L2 norm" in why and self._given[number].device in self.strangers:
            self.seen["poison refused"] += 1
        elif why == answers.VOID.message:
            if number >= self.durable.of(SavedJob).void_below:
                raise Violation(f"task {number} was refused as void, and it is not durable that it is")
        elif why != answers.FINISHED.message:
            raise Violation(f"task {number} was refused, because: {why}")
        elif number >= self.durable.of(SavedJob).void_below and not self._last_is_durable():
            raise Violation(f"task {number} was refused because the job has ended, and its end is not durable")

    def _last_is_durable(self) -> bool:
        """Where training diverged in the last version, which then repeats an earlier one, a later one is the last."""
        assert self.durable is not None
        repeated = self.durable.of(SavedMade).of_version.get(self.durable.version) == 0
        versions_max = self._spec.stop.versions
        return versions_max is not None and self.durable.version >= versions_max and not repeated

    def told(self, report: ResultReport, response: ResultResponse, waited_s: float) -> None:
        """What a gateway tells a device about its result, by whatever way it came to know."""
        if response.counted and self._number_of[report.task_id] not in self._told_counted:
            raise Violation(f"the device of {report.task_id} hears that it is counted, and no job said so")
        if waited_s > ANSWER_TIMEOUT_S:
            raise Violation(f"the answer to a result took {waited_s:.1f} s")

    def ended(self, end: Finish) -> None:
        """What is left is told, and is less than a version."""
        assert self.durable is not None
        left = self.books.left(self.durable)
        if end.left != left or (f"{left} counted result" in end.reason) != bool(left):
            raise Violation(f"{left} counted results are in no version, and the end is told so: {end}")
        excused = "the disk failed" in end.reason or "not have been finite" in end.reason
        buffered = self.durable.of(SavedSum).count
        if buffered >= self.books.least and not excused:
            raise Violation(f"the job ended, and its {buffered} results make a version")
        self.seen["ends: " + _kind(end.reason)] += 1
        self.seen["ends with results in no version"] += left > 0
        self.seen["ends on a disk that takes nothing"] += "the disk failed" in end.reason

    def settled(self) -> None:
        """In the end everything that was sent and not given up on has one answer, and it is true."""
        self._check_words()


def _kind(reason: str) -> str:
    """Which rule, of the words that name its numbers."""
    kinds = {"is the last": "versions", "ran for": "time", "at least": "target", "was better": "patience"}
    return next((kind for words, kind in kinds.items() if words in reason), "a person")


def index_of(device_id: str) -> int:
    return int(device_id.removeprefix("device-"))


def device_id(index: int) -> str:
    return f"device-{index}"
