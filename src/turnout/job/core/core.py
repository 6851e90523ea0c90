"""All that a job decides: events in, effects out. ``shell.py`` is around it, in a job's process and in the simulation.

The core keeps two states apart by one rule: what devices see is what is durable. A result is *staged* when it is added
to the running sum and *counted* when the commit that holds it is durable; only then is its sender answered. While the
commit that closes a version is under way the core holds what comes in, so no device sees a version that may not become
durable.

``states.py`` has the states and what leads from one to the next. Requests are answered in ``tasks.py`` and
``results.py``; ``versions.py`` and ``endings.py`` do what follows from them.

``now`` is job time in seconds: a persisted value plus monotonic elapsed time, which no clock change moves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from turnout.job.core import answers, invariants, snapshots
from turnout.job.core.commits import Trouble
from turnout.job.core.endings import Endings
from turnout.job.core.events import (
    Cancelled,
    CommitDoubtful,
    CommitFailed,
    Committed,
    Effect,
    Evaluated,
    Event,
    Paused,
    Recalled,
    Result,
    ResultOffered,
    ResultsRefused,
    Resumed,
    Retract,
    SelectionAsked,
    TaskAsked,
    Tick,
)
from turnout.job.core.results import Results
from turnout.job.core.staged import send_again
from turnout.job.core.states import (
    Closing,
    Draining,
    End,
    Happened,
    Kind,
    Open,
    Over,
    Recalling,
    Recovering,
    Settled,
    Settling,
)
from turnout.job.core.tasks import Tasks
from turnout.job.core.versions import DRAIN_S
from turnout.job.journal.journal import SavedJob, Snapshot
from turnout.job.places.places import SavedPlaces
from turnout.job.workflow.evaluation import failed
from turnout.job.workflow.workflow import CLOSE, PAUSE, WAIT


@dataclass(slots=True)
class JobCore(Tasks, Results, Endings):
    """One training run. Call ``start`` once, then ``handle`` for every event, and carry out the effects in order."""

    def start(self, now: float, snapshot: Snapshot | None) -> list[Effect]:
        """Recover from what the journal holds, and reserve task numbers before the first is given out."""
        if snapshot is None:
            self.counted.open(0, 0)
            self.parts.workflow.opened(self.pause.clock(now))
        else:
            self._recover(snapshot, now)
            self._watch_time(now)
        self.name_state()
        return [self._commit(now)]

    def handle(self, event: Event, now: float) -> list[Effect]:
        """What follows from ``event``, in the order in which it must be done."""
        expiry = self.parts.places.live.next_expiry()
        if expiry is not None and expiry <= now:
            self._expire(now)
        if self.rules.time_max_s is not None:
            self._watch_time(now)
        effects = self._react(event, now)
        if self.commits.possible(now):
            effects += self._advance(now)
        if self.checks:
            invariants.check(self)
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
                self._hear_refused(event, now)
            case Committed():
                return self._committed(event, now)
            case CommitDoubtful():
                return self._commit_doubtful(event)
            case CommitFailed():
                return self._commit_failed(event, now)
            case SelectionAsked():
                return [self._select(event, now)]
            case Evaluated():
                return self._evaluated(event, now)
            case Recalled():
                return self._recalled(event, now) + self._release(now)
            case Paused():
                self.pause.begin(now)
                self._pause_changed(now)
            case Resumed() if self.pause.on or self.parts.workflow.paused:
                self.pause.end(now)
                self.parts.workflow.resume(self.pause.clock(now))
                self._pause_changed(now)
            case Cancelled():
                self._cancel(event.reason, now)  # control says it again to the next process
            case Tick():
                pass
        return []

    def _advance(self, now: float) -> list[Effect]:
        """What the state wants done, now that no commit is under way: close a version, commit what is staged, end."""
        match self.state:
            case Open():
                return self._grow(now)
            case Recalling() | Over():
                return []
            case Recovering(end) | Draining(end) | Settling(end) | Settled(end) if end is not None and end.hopeless:
                return self._give_up(end, now)
            case Recovering():  # the first commit of this process failed: try again
                return [self._commit(now)]
            case Draining():
                return self._drain(self.state, now)
            case Settling():
                return self._settle(self.state, now)
            case Settled():
                return self._announce(self.state, now)
            case Closing():
                raise AssertionError("a version closes with its commit")

    def _grow(self, now: float) -> list[Effect]:
        """Close the version or commit what is staged, if it is time."""
        if self.diverged:
            return self._diverge(self.diverged, now)
        workflow, buffered = self.parts.workflow, self.parts.aggregator.count
        live, clock = len(self.parts.places.live), self.pause.clock(now)
        verdict = workflow.verdict(buffered, live, clock)
        if verdict is CLOSE:
            return self._close(now)
        if verdict is PAUSE:
            words = workflow.words(buffered, live, self.version, clock)
            self.warnings.add(f"paused; the job waits for {words}")
        if verdict is not WAIT:
            self._pause_changed(now)  # or a deadline: after a restart, too
        return [self._commit(now)] if self.commits.due(now, self.must_commit()) else []

    def _pause_changed(self, now: float) -> None:
        self.commits.save_by(now)
        self.name_state()

    def _release(self, now: float) -> list[Effect]:
        """Handle what was held, in its order, for as long as nothing has to be held."""
        effects: list[Effect] = []
        while self.held and not self.holding():
            effects += self._react(self.held.next(), now)
        return effects

    def _give_up(self, end: End, now: float) -> list[Effect]:
        """Announce the end without the last commit, which the disk does not take."""
        self._void(now)
        finish = self._finish(end, Happened.GIVEN_UP, now, "the disk failed")
        return [*self._release(now), finish]

    # --- what became of a commit -------------------------------------------------------------------------------

    def _committed(self, event: Committed, now: float) -> list[Effect]:
        writing = self.commits.done(event.took_s, now)
        snapshot = writing.snapshot
        assert event.commit == snapshot.commit
        self.parts.places.reserved_until = snapshot.of(SavedPlaces).reserved_until
        self.void_sure = snapshot.of(SavedJob).void_below
        if writing.closes:
            self.parts.places.new_version()
        effects: list[Effect] = []
        last = None
        if not self.models.has(self.version):
            effects, last = self._publish(event.blob, now)
        match self.state:
            case Recovering(end) | Closing(_, end):
                self.to(Happened.COMMITTED, self._begun(end, last, now), now)
            case Settling(end):
                self.to(Happened.COMMITTED, Settled(end), now)
            case _:
                self.name_state()
        self.story.extend(now, self.staged.writing, "counted", self.version if writing.closes else self.version + 1)
        effects += self.staged.written()
        effects += [Retract(blob) for blob in writing.retired if not self.models.uses(blob)]
        return effects + self._release(now)

    def _begun(self, end: End | None, last: End | None, now: float) -> Open | Draining | Settled:
        """The state in which a published version begins. ``end`` was decided before; ``last``: no other follows."""
        if end is not None:
            return Draining(end, now + DRAIN_S)
        return Settled(last) if last is not None else Open()

    def _commit_doubtful(self, event: CommitDoubtful) -> list[Effect]:
        """A commit failed, and the journal cannot say yet whether it happened: RETRY is true in either case."""
        self._note_trouble(event.reason, of_version=False)
        self.commits.doubt(event.reason)
        self.name_state()
        return [send_again(answer, answers.IN_DOUBT) for answer in self.staged.dismiss()]

    def _commit_failed(self, event: CommitFailed, now: float) -> list[Effect]:
        """A failed commit may have happened: answer by what the journal holds, and continue from there."""
        if event.durable is not None and event.durable.commit > self.commits.last:
            assert event.blob is not None
            return self._committed(Committed(event.commit, self.committing_for(now), event.blob), now)
        writing = self.commits.failed(event.reason, now)
        snapshots.lose_changes(self)
        self._note_trouble(event.reason, writing.closes)
        self.retired += writing.retired
        self.story.extend(now, self.staged.writing, "its commit failed", event.reason)
        effects: list[Effect] = [send_again(answer, answers.NOT_SAVED) for answer in self.staged.dismiss()]
        self.staged.drop()
        if event.durable is not None:
            resumed = not self.parts.workflow.paused
            self._restore_sums(event.durable)  # leases granted since then stand: their seals are out there
            if resumed and self.parts.workflow.paused:  # a person has been told that it continues
                self.parts.workflow.resume(self.pause.clock(now))
        self._try_again(now)
        return effects + self._release(now)

    def _try_again(self, now: float) -> None:
        """The state after a commit that failed. Where the end is decided, the disk has had a chance more."""
        state = self.state
        if isinstance(state, Closing):
            end = replace(state.end, failed_commits=state.end.failed_commits + 1) if state.end is not None else None
            self.to(Happened.COMMIT_FAILED, Open() if end is None else Draining(end, now + DRAIN_S), now)
        elif not isinstance(state, Open) and state.end is not None:
            end = replace(state.end, failed_commits=state.end.failed_commits + 1)
            self.to(Happened.COMMIT_FAILED, replace(state, end=end), now)
        else:
            self.name_state()

    def _note_trouble(self, reason: str, of_version: bool) -> None:
        before = self.commits.trouble
        if before is None:  # once, however many commits fail
            self.warnings.add(f"a commit failed; its results were not acknowledged, devices send them again: {reason}")
        self.commits.trouble = Trouble(reason, of_version or (before is not None and before.of_version))

    # --- recovery ----------------------------------------------------------------------------------------------

    def _recover(self, durable: Snapshot, now: float) -> None:
        """Take over from an earlier process: everything is as of its last commit, nothing is replayed."""
        self._restore_sums(durable)
        snapshots.restore_rest(self, durable)
        if ending := durable.of(SavedJob).ending:
            self._end(End(Kind.COMPLETED, ending, remembered=True), now)

    def _restore_sums(self, durable: Snapshot) -> None:
        snapshots.restore_sums(self, durable)

    # --- what ends it ------------------------------------------------------------------------------------------

    def _evaluated(self, event: Evaluated, now: float) -> list[Effect]:
        evaluation = self.parts.evaluation
        if event.metrics is not None:
            if evaluation.fails is not None:
                self.warnings.add(failed(evaluation.fails))
            self._rank(event.version, event.metrics, now)
        best, metric = self.parts.ranking.best, self.parts.ranking.metric
        returns = isinstance(self.state, Recalling)
        if metric in event.not_finite and best is not None and event.version > best[0] and not returns:
            self.diverged = f"{metric} of version {event.version} is not finite"
        return [*evaluation.ended(event.version, event.metrics, event.error)]

    def _rank(self, version: int, metrics: Mapping[str, float], now: float) -> None:
        ranking = self.parts.ranking
        if ranking.take(version, metrics, self.version):
            self.commits.save_by(0.0)  # at once: its model is kept for it
        if complaint := ranking.complaint(metrics):
            self.warnings.add(complaint)
        if reason := ranking.over(version, metrics):
            self._end(End(Kind.COMPLETED, reason, remembered=True), now)

    def _watch_time(self, now: float) -> None:
        """Before anything else is done: a restarted job must not take results that its predecessor was too late for."""
        if self.rules.time_max_s is not None and self.pause.clock(now) >= self.rules.time_max_s:
            self._end(End(Kind.COMPLETED, f"the job ran for {self.rules.time_max_s:g} s"), now)
