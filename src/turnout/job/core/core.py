"""All that a job decides: events in, effects out. ``shell.py`` is around it, in a job's process and in the simulation.

The core keeps two states apart by one rule: what devices see is what is durable. A result is *staged* when it is added
to the running sum and *counted* when the commit that holds it is durable; only then is its sender answered. While the
commit that closes a version is under way the core holds what comes in, so nobody sees a version that may not be.

``now`` is job time in seconds: a persisted value plus monotonic elapsed time, which no clock change moves.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from turnout.blobs.base import BlobRef
from turnout.job.core import answers, divergence, refusals, snapshots
from turnout.job.core.answers import SOON_S, Refused
from turnout.job.core.commits import InFlight
from turnout.job.core.ending import Ending, Step
from turnout.job.core.events import (
    Answer,
    Commit,
    CommitDoubtful,
    CommitFailed,
    Committed,
    Effect,
    Evaluated,
    Event,
    Finish,
    Paused,
    Publish,
    Recall,
    Recalled,
    Result,
    ResultOffered,
    ResultsRefused,
    Resumed,
    Retract,
    SelectionAsked,
    Stop,
    TaskAsked,
    Tick,
)
from turnout.job.core.judging import judged
from turnout.job.core.staged import send_again
from turnout.job.core.standing import Standing
from turnout.job.journal.journal import Snapshot
from turnout.job.places.leases import Lease, device_hash, lot
from turnout.job.places.pacing import WHOLE_S
from turnout.job.places.places import NoTask
from turnout.job.workflow.evaluation import Evaluate, failed
from turnout.job.workflow.workflow import CLOSE, PAUSE, WAIT
from turnout.messages import (
    OK,
    VALIDATE,
    VALIDATED,
    RefusedResult,
    ResultOffer,
    ResultReport,
    ResultResponse,
    TaskResponse,
)
from turnout.wire.edge_headers import ANDROID

SAVE_GRANTS_S = 1.0  #: A task given out is in a commit after at most this, also when no result is.
PAUSED_WAIT_S = 15.0  #: The least wait told to a device while the job is paused; what the pacing admits goes before it.

FAR_UPDATES = (
    "updates are refused: their norm is far beyond what this job has seen; "
    "if they are honest, say how large one may be with update_norm_max under [training]"
)


@dataclass(slots=True)
class JobCore(Standing):
    """One training run. Call ``start`` once, then ``handle`` for every event, and carry out the effects in order."""

    # --- life --------------------------------------------------------------------------------------------------

    def start(self, now: float, snapshot: Snapshot | None) -> list[Effect]:
        """Recover from what the journal holds, and reserve task numbers before the first is given out."""
        if snapshot is None:
            self.counted.open(0, 0)
            self.parts.workflow.opened(self.pause.clock(now))
        else:
            self._recover(snapshot)
            self._watch_time(now)
        return [self._commit(now)]

    def handle(self, event: Event, now: float) -> list[Effect]:
        """What follows from ``event``, in the order in which it must be done."""
        expiry = self._live.next_expiry()
        if expiry is not None and expiry <= now:
            self._expire(now)
        self._watch_time(now)
        effects = self._react(event, now)
        effects += self._advance(now)
        assert not self.staged.fresh or self._ending is None or not self._ending.announced, "staged after the end"
        assert self.tally.counted == self.made.total + self.parts.aggregator.count, "a counted result is somewhere"
        return effects

    def _react(self, event: Event, now: float) -> list[Effect]:
        match event:
            case TaskAsked():
                return self._assign(event, now)
            case Result():
                return self._collect(event, now)
            case ResultOffered():
                return self._judge_offer(event, now)
            case ResultsRefused():
                self._retire(refusals.hear(self, event.told, lambda each: self._lease_of(each, now), now))
            case Committed():
                return self._committed(event, now)
            case CommitDoubtful():
                return self._commit_doubtful(event)
            case CommitFailed():
                return self._commit_failed(event, now)
            case SelectionAsked():
                return [self._select(event, now)]
            case Evaluated():
                return self._evaluated(event)
            case Recalled():
                return self._recalled(event, now)
            case Paused():
                self.pause.begin(now)
                self.commits.save_by(now)
            case Resumed() if self.pause.on or self.parts.workflow.paused:
                self.pause.end(now)
                self.parts.workflow.resume(self.pause.clock(now))
                self.commits.save_by(now)
            case Stop():
                self._stop(event.reason)  # control says it again to the next process
            case Tick():
                pass
        return []

    # --- tasks -------------------------------------------------------------------------------------------------

    def _assign(self, event: TaskAsked, now: float) -> list[Effect]:
        request, places = event.request, self.parts.places
        device = device_hash(request.device.device_id)
        if self._ending is not None and (self._ending.drained or places.live.of(device) is None):
            return [Answer(event.ticket, answers.no_more_tasks(self.rules.job_id, self._ending.reason))]
        if self.commits.error:
            return [self._come_back(event, NoTask("the job cannot save results now"), now)]
        if self._holding():
            return self._hold(event, answers.no_task_yet(self.rules.job_id, SOON_S, "the job is busy; ask again"))
        self.parts.pacing.arrived(now)
        group = self.groups.asked(request.device)
        drawn = event.chance >= 1 or lot(device, self.version) < event.chance
        drawn = places.selection.asked(device, request.device.device_id, now, drawn)
        if not drawn and places.live.of(device) is None:
            return [self._come_back(event, NoTask("others were chosen this time"), now)]
        validates, rng = VALIDATE in request.accept, self.parts.rng
        lease = places.ask(device, self.version, self.places(), self.counted, now, rng, validates, group)
        if isinstance(lease, Lease):
            self.groups.granted(device, group, new=lease.granted_at == now)
            self.commits.save_by(now + SAVE_GRANTS_S)
            blob, task_id = self.models.of(lease.version), self.parts.seal.close(lease)
            chosen = places.selection.id_of(device)
            given = answers.task(self.rules.job_id, lease, task_id, blob, self.rules.device_settings, now, chosen)
            return [Answer(event.ticket, given)]
        return [self._come_back(event, NoTask("the job is paused") if self.pause.on else lease, now)]

    def _come_back(self, event: TaskAsked, why: NoTask, now: float) -> Answer:
        least_s = PAUSED_WAIT_S if self.pause.on else 0.0
        step_s = 0.0 if event.request.device.platform.lower() == ANDROID else WHOLE_S
        wait = self.parts.pacing.wait(now, self.parts.rng, self._deadline(), least_s, step_s, why.midway)
        return Answer(event.ticket, answers.no_task_yet(self.rules.job_id, wait, why.reason))

    def _expire(self, now: float) -> None:
        expired = self._live.expire(now)
        self.tally.lost += len(expired)
        for lease in expired:
            self.groups.lost(lease.device)
        self._retire({lease.version for lease in expired})

    def _select(self, event: SelectionAsked, now: float) -> Effect:
        places, fleet = self.parts.places, event.request.fleet
        if fleet is not None:
            if not places.selection.allow_fleets:
                self.warnings.add(answers.fleet_refused(fleet))  # whose simulator may wait for it in silence
                return Answer(event.ticket, answers.no_fleets(self.rules.job_id))
            places.selection.register(fleet, now, self.commits.next)
        free = 0
        if self._ending is None and not self.commits.error and not self._holding():
            free = self.places() - len(self._live)
            places.selection.fill(free, now, self.parts.rng, places.enlister(self.version, self.counted, now))
        chosen = places.selection.shown(event.request, self.version, free, places.live)
        durable = fleet is None or places.selection.is_durable(fleet, self.commits.last)
        if not durable:  # and whenever it is asked for again: the commit that was to hold it may have failed
            self.commits.save_by(now)
        return Answer(event.ticket, answers.selected(self.rules.job_id, chosen, durable))

    # --- results -----------------------------------------------------------------------------------------------

    def _collect(self, event: Result, now: float) -> list[Effect]:
        report = event.report
        lease = self._lease_of(report, now)
        if isinstance(lease, Refused):
            return [self._refuse(event.ticket, report, lease)]
        if self._counted_already(lease):
            self.tally.duplicates += 1
            return self._answer_duplicate(lease, Answer(event.ticket, answers.counted(report, duplicate=True)))
        if self.commits.doubtful:
            return [Answer(event.ticket, answers.again(report.task_id, answers.IN_DOUBT))]
        if self._ending is not None and self._ending.draining and self.commits.error:  # the end may come without it
            return [Answer(event.ticket, answers.again(report.task_id, answers.NOT_SAVED))]
        if self._holding():
            return self._hold(event, answers.again(report.task_id, answers.BUSY))
        places = self.parts.places
        held_place = places.reported(lease, now, trained=report.status in (OK, VALIDATED))
        if not places.live.on(lease.version):
            self._retire({lease.version})
        refusal = self._too_late(lease) or self._stage(event, lease, now, held_place)
        if refusal is None and not held_place:
            places.lease_time.observe(now - lease.granted_at)
        effects: list[Effect] = []
        if refusal is not None:
            places.refuse(lease)
            effects.append(self._refuse(event.ticket, report, refusal))
        self.groups.reported(lease.device)
        return effects

    def _lease_of(self, request: ResultReport | ResultOffer | RefusedResult, now: float) -> Lease | Refused:
        lease = self.parts.seal.open(request.task_id)
        if lease is None:
            return answers.NOT_LEASED
        if lease.device != device_hash(request.device.device_id):
            return answers.OTHER_DEVICE
        if lease.version > self.version:  # only our successor can have sealed it: what it counted is not ours to say
            return answers.REPLACED
        if not self.counted.knows(lease.version):
            return answers.TOO_OLD
        places = self.parts.places
        if lease.task >= places.next_task:  # as above, unless somebody has our key
            return answers.NOT_GIVEN_HERE
        return lease if places.can_have_given(lease, self.counted, now) else answers.NOT_GIVEN

    def _counted_already(self, lease: Lease) -> bool:
        return self.counted.has(lease.version, lease.task)

    def _answer_duplicate(self, lease: Lease, answer: Answer) -> list[Effect]:
        """At once if its first copy is durable; else together with it, unless nobody knows when that will be."""
        if lease.task not in self.staged:
            return [answer]
        if self.commits.doubtful:
            return [send_again(answer, answers.IN_DOUBT)]
        return [send_again(each, answers.BEING_SAVED) for each in self.staged.wait_with(lease.task, answer)]

    def _too_late(self, lease: Lease) -> Refused | None:
        if self._ending is not None and self._ending.drained:
            return answers.FINISHED if self._ending.sure else answers.UNSAVED_END
        if lease.task < self.void_below:
            return answers.VOID if lease.task < self.void_sure else answers.UNSAVED_VOID
        staleness_max = self.parts.workflow.staleness_max
        if self.version - lease.version > staleness_max:
            return answers.too_stale(lease.version, self.version, staleness_max)
        return None

    def _stage(self, event: Result, lease: Lease, now: float, held_place: bool) -> Refused | None:
        """Add what the device learned or measured to the running sums, or say why not; that changes nothing."""
        report, parts = event.report, self.parts
        sound = judged(report, lease, self.rules, parts.aggregator, self.typical, self.bases, event.factor)
        if isinstance(sound, Refused):
            if sound.reason == answers.FAR_NORM:
                self.typical.refuse(again=not held_place)
                self.warnings.add(FAR_UPDATES)
            return sound
        staleness = self.version - lease.version
        if lease.validate:
            self.federated.add(lease.version, report.metrics, sound.weight, lease.task)
            self.made.measured += 1
            parts.places.measured(lease)
        else:
            parts.aggregator.add(sound.update, sound.weight, parts.discount(staleness))
            self.typical.take(sound.norm)
        self.counted.add(lease.version, lease.task)
        self.counted.keep(lease.version, max(lease.expires_at, now) + parts.places.resend_window_s)
        self.tally.count(staleness)
        if report.metrics_left_out:
            self.tally.leave_out(report.metrics_left_out)
        if told := self.groups.counted(lease.device, report.device, sound.zeros):
            self.warnings.add(told)
        self.commits.staged(now)
        self.staged.add(lease.task, Answer(event.ticket, answers.counted(report, duplicate=False)))
        return None

    def _refuse(self, ticket: int, request: ResultReport | ResultOffer, why: Refused) -> Answer:
        refusals.count(self, request.device, why)
        return Answer(ticket, answers.refused(request, why))

    def _judge_offer(self, event: ResultOffered, now: float) -> list[Effect]:
        """As a result, as far as one can be judged unseen."""
        lease = self._lease_of(event.offer, now)
        if isinstance(lease, Refused):
            return [self._refuse(event.ticket, event.offer, lease)]
        if self._counted_already(lease):
            self.tally.duplicates += 1
            return self._answer_duplicate(lease, Answer(event.ticket, answers.counted(event.offer, duplicate=True)))
        if self.commits.error:
            return [Answer(event.ticket, answers.again(event.offer.task_id, answers.NOT_SAVED))]
        late = None if self._holding() else self._too_late(lease)  # while holding, our version may not come to be
        if late is not None:
            return [self._refuse(event.ticket, event.offer, late)]
        return [Answer(event.ticket, answers.send_it(event.offer))]

    # --- holding -----------------------------------------------------------------------------------------------

    def _holding(self) -> bool:
        """Whether what comes in has to do with what is not durable yet: a full buffer's version, or the job's end."""
        ending = self._ending
        if ending is None or ending.draining:
            full = self.parts.aggregator.count >= self.parts.workflow.goal
            return full or self.returning_to is not None or not self.models.has(self.version)
        return not ending.announced and (not ending.sure or not self.models.has(self.version))

    def _hold(self, event: TaskAsked | Result, otherwise: TaskResponse | ResultResponse) -> list[Effect]:
        return [] if self.held.add(event) else [Answer(event.ticket, otherwise)]

    def _release(self, now: float) -> list[Effect]:
        """Handle what was held, in its order, until a buffer is full again."""
        effects: list[Effect] = []
        while self.held and not self._holding():
            effects += self._react(self.held.next(), now)
        return effects

    # --- commits -----------------------------------------------------------------------------------------------

    def _advance(self, now: float) -> list[Effect]:
        """Close the version or commit what is staged, if it is time and no commit is under way."""
        if self._ending is not None:
            self._ending.begin(now)
        if not self.commits.possible(now) or self.returning_to is not None:
            return []
        if self._ending is not None and self._ending.hopeless:
            return self._wind_up(now)
        if not self.models.has(self.version):  # the first commit of this process failed: try again
            return [self._commit(now)]
        if self._ending is not None:
            return self._wind_up(now)
        if self.diverged:
            return self._diverged(now)
        workflow, buffered = self.parts.workflow, self.parts.aggregator.count
        live, clock = len(self._live), self.pause.clock(now)
        verdict = workflow.verdict(buffered, live, clock)
        if verdict is CLOSE:
            return self._close(now)
        if verdict is PAUSE:
            words = workflow.words(buffered, live, self.version, clock)
            self.warnings.add(f"paused; the job waits for {words}")
        if verdict is not WAIT:
            self.commits.save_by(now)  # after a restart, too
        return [self._commit(now)] if self.commits.due(now, self._must_commit()) else []

    def _close(self, now: float) -> list[Effect]:
        """Make the next version of what is in the buffer. Nobody sees it before its commit."""
        aggregator, optimizer = self.parts.aggregator, self.parts.optimizer
        assert aggregator.count >= self.parts.workflow.least, "a version of fewer results than the rule says"
        before = optimizer.snapshot()
        model = optimizer.step(self.model, aggregator.mean())
        if not np.isfinite(model).all():
            optimizer.restore(before)
            return self._diverged(now)
        return self._next_version(model, aggregator.count, now)

    def _next_version(self, model: NDArray[np.float32], results: int, now: float) -> list[Effect]:
        self.model = model
        self.parts.aggregator.clear()
        self.version += 1
        self.made.close(self.version, results)
        self.counted.open(self.version, self.parts.places.next_task)
        self.parts.workflow.opened(self.pause.clock(now))
        return [self._commit(now, closes=True)]

    def _diverged(self, now: float) -> list[Effect]:
        """Go back to the best version or, where none is, to the newest. A job that ends stays where it is."""
        if self._ending is not None:
            self._ending.diverged = True
            return self._wind_up(now)
        best = self.parts.ranking.best
        if best is None or best[0] == self.version or not self.models.has(best[0]):
            return self._return_to(self.version, self.model, now)
        self.returning_to = best[0]
        return [Recall(best[0], self.models.of(best[0]))]

    def _recalled(self, event: Recalled, now: float) -> list[Effect]:
        assert event.version == self.returning_to
        self.returning_to = None
        if self._ending is not None:  # meanwhile
            self._ending.diverged = True
            return []
        if event.model is not None and np.isfinite(event.model).all():
            return self._return_to(event.version, event.model, now)
        self.warnings.add(
            f"the model of version {event.version}, the best, cannot be read: {event.error or 'it is not finite'}"
        )
        return self._return_to(self.version, self.model, now)

    def _return_to(self, version: int, model: NDArray[np.float32], now: float) -> list[Effect]:
        """Make the model of an earlier version the next one, and wait for a person. No result has part in it."""
        aggregator, ranking = self.parts.aggregator, self.parts.ranking
        why = self.diverged or f"version {self.version + 1} would not have been finite"
        reason = divergence.words(why, aggregator.count, self.version + 1, version, ranking)
        self.warnings.add(f"paused; {reason}")
        self.made.dropped += aggregator.count
        self.parts.optimizer.restore(())
        self.typical.restore(self.typical_before)  # what diverged would be taken for usual
        self._void()
        self.pause.begin(now, reason)
        return self._next_version(model, 0, now)

    def _commit(self, now: float, closes: bool = False) -> Effect:
        snapshot = self._snapshot(now, closes)
        ending = self._ending if self._ending is not None and self._ending.drained else None
        self.commits.begin(InFlight(snapshot, closes, self._retired, ending, now))
        self._retired = []
        self.staged.write()
        return Commit(snapshot)

    def _snapshot(self, now: float, closes: bool) -> Snapshot:
        return snapshots.taken(self, now, closes)

    def _committed(self, event: Committed, now: float) -> list[Effect]:
        inflight = self.commits.done(event.took_s, now)
        assert event.commit == inflight.snapshot.commit
        if inflight.ending is not None:
            inflight.ending.sure = True
        self.parts.places.reserved_until = inflight.snapshot.reserved_until
        self.void_sure = inflight.snapshot.void_below
        effects: list[Effect] = []
        if inflight.closes:
            self.parts.places.new_version()
        if not self.models.has(self.version):
            effects += self._publish(event.blob, now)
        effects += self.staged.written()
        effects += [Retract(blob) for blob in inflight.retired if not self.models.uses(blob)]
        return effects + self._release(now)

    def _publish(self, blob: BlobRef, now: float) -> list[Effect]:
        """The version is durable: devices get it from now on."""
        again = self.made.of_version.get(self.version) == 0  # training diverged: an earlier one, under a new number
        best = self.parts.ranking.best
        if again and best is not None and self.models.has(best[0]) and self.models.of(best[0]) == blob:
            self.parts.ranking.repeat(self.version)
        self.diverged = "" if again else self.diverged
        self.models.publish(self.version, blob)
        self.parts.ranking.published(self.version)
        self.typical_before = self.typical.snapshot()
        effects: list[Effect] = [Publish(self.version, self.model, blob)]
        oldest = self.version - self.parts.workflow.staleness_max
        self.bases.publish(self.version, self.model, oldest)
        if self._live.end_older(oldest):
            self.groups.forget_all_but(self._live)
        self.counted.forget(oldest, now)
        self._retire({version for version, _ in self.models.all()})
        self.made.keep(self.models.has)
        last = not again and self.rules.versions_max is not None and self.version >= self.rules.versions_max
        completed = self._ending is not None and not self._ending.aborted
        if self.parts.evaluation.due(self.version, last or completed) and not again:
            effects += self.parts.evaluation.want(Evaluate(self.version, self.model))
        if last:
            self._end(Ending(aborted=False, reason=f"version {self.version} is the last", drained=True, sure=True))
        return effects

    def _retire(self, versions: set[int]) -> None:
        """Let go of models nobody needs. Their files go with the next commit: till then a restart may need them."""
        self._retired += self.models.retire(versions, self._live, self._keeps)

    def _keeps(self, version: int) -> bool:
        """Whether the model of ``version`` stays though no device may need it."""
        newest = self.models.newest()
        assert newest is not None
        return self.parts.ranking.keeps(version, newest[0]) or self.parts.evaluation.awaits(version)

    def _commit_doubtful(self, event: CommitDoubtful) -> list[Effect]:
        """A commit failed, and the journal cannot say yet whether it happened: RETRY is true in either case."""
        assert self.commits.under_way is not None
        self.commits.under_way.doubtful = True
        self._note_disk_error(event.reason)
        return [send_again(answer, answers.IN_DOUBT) for answer in self.staged.dismiss()]

    def _note_disk_error(self, reason: str) -> None:
        if not self.commits.trouble:  # once, however many commits fail
            self.warnings.add(f"a commit failed; its results were not acknowledged, devices send them again: {reason}")
        self.commits.error = self.commits.trouble = reason

    def _commit_failed(self, event: CommitFailed, now: float) -> list[Effect]:
        """A failed commit may have happened: answer by what the journal holds, and go on from there."""
        if event.durable is not None and event.durable.commit > self.commits.last:
            assert event.blob is not None
            return self._committed(Committed(event.commit, self.committing_for(now), event.blob), now)
        inflight = self.commits.failed(now)
        self.parts.places.lose_changes()
        self._note_disk_error(event.reason)
        if self._ending is not None:
            self._ending.failed_commits += 1
        self._retired += inflight.retired
        effects: list[Effect] = [send_again(answer, answers.NOT_SAVED) for answer in self.staged.dismiss()]
        self.staged.drop()
        if event.durable is not None:
            resumed = not self.parts.workflow.paused
            self._restore_sums(event.durable)  # leases granted since then stand: their seals are out there
            if resumed and self.parts.workflow.paused:  # a person has been told that it goes on
                self.parts.workflow.resume(self.pause.clock(now))
        return effects + self._release(now)

    def _recover(self, durable: Snapshot) -> None:
        """Take over from an earlier process: everything is as of its last commit, nothing is replayed."""
        self._restore_sums(durable)
        snapshots.restore_rest(self, durable)
        if durable.ending:
            self._end(Ending(aborted=False, reason=durable.ending, remembered=True))

    def _restore_sums(self, durable: Snapshot) -> None:
        snapshots.restore_sums(self, durable)

    # --- evaluation and the end --------------------------------------------------------------------------------

    def _evaluated(self, event: Evaluated) -> list[Effect]:
        evaluation = self.parts.evaluation
        if event.metrics is not None:
            if evaluation.fails is not None:
                self.warnings.add(failed(evaluation.fails))
            self._rank(event.version, event.metrics)
        best, metric = self.parts.ranking.best, self.parts.ranking.metric
        if metric in event.not_finite and best is not None and event.version > best[0] and self.returning_to is None:
            self.diverged = f"{metric} of version {event.version} is not finite"
        return [*evaluation.ended(event.version, event.metrics, event.error)]

    def _rank(self, version: int, metrics: Mapping[str, float]) -> None:
        ranking = self.parts.ranking
        if ranking.take(version, metrics, self.version):
            self.commits.save_by(0.0)  # at once: its model is kept for it
        if complaint := ranking.complaint(metrics):
            self.warnings.add(complaint)
        if reason := ranking.over(version, metrics):
            self._end(Ending(aborted=False, reason=reason, remembered=True))

    def _end(self, ending: Ending) -> None:
        if self._ending is None:
            self._ending = ending

    def _stop(self, reason: str) -> None:
        """A person's word goes before a rule's: it ends waiting for the disk and for an evaluation."""
        self._end(Ending(aborted=True, reason=reason))
        assert self._ending is not None
        self._ending.stop(reason)

    def _watch_time(self, now: float) -> None:
        """Before anything else is done: a restarted job must not take results that its predecessor was too late for."""
        if self.rules.time_max_s is not None and self.pause.clock(now) >= self.rules.time_max_s:
            self._end(Ending(aborted=False, reason=f"the job ran for {self.rules.time_max_s:g} s"))

    def _wind_up(self, now: float) -> list[Effect]:
        """The last steps, one per event; see ``Ending``."""
        ending, parts = self._ending, self.parts
        assert ending is not None
        effects = [] if ending.announced or ending.hopeless else self._release(now)
        unsaved = bool(self.staged.fresh) or self.commits.save_wanted
        count, live, evaluating = parts.aggregator.count, len(self._live), parts.evaluation.running
        match ending.next(now, parts.workflow, count, live, unsaved=unsaved, evaluating=evaluating):
            case Step.DRAIN:
                due = self.commits.due(now, self._must_commit())
                return [*effects, self._commit(now)] if due else effects
            case Step.DRAINED:
                self._drained()
                return effects + self._wind_up(now)
            case Step.CLOSE:
                return effects + self._close(now)
            case Step.COMMIT:
                return [*effects, self._commit(now)]
            case Step.FINISH:
                return [*effects, self._finish()]
            case Step.GIVE_UP:
                self._drained()
                finish = self._finish("the disk failed")
                return [*self._release(now), finish]
        return effects

    def _drained(self) -> None:
        """No result counts any more."""
        assert self._ending is not None
        self._ending.drained = True
        self._void()

    def _void(self) -> None:
        """No result of a task that is out counts any more, nor will it when the job is started again."""
        self.void_below = self.parts.places.next_task
        self.parts.places.void(self.version, self.counted)
        self.groups.forget_all_but(self._live)

    def _finish(self, why: str = "") -> Finish:
        assert self._ending is not None
        ending, buffered = self._ending, self.parts.aggregator.count
        ending.announced = True
        last = "the last step would not have been finite" if ending.diverged else ""
        ending.reason = "; ".join(filter(None, (ending.reason, why, last, self.made.words(buffered))))
        return Finish(ending.aborted, ending.reason, self.made.left(buffered))
