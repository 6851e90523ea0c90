"""How a version comes to be: made of the open sum, durable with its commit, then published; or made anew of an earlier
one, where training diverged.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from turnout.blobs.base import BlobRef
from turnout.job.core import divergence, snapshots
from turnout.job.core.events import Commit, Effect, Publish, Recall, Recalled
from turnout.job.core.standing import Standing
from turnout.job.core.states import Closing, Draining, End, Happened, Kind, Recalling, Settling, Writing
from turnout.job.core.story import EVERY
from turnout.job.journal.journal import Snapshot
from turnout.job.workflow.evaluation import Evaluate

DRAIN_S = 15.0  #: The longest wait for results of tasks that are out, once it is decided that the job ends.


class Versions(Standing):
    """Makes versions."""

    __slots__ = ()

    # --- making one --------------------------------------------------------------------------------------------

    def _close(self, now: float) -> list[Effect]:
        """Make the next version of what is in the sum. Nobody sees it before its commit."""
        aggregator, optimizer = self.parts.aggregator, self.parts.optimizer
        assert aggregator.count >= self.parts.workflow.least, "a version of fewer results than the rule says"
        before = optimizer.snapshot()
        model = optimizer.step(self.model, aggregator.mean())
        if not np.isfinite(model).all():
            optimizer.restore(before)
            return self._diverge(f"version {self.version + 1} would not have been finite", now)
        return self._next_version(model, aggregator.count, Happened.CLOSED, now)

    def _next_version(self, model: NDArray[np.float32], results: int, why: Happened, now: float) -> list[Effect]:
        """``results`` is 0 for an earlier version under a new number. An ending job makes its last version so, too."""
        self.model = model
        self.parts.aggregator.clear()
        self.version += 1
        self.made.close(self.version, results)
        self.counted.open(self.version, self.parts.places.next_task)
        self.parts.workflow.opened(self.pause.clock(now))
        if not isinstance(self.state, Settling):
            self.to(why, Closing(self.version), now)
        return [self._commit(now, closes=True)]

    def _commit(self, now: float, closes: bool = False) -> Effect:
        """Make durable what there is. ``closes``: it makes a version."""
        assert self.tally.counted == self.made.total + self.parts.aggregator.count, "a counted result is somewhere"
        snapshot = self._snapshot(now, closes)
        self.commits.begin(Writing(snapshot, closes, tuple(self.retired), now, self.commits.error))
        self.retired = []
        self.staged.write()
        return Commit(snapshot)

    def _snapshot(self, now: float, closes: bool) -> Snapshot:
        return snapshots.taken(self, now, closes)

    # --- where training diverges -------------------------------------------------------------------------------

    def _diverge(self, why: str, now: float) -> list[Effect]:
        """Go back to the best version or, where none is, to the newest. A job that ends stays where it is."""
        if isinstance(self.state, Settling):
            self.to(Happened.DIVERGED, Settling(replace(self.state.end, diverged=True)), now)
            return [self._commit(now)]
        best = self.parts.ranking.best
        if best is None or best[0] == self.version or not self.models.has(best[0]):
            return self._return_to(self.version, self.model, why, Happened.DIVERGED, now)
        self.to(Happened.DIVERGED, Recalling(best[0], why), now)
        return [Recall(best[0], self.models.of(best[0]))]

    def _recalled(self, event: Recalled, now: float) -> list[Effect]:
        recalling = self.state
        assert isinstance(recalling, Recalling)
        assert event.version == recalling.version
        if recalling.end is not None:  # decided meanwhile
            after = Draining(replace(recalling.end, diverged=True), now + DRAIN_S)
            self.to(Happened.RECALLED, after, now)
            return []
        if event.model is not None and np.isfinite(event.model).all():
            return self._return_to(event.version, event.model, recalling.why, Happened.RECALLED, now)
        self.warnings.add(
            f"the model of version {event.version}, the best, cannot be read: {event.error or 'it is not finite'}"
        )
        return self._return_to(self.version, self.model, recalling.why, Happened.RECALLED, now)

    def _return_to(self, version: int, model: NDArray[np.float32], why: str, how: Happened, now: float) -> list[Effect]:
        """Make the model of an earlier version the next one, and wait for a person. No result has part in it."""
        aggregator, ranking = self.parts.aggregator, self.parts.ranking
        reason = divergence.words(why, aggregator.count, self.version + 1, version, ranking)
        self.warnings.add(f"paused; {reason}")
        self.made.dropped += aggregator.count
        self.parts.optimizer.restore(())
        self.typical.load(self.typical_before)  # what diverged would be taken for usual
        self._void(now)
        self.pause.begin(now, reason)
        return self._next_version(model, 0, how, now)

    def _void(self, now: float) -> None:
        """No result of a task that is out counts any more, nor will it when the job is started again."""
        self.void_below = self.parts.places.next_task
        self.parts.places.void(self.version, self.counted)
        self.groups.forget_all_but(self.parts.places.live)
        self.story.add(now, EVERY, "tasks that were out are void", self.void_below)

    # --- publishing --------------------------------------------------------------------------------------------

    def _publish(self, blob: BlobRef, now: float) -> tuple[list[Effect], End | None]:
        """The version is durable: devices get it from now on. Also returns why the job ends, if it is the last."""
        again = self.made.of_version.get(self.version) == 0  # training diverged: an earlier one, under a new number
        best = self.parts.ranking.best
        if again and best is not None and self.models.has(best[0]) and self.models.of(best[0]) == blob:
            self.parts.ranking.repeat(self.version)
        self.diverged = "" if again else self.diverged
        self.models.publish(self.version, blob)
        self.parts.ranking.published(self.version)
        self.typical_before = self.typical.save()
        oldest = self.version - self.parts.workflow.staleness_max
        self.bases.publish(self.version, self.model, oldest)
        if self.parts.places.live.end_older(oldest):
            self.groups.forget_all_but(self.parts.places.live)
        self.counted.forget(oldest, now)
        self._retire({version for version, _ in self.models.all()})
        self.made.keep(self.models.has)
        last, end = not again and self._is_last(), self.state.end
        effects: list[Effect] = [Publish(self.version, self.model, blob)]
        completed = end is not None and end.kind is not Kind.CANCELLED
        if self.parts.evaluation.due(self.version, last or completed) and not again:
            effects += self.parts.evaluation.want(Evaluate(self.version, self.model))
        self.story.add(now, EVERY, "published", self.version)
        return effects, End(Kind.COMPLETED, f"version {self.version} is the last") if last else None

    def _is_last(self) -> bool:
        return self.rules.versions_max is not None and self.version >= self.rules.versions_max

    def _retire(self, versions: set[int]) -> None:
        """Retire models that no device can need. Their files go with the next commit: a restart may need them."""
        self.retired += self.models.retire(versions, self.parts.places.live, self._keeps)

    def _keeps(self, version: int) -> bool:
        """Whether the model of ``version`` stays though no device may need it."""
        newest = self.models.newest()
        assert newest is not None
        return self.parts.ranking.keeps(version, newest[0]) or self.parts.evaluation.awaits(version)
