"""Broken parts, each wrong in one way that has happened to somebody. The simulation must find every one.

Two ways to be wrong are missing, because nothing can be wrong in them yet: adding results that were not claimed, and
sending a sum again without claiming its results anew. Both are of gateways that send partial sums.
"""

import dataclasses
import math
from copy import copy
from typing import Any, Self

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from turnout.aggregator.contribution import Contribution
from turnout.aggregator.mean import TOTAL, MeanAggregator
from turnout.aggregator.typical import Norms, TypicalNorm
from turnout.blobs.base import BlobRef
from turnout.device.session import Session
from turnout.dispatcher.service import EdgeTaskDispatcher
from turnout.job.account.tally import Tally
from turnout.job.core import answers
from turnout.job.core.answers import Refused
from turnout.job.core.core import JobCore
from turnout.job.core.events import Answer, CommitFailed, Committed, Effect, Evaluated, Finish, Result, ResultOffered
from turnout.job.core.judging import Judgement
from turnout.job.core.states import Closing, Draining, End, Failed, Happened, Settling
from turnout.job.journal.journal import MODEL, SavedJob, Snapshot
from turnout.job.journal.memory import MemoryJournal
from turnout.job.places.counted import COUNTED, CountedTasks, SavedCounted
from turnout.job.places.leases import LEASES, Lease
from turnout.job.places.places import TASK_BLOCK, Places, SavedPlaces
from turnout.job.places.rows import Rows
from turnout.job.workflow.published import Models
from turnout.messages import RefusedResult, ResultOffer, ResultReport, ResultResponse, Status
from turnout.sim.world import Builders

SOME_BLOB = BlobRef("f" * 64, 1)


class CountsByDevice(JobCore):
    """Takes every further result of a device and version for a duplicate, whatever its task."""

    def _counted_already(self, lease: Lease) -> bool:
        seen = self.__dict__.setdefault("seen", {})
        return seen.setdefault((lease.device, lease.version), lease.task) != lease.task or super()._counted_already(
            lease
        )


class ForgetsExpiry(Places):
    """A place whose device vanished is never given to another."""

    def _grant(
        self, device: bytes, version: int, task: int, counted: CountedTasks, now: float, *others: Any, **more: Any
    ) -> Lease:
        return super()._grant(device, version, task, counted, now + 1e6, *others, **more)


class TellsTooLittle(Places):
    """Says of no device that it has had a task, where only what is said to be new is written."""

    def _take(self, device: bytes, task: int) -> None:
        self._taken[device] = task


class AnswersBeforeCommit(JobCore):
    """Acknowledges a result as soon as it is in the running sum."""

    def _collect(self, event: Result, now: float) -> list[Effect]:
        effects = super()._collect(event, now)
        early = [answer for waiting in self.staged.fresh.values() for answer in waiting]
        self.staged.fresh = {task: [] for task in self.staged.fresh}
        return [*early, *effects]


class DropsBitmapsTooEarly(JobCore):
    """Forgets what was counted of a version as soon as the next one is there."""

    def _publish(self, blob: BlobRef, now: float) -> tuple[list[Effect], End | None]:
        self.counted.lose_changes()
        kept = self.counted.rows().came.values()
        self.counted = CountedTasks((v, first, keep, b"") for v, first, keep, _ in kept)
        return super()._publish(blob, now)


class ReissuesNumbers(JobCore):
    """A restarted job goes on with the number after the last one that the journal saw in use."""

    def _recover(self, durable: Snapshot, now: float) -> None:
        super()._recover(durable, now)
        self.parts.places.next_task = durable.of(SavedPlaces).reserved_until - TASK_BLOCK


class PublishesBeforeCommit(JobCore):
    """Devices get the next version while it is being committed."""

    def _close(self, now: float) -> list[Effect]:
        effects = super()._close(now)
        self.models.publish(self.version, SOME_BLOB)
        return effects

    def holding(self) -> bool:
        closing = isinstance(self.state, Closing) and self.models.has(self.version)
        return super().holding() and not closing

    def _committed(self, event: Committed, now: float) -> list[Effect]:
        self.models = Models({v: blob for v, blob in self.models.all() if v != self.version})
        return super()._committed(event, now)


class SavesBitmapsInASecondWrite(MemoryJournal):
    """What was counted is written after the sum, in a transaction of its own, which a crash may prevent."""

    def commit(self, snapshot: Snapshot) -> None:
        last = self.load()
        if last is not None and last.version == snapshot.version and snapshot.commit % 7 == 0:  # a crash in between
            snapshot = snapshot.but(last.of(SavedCounted), tables={COUNTED: last.tables[COUNTED]})
        super().commit(snapshot)


class SavesBitmapsWithoutSum(JobCore):
    """The running sum is not in the snapshot, only the model."""

    def _snapshot(self, now: float, closes: bool) -> Snapshot:
        snapshot = super()._snapshot(now, closes)
        return snapshot.but(vectors={TOTAL: np.zeros_like(snapshot.vectors[TOTAL])})


class AnswersDuplicatesAtOnce(JobCore):
    """A duplicate does not wait for the commit of its first copy."""

    def _answer_duplicate(
        self, ticket: int, request: ResultReport | ResultOffer, lease: Lease, now: float
    ) -> list[Effect]:
        return [Answer(ticket, answers.counted(request, duplicate=True))]


class TakesFailureForSuccess(JobCore):
    """A commit that failed is taken for one that happened."""

    def _commit_failed(self, event: CommitFailed, now: float) -> list[Effect]:
        return super()._committed(Committed(event.commit, 0.0, event.blob or SOME_BLOB), now)


class KeepsSumsAfterFailure(JobCore):
    """After a failed commit the sums in memory are kept, though nobody was acknowledged."""

    def _recover(self, durable: Snapshot, now: float) -> None:
        self.__dict__["recovering"] = True
        super()._recover(durable, now)
        self.__dict__["recovering"] = False

    def _restore_sums(self, durable: Snapshot) -> None:
        if self.__dict__.get("recovering"):
            super()._restore_sums(durable)


class AddsBeyondTheGoal(JobCore):
    """While a commit is under way, a full buffer goes on filling."""

    def holding(self) -> bool:
        return not self.models.has(self.version)


class CountsTheTooStale(JobCore):
    """Takes results of any age."""

    def _too_late(self, lease: Lease) -> Refused | None:
        return None


class TakesAnyLease(Places):
    """Counts whatever is sealed with its key, for a task of another version too."""

    def can_have_given(self, lease: Lease, counted: CountedTasks, now: float) -> bool:
        return True


class CountsWhatWasNeverGiven(JobCore):
    """Counts a task whose number it has not come to."""

    def _lease_of(self, request: ResultReport | ResultOffer | RefusedResult, now: float) -> Lease | Refused:
        lease = self.parts.seal.open(request.task_id)
        if lease is None or lease.task < self.parts.places.next_task or not self.counted.knows(lease.version):
            return super()._lease_of(request, now)
        return lease


class BoundsNoNorm(JobCore):
    """Adds what is far beyond all other updates."""

    def _judge(self, event: Result, lease: Lease, had_place: bool) -> Judgement | Refused:
        kept, self.typical = self.typical, TypicalNorm(math.inf, math.inf)
        sound = super()._judge(event, lease, had_place)
        self.typical = kept
        return sound if isinstance(sound, Refused) else msgspec.structs.replace(sound, norm=1.0)


class KeepsTheMedianAfterFailure(JobCore):
    """After a failed commit the median norm is still of updates that are not in the sum."""

    def _commit_failed(self, event: CommitFailed, now: float) -> list[Effect]:
        self.__dict__["kept"] = self.typical.save()
        effects = super()._commit_failed(event, now)
        self.__dict__.pop("kept")
        return effects

    def _restore_sums(self, durable: Snapshot) -> None:
        super()._restore_sums(durable)
        if "kept" in self.__dict__:
            self.typical.load(self.__dict__["kept"])


class ForgetsTheMedian(JobCore):
    """A restarted job begins to learn how large updates are."""

    def _recover(self, durable: Snapshot, now: float) -> None:
        super()._recover(durable, now)
        self.typical.load(Norms())


class LearnsFromTheRefused(TypicalNorm):
    """Updates that are refused move the median as those that are taken."""

    def refuse(self, again: bool = False) -> None:
        self.take(self.norm_max)


class LearnsFromWhatItRefuses(JobCore):
    """Updates that are refused for their norm move the median as those that are taken."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.typical = LearnsFromTheRefused.of(self.model, self.rules.update_norm_max)


class NeverEmpties(MeanAggregator):
    """The next version begins with the sum of the last."""

    def clear(self) -> None:
        self.count = 0
        self.total_weight = 0.0


class SaysOkForLostJobs(EdgeTaskDispatcher):
    """A result whose job cannot be reached is answered OK, as if it had been counted."""

    def _retry(self, held: Any, wait_s: float, message: str) -> None:
        answer, kind, _, task_id, task_name = held
        if kind.response is ResultResponse:
            answer(ResultResponse(Status.OK, counted=True, task_id=task_id, task_name=task_name))
        else:
            super()._retry(held, wait_s, message)


class TakesOffersForResults(JobCore):
    """Says counted to a gateway that only asks whether it shall read a result."""

    def _judge_offer(self, event: ResultOffered, now: float) -> list[Effect]:
        return [Answer(event.ticket, answers.counted(event.offer, duplicate=False))]


class JudgesOffersByTheNextVersion(JobCore):
    """While a version is being committed, offers are judged as if it were there already."""

    def _judge_offer(self, event: ResultOffered, now: float) -> list[Effect]:
        lease = self._lease_of(event.offer, now)
        if not isinstance(lease, Refused) and not self._counted_already(lease):
            late = self._too_late(lease)
            if late is not None:
                return [self._refuse(event.ticket, event.offer, late)]
        return super()._judge_offer(event, now)


class NeverGivesUp(EdgeTaskDispatcher):
    """A request waits for its job as long as that takes."""

    def tick(self, now: float) -> None:
        pass


class ForgetsToEnd(JobCore):
    """Announces no end while an evaluation is running, nor after it."""

    def _evaluated(self, event: Evaluated, now: float) -> list[Effect]:
        effects = super()._evaluated(event, now)
        self.parts.evaluation.running = self.state.end is not None or self.parts.evaluation.running
        return effects


class HasNoFence(MemoryJournal):
    """Takes commits of processes that were replaced."""

    def commit(self, snapshot: Snapshot) -> None:
        self._memory.snapshot = snapshot.after(self._memory.snapshot)


class ReadsThroughTheFence(MemoryJournal):
    """A process that was replaced reads what its successor wrote, and takes it for its own failed commit."""

    def load(self) -> Snapshot | None:
        return self._memory.snapshot


class NewKeyAtRestart(MemoryJournal):
    """Every process seals with a key of its own: what its predecessor leased is not known to it."""

    def take_over(self) -> Self:
        newer = super().take_over()
        newer.key = self._memory.incarnation.to_bytes(32)
        return newer


class LosesTheLastCommit(MemoryJournal):
    """What is written reaches the disk a commit later: an fsync is missing, and each restart is a power failure."""

    def take_over(self) -> Self:
        newer = super().take_over()
        newer._memory = copy(self._memory)
        newer._memory.snapshot = self.__dict__.get("older")
        return newer

    def commit(self, snapshot: Snapshot) -> None:
        self.__dict__["older"] = self.load()
        super().commit(snapshot)


class TakesTheFutureForThePast(JobCore):
    """A process that was replaced says "too old to know" of a version that only its successor made."""

    def _collect(self, event: Result, now: float) -> list[Effect]:
        return self._disowned(event.ticket, event.report) or super()._collect(event, now)

    def _judge_offer(self, event: ResultOffered, now: float) -> list[Effect]:
        return self._disowned(event.ticket, event.offer) or super()._judge_offer(event, now)

    def _disowned(self, ticket: int, request: ResultReport | ResultOffer) -> list[Effect]:
        lease = self.parts.seal.open(request.task_id)
        if lease is None or self.counted.knows(lease.version):
            return []
        return [self._refuse(ticket, request, answers.TOO_OLD)]


class ForgetsLeases(JobCore):
    """A restarted job gives the places of devices that are still training to others."""

    def _recover(self, durable: Snapshot, now: float) -> None:
        super()._recover(durable.but(tables={LEASES: Rows({}, whole=True)}), now)


class BeginsTimeAnew(JobCore):
    """Job time starts at 0 with every process."""

    def _snapshot(self, now: float, closes: bool) -> Snapshot:
        snapshot = super()._snapshot(now, closes)
        return snapshot.but(replace(snapshot.of(SavedJob), job_time=0.0))


class ReadsTheClock(JobCore):
    """Takes what the machine's clock says for job time, so that what happens to the clock happens to leases."""

    def _snapshot(self, now: float, closes: bool) -> Snapshot:
        snapshot = super()._snapshot(now, closes)
        job_time = now + 86_400.0 if snapshot.commit % 10 == 0 else now
        return snapshot.but(replace(snapshot.of(SavedJob), job_time=job_time))


class AnswersSomeAfterFailure(JobCore):
    """After a failed commit the first of those who wait is acknowledged all the same."""

    def _commit_failed(self, event: CommitFailed, now: float) -> list[Effect]:
        effects = super()._commit_failed(event, now)
        for place, effect in enumerate(effects):
            if isinstance(effect, Answer) and isinstance(effect.response, ResultResponse):
                wrong = ResultResponse(Status.OK, counted=True, task_id=effect.response.task_id)
                return [*effects[:place], Answer(effect.ticket, wrong), *effects[place + 1 :]]
        return effects


class NeverTriesAgain(JobCore):
    """A disk that was full once is given up on."""

    def _commit_failed(self, event: CommitFailed, now: float) -> list[Effect]:
        effects = super()._commit_failed(event, now)
        if isinstance(self.commits.state, Failed):
            self.commits.state = Failed("once", math.inf)
        return effects


class CountsTheForgotten(JobCore):
    """Counts what comes for a version of which it has forgotten what was counted and what was refused."""

    def _lease_of(self, request: ResultReport | ResultOffer, now: float) -> Lease | Refused:
        lease = self.parts.seal.open(request.task_id)
        if lease is not None and not self.counted.knows(lease.version):
            self.counted.open(lease.version, 0)
            self.__dict__.setdefault("reopened", set()).add(lease.version)
        return super()._lease_of(request, now)

    def _too_late(self, lease: Lease) -> Refused | None:
        return None if lease.version in self.__dict__.get("reopened", ()) else super()._too_late(lease)


class ForgetsTheResendWindow(Places):
    """Forgets what was counted of an old version as soon as its last lease has ended."""

    def _grant(self, *given: Any, **more: Any) -> Lease:
        self.resend_window_s = 0.0
        return super()._grant(*given, **more)


class ResetsItsTally(JobCore):
    """A restart begins to count results for people from 0."""

    def _recover(self, durable: Snapshot, now: float) -> None:
        super()._recover(durable, now)
        self.tally = Tally()


class PublishesWhatIsLeft(JobCore):
    """A job that ends makes a last version of whatever is in the buffer, be it of one device."""

    def _drained(self, draining: Draining, now: float) -> Settling:
        self.parts.workflow.least = 1
        return super()._drained(draining, now)


class ForgetsWhatIsLeft(JobCore):
    """A job that is started again begins with an empty buffer."""

    def _recover(self, durable: Snapshot, now: float) -> None:
        super()._recover(durable, now)
        if self.void_below and not self.parts.places.live:
            self.made.in_versions += self.parts.aggregator.count
            self.parts.aggregator.clear()


class SaysNothingOfWhatIsLeft(JobCore):
    """A job ends as if all that was counted were in its versions."""

    def _finish(self, end: End, how: Happened, now: float, why: str = "") -> Finish:
        finish = super()._finish(end, how, now, why)
        return dataclasses.replace(finish, reason=finish.reason.partition("; ")[0])


class CountsTasksOfBeforeItsEnd(JobCore):
    """A job that is started again counts the results that it refused because it had ended."""

    def _drained(self, draining: Draining, now: float) -> Settling:
        settling = super()._drained(draining, now)
        self.void_below = 0
        return settling


class RefusesBeforeItsEndIsDurable(JobCore):
    """Says that the job has ended while a crash could still undo that."""

    def _too_late(self, lease: Lease) -> Refused | None:
        late = super()._too_late(lease)
        return answers.FINISHED if late is answers.UNSAVED_END else late

    def holding(self) -> bool:
        return super().holding() and not isinstance(self.state, Settling)


class KeepsWhatDiverged(JobCore):
    """Results of a step that left the numbers are said to be dropped, and go into the next version."""

    def _return_to(self, version: int, model: NDArray[np.float32], *how: Any) -> list[Effect]:
        saved, vectors = self.parts.aggregator.save(), self.parts.aggregator.vectors()
        effects = super()._return_to(version, model, *how)
        self.parts.aggregator.load(saved)
        self.parts.aggregator.load_vectors(vectors)
        self.made.dropped -= saved.count
        return effects


class ReturnsToNoVersion(JobCore):
    """A job that diverges goes on from half of its best model."""

    def _return_to(self, version: int, model: NDArray[np.float32], *how: Any) -> list[Effect]:
        return super()._return_to(version, model / 2, *how)


class ForgetsItsPause(JobCore):
    """A job that paused itself trains again after a restart."""

    def _recover(self, durable: Snapshot, now: float) -> None:
        super()._recover(durable, now)
        if self.pause.reason:
            self.pause.end(durable.of(SavedJob).job_time)


def remembered(snapshot: Snapshot) -> dict[str, NDArray[Any]]:
    """The vectors of the optimizer."""
    return {name: vector for name, vector in snapshot.vectors.items() if name not in (MODEL, TOTAL)}


def remembering(snapshot: Snapshot, state: dict[str, NDArray[Any]]) -> Snapshot:
    """The same with other vectors of the optimizer."""
    kept = {name: snapshot.vectors[name] for name in (MODEL, TOTAL)}
    return dataclasses.replace(snapshot, vectors={**kept, **state})


class ForgetsMomentum(JobCore):
    """What the optimizer remembers is not in the snapshots."""

    def _snapshot(self, now: float, closes: bool) -> Snapshot:
        return remembering(super()._snapshot(now, closes), {})


class SavesMomentumLate(JobCore):
    """What the optimizer remembers is saved one version late."""

    def _snapshot(self, now: float, closes: bool) -> Snapshot:
        snapshot = super()._snapshot(now, closes)
        late: dict[int, Any] = self.__dict__.setdefault("late", {})
        late[snapshot.version] = state = remembered(snapshot)
        return remembering(snapshot, late.get(snapshot.version - 1, state))


class ForgetsSquares(JobCore):
    """A restart begins to learn how large steps are, though it remembers where they led."""

    def _recover(self, durable: Snapshot, now: float) -> None:
        super()._recover(durable, now)
        if len(remembered(durable)) > 1:
            first, second = remembered(durable).values()
            self.parts.optimizer.restore((first, np.full_like(second, 1e-6)))


class KeepsMomentumOfWhatFailed(JobCore):
    """After a failed commit the optimizer remembers a step that was not made."""

    def _commit_failed(self, event: CommitFailed, now: float) -> list[Effect]:
        kept = self.parts.optimizer.snapshot()
        effects = super()._commit_failed(event, now)
        self.parts.optimizer.restore(kept)
        return effects


class DiscountsNothing(MeanAggregator):
    """Results of old versions count as much as fresh ones."""

    def add(self, contribution: Contribution, discount: float = 1.0) -> None:
        super().add(contribution)


class DividesByDiscounts(MeanAggregator):
    """Divides by the discounted weights, so that nothing changes where all results are equally stale."""

    def add(self, contribution: Contribution, discount: float = 1.0) -> None:
        super().add(contribution, discount)
        self.total_weight += contribution.weight * (discount - 1.0)


class WeighsByItself(JobCore):
    """Does not hear what the job's own code says that a result weighs."""

    def _collect(self, event: Result, now: float) -> list[Effect]:
        return super()._collect(Result(event.ticket, event.report), now)


class ComesTooOften(Places):
    """Gives a device its next task however short a while ago it had one."""

    def _remember(self, device: bytes, now: float) -> None:
        pass


class AnswersAnother(EdgeTaskDispatcher):
    """Now and then the answer to one request goes to the device of another."""

    def replied(self, ticket: int, payload: bytes | memoryview) -> None:
        held: dict[int, Any] = self.__dict__.setdefault("held", {})
        if ticket % 20 == 0 and not held:
            held[ticket] = bytes(payload)
            return
        for other, answer in list(held.items()):
            del held[other]
            super().replied(other, payload)
            payload = answer
        super().replied(ticket, payload)


class ForgetsRefusals(EdgeTaskDispatcher):
    """Does not tell a job of a result that the gateway refused, so its place is not freed."""

    def refused(self, result: RefusedResult) -> None:
        pass


class CountsWhatItForwards(EdgeTaskDispatcher):
    """Says that a result is counted once it is on its way to the job."""

    def submit(self, request: Any, answer: Any, has_room: bool = False) -> None:
        if isinstance(request, ResultReport):
            answer(ResultResponse(Status.OK, counted=True, task_id=request.task_id))
            super().submit(request, lambda response: None, has_room)
        else:
            super().submit(request, answer, has_room)


class ReleasesTwice(EdgeTaskDispatcher):
    """The room of a result that a job failed to answer is released twice."""

    def lost(self, job_id: str, reason: str) -> None:
        before = self.room.used
        super().lost(job_id, reason)
        if before > self.room.used:
            self.room.release(job_id, before - self.room.used)


class NeverReleases(EdgeTaskDispatcher):
    """The room of what was in flight to a job that died stays taken."""

    def lost(self, job_id: str, reason: str) -> None:
        before = self.room.used
        super().lost(job_id, reason)
        if before > self.room.used:
            self.room.use(job_id, before - self.room.used)


class ChangesWhatItResends(Session):
    """Sends another update after a RETRY than before it."""

    def _again(self, now: float, due: float) -> None:
        state: Any = self._state
        if self.unacknowledged is not None and self.unacknowledged.update.nbytes:
            doubled = 2.0 * np.frombuffer(self.unacknowledged.update, "<f4")
            report = msgspec.structs.replace(self.unacknowledged, update=memoryview(doubled.astype("<f4").tobytes()))
            self._state = msgspec.structs.replace(state, report=report)
        super()._again(now, due)


MUTANTS = {
    "makes a last version of whatever is left": Builders(core=PublishesWhatIsLeft),
    "forgets what was left at an end": Builders(core=ForgetsWhatIsLeft),
    "says nothing of what is left at its end": Builders(core=SaysNothingOfWhatIsLeft),
    "counts what it refused at its end once it is started again": Builders(core=CountsTasksOfBeforeItsEnd),
    "refuses results before its end is durable": Builders(core=RefusesBeforeItsEndIsDurable),
    "keeps the results of a step that diverged": Builders(core=KeepsWhatDiverged),
    "goes on from no version after it diverged": Builders(core=ReturnsToNoVersion),
    "forgets in a restart why it paused": Builders(core=ForgetsItsPause),
    "counts by device instead of by task": Builders(core=CountsByDevice),
    "forgets that leases expire": Builders(places=ForgetsExpiry),
    "tells the journal too little of what changed": Builders(places=TellsTooLittle),
    "answers before the commit": Builders(core=AnswersBeforeCommit),
    "drops the bitmap of a version too early": Builders(core=DropsBitmapsTooEarly),
    "gives out task numbers again after a restart": Builders(core=ReissuesNumbers),
    "publishes a version before its commit": Builders(core=PublishesBeforeCommit),
    "saves what was counted in a second write": Builders(journal=SavesBitmapsInASecondWrite),
    "saves what was counted without its sum": Builders(core=SavesBitmapsWithoutSum),
    "answers a duplicate before its first copy is durable": Builders(core=AnswersDuplicatesAtOnce),
    "takes a failed commit for a successful one": Builders(core=TakesFailureForSuccess),
    "keeps its sums after a failed commit": Builders(core=KeepsSumsAfterFailure),
    "adds more results to a version than its goal": Builders(core=AddsBeyondTheGoal),
    "counts results that are too stale": Builders(core=CountsTheTooStale),
    "counts a task that it cannot have given out": Builders(places=TakesAnyLease),
    "counts a task that was never given out": Builders(core=CountsWhatWasNeverGiven),
    "takes updates however large they are": Builders(core=BoundsNoNorm),
    "keeps the median norm of updates whose commit failed": Builders(core=KeepsTheMedianAfterFailure),
    "forgets the median norm in a restart": Builders(core=ForgetsTheMedian),
    "learns from updates that it refuses": Builders(core=LearnsFromWhatItRefuses),
    "does not empty the buffer when it closes a version": Builders(aggregator=NeverEmpties),
    "takes an offer of a result for the result": Builders(core=TakesOffersForResults),
    "judges offers by a version that is not durable": Builders(core=JudgesOffersByTheNextVersion),
    "never gives up on a job that hangs": Builders(dispatcher=NeverGivesUp),
    "takes commits of a process that was replaced": Builders(journal=HasNoFence),
    "takes its successor's commit for its own": Builders(journal=ReadsThroughTheFence),
    "takes a version that its successor made for a forgotten one": Builders(core=TakesTheFutureForThePast),
    "has a new key after a restart": Builders(journal=NewKeyAtRestart),
    "loses the last commit in a restart": Builders(journal=LosesTheLastCommit),
    "forgets leases in a restart": Builders(core=ForgetsLeases),
    "begins its time anew with each restart": Builders(core=BeginsTimeAnew),
    "takes the time from a clock that jumps": Builders(core=ReadsTheClock),
    "acknowledges some results of a failed commit": Builders(core=AnswersSomeAfterFailure),
    "does not go on after the disk was full": Builders(core=NeverTriesAgain),
    "counts results of versions it has forgotten": Builders(core=CountsTheForgotten),
    "forgets what was counted before a resend may come": Builders(places=ForgetsTheResendWindow),
    "shows people a count that starts at 0 again": Builders(core=ResetsItsTally),
    "never announces its end": Builders(core=ForgetsToEnd),
    "says OK for a result that no job has seen": Builders(dispatcher=SaysOkForLostJobs),
    "does not save what its optimizer remembers": Builders(core=ForgetsMomentum),
    "saves what its optimizer remembers a version late": Builders(core=SavesMomentumLate),
    "forgets the second moment in a restart": Builders(core=ForgetsSquares),
    "keeps the momentum of a step whose commit failed": Builders(core=KeepsMomentumOfWhatFailed),
    "discounts nothing": Builders(aggregator=DiscountsNothing),
    "divides by the discounts": Builders(aggregator=DividesByDiscounts),
    "does not hear what its own code weighs": Builders(core=WeighsByItself),
    "gives a device tasks too often": Builders(places=ComesTooOften),
    "answers the request of another device": Builders(dispatcher=AnswersAnother),
    "does not tell a job what was refused": Builders(dispatcher=ForgetsRefusals),
    "says counted of what it only forwards": Builders(dispatcher=CountsWhatItForwards),
    "releases room twice": Builders(dispatcher=ReleasesTwice),
    "never releases the room of what was lost": Builders(dispatcher=NeverReleases),
    "sends another body after a RETRY": Builders(session=ChangesWhatItResends),
}
