"""How a job ends: from the decision to the announcement, one step at a time.

First it drains: no new task is granted, and those that are out may still be reported, for as long as a version can
come of them. Then no result is counted any more, and once that is durable, results are refused. No last version is made
of fewer results than the job's rule says; what is left stays in the journal.
"""

from dataclasses import replace

from turnout.job.core.events import Effect, Finish
from turnout.job.core.states import (
    Closing,
    Draining,
    End,
    Failed,
    Happened,
    Kind,
    Open,
    Over,
    Recalling,
    Recovering,
    Settled,
    Settling,
)
from turnout.job.core.versions import DRAIN_S, Versions


class Endings(Versions):
    """Ends the job."""

    __slots__ = ()

    def _end(self, end: End, now: float) -> None:
        """Decide it, if it is not decided yet. What is under way comes first."""
        match self.state:
            case Open():
                self.to(Happened.ENDED, Draining(end, now + DRAIN_S), now)
            case Recovering(None) | Closing(_, None) | Recalling(_, _, None):
                self.to(Happened.ENDED, replace(self.state, end=end), now)

    def _cancel(self, reason: str, now: float) -> None:
        """A person's word goes before a rule's: it ends waiting for the disk and for an evaluation."""
        self._end(End(Kind.CANCELLED, reason), now)
        state = self.state
        if not isinstance(state, Open | Over) and state.end is not None and state.end.kind is not Kind.CANCELLED:
            end = replace(state.end, kind=Kind.CANCELLED, reason=reason, remembered=False, failed_commits=0)
            self.to(Happened.ENDED, replace(state, end=end), now)

    def _drain(self, draining: Draining, now: float) -> list[Effect]:
        """Wait for results of tasks that are out, while a version can come of them."""
        workflow, buffered, live = self.parts.workflow, self.parts.aggregator.count, len(self.parts.places.live)
        in_vain = not live or buffered + live < workflow.least
        if buffered < workflow.goal and not in_vain and now < draining.until:
            return [self._commit(now)] if self.commits.due(now, self.must_commit()) else []
        return self._settle(self._drained(draining, now), now)

    def _drained(self, draining: Draining, now: float) -> Settling:
        self._void(now)
        settling = Settling(draining.end)
        self.to(Happened.DRAINED, settling, now)
        return settling

    def _settle(self, settling: Settling, now: float) -> list[Effect]:
        """Make durable that no result counts any more, with a last version if there is enough for one."""
        if self.parts.aggregator.count >= self.parts.workflow.least and not settling.end.diverged:
            return self._close(now)
        return [self._commit(now)]

    def _announce(self, settled: Settled, now: float) -> list[Effect]:
        """Once nothing is left to wait for: an evaluation, unless a person ends the job, or what it wants saved."""
        if self.parts.evaluation.running and settled.end.kind is not Kind.CANCELLED:
            return []
        unsaved = isinstance(self.commits.state, Failed)
        if self.staged.fresh or self.commits.save_at is not None or unsaved:
            return [self._commit(now)]
        return [self._finish(settled.end, Happened.ANNOUNCED, now)]

    def _finish(self, end: End, how: Happened, now: float, why: str = "") -> Finish:
        buffered = self.parts.aggregator.count
        last = "the last step would not have been finite" if end.diverged else ""
        reason = "; ".join(filter(None, (end.reason, why, last, self.made.words(buffered))))
        self.to(how, Over(replace(end, reason=reason), durable=isinstance(self.state, Settled)), now)
        return Finish(end.kind, reason, self.made.left(buffered))
