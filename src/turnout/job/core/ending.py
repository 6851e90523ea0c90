"""How a job ends: from the decision to the announcement, one step at a time.

First it drains: no new task is given out, and those that are out may still be reported, for as long as a version can
come of them. Then no result is counted any more, and once that is durable, results are refused. No last version is made
of fewer results than the job's rule says; what is left stays in the journal.
"""

from dataclasses import dataclass
from enum import Enum

from turnout.job.workflow.workflow import Workflow

DRAIN_S = 15.0  #: The longest wait for results of tasks that are out, once it is decided that the job ends.
LAST_COMMITS_MAX = 5  #: Failed commits after which a job that a person stops ends without the last.


class Step(Enum):
    """What an ending job does next, once no commit is under way."""

    DRAIN = "drain"  #: Go on as ever, but for new tasks.
    DRAINED = "drained"  #: Take no results any more.
    CLOSE = "close"  #: Make a last version of what is in the buffer.
    COMMIT = "commit"  #: Make durable what is not.
    WAIT = "wait"  #: For an evaluation, unless a person ends the job.
    FINISH = "finish"  #: Announce the end.
    GIVE_UP = "give up"  #: Announce it without the last commit, which the disk does not take.
    REST = "rest"  #: It is announced.


@dataclass(slots=True)
class Ending:
    """The end of a job. Times are job time."""

    aborted: bool
    reason: str
    remembered: bool = False  #: Its reason is in the snapshots: a restart could not find it out again.
    drains_until: float | None = None  #: None: it has not begun to drain.
    drained: bool = False  #: No result is counted any more.
    sure: bool = False  #: No crash can undo that: a commit made since is durable, or it was durable from the first.
    diverged: bool = False  #: The results in the buffer make no model.
    failed_commits: int = 0
    announced: bool = False

    @property
    def draining(self) -> bool:
        return not self.drained

    @property
    def hopeless(self) -> bool:
        """Whether the disk has had its chances."""
        return self.aborted and self.failed_commits >= LAST_COMMITS_MAX

    def stop(self, reason: str) -> None:
        """A person ends the job, which a rule may have begun to end; the disk has its chances from now on."""
        if not self.aborted and not self.announced:
            self.aborted, self.reason, self.remembered, self.failed_commits = True, reason, False, 0

    def begin(self, now: float) -> None:
        if self.drains_until is None:
            self.drains_until = now + DRAIN_S

    def next(
        self, now: float, workflow: Workflow, buffered: int, live: int, *, unsaved: bool, evaluating: bool
    ) -> Step:
        """``buffered`` results are in the sum of the open version, ``live`` tasks are out.

        ``unsaved``: something waits for a commit.
        """
        if self.announced:
            return Step.REST
        if self.hopeless:
            return Step.GIVE_UP
        if not self.drained:
            return self._drain(now, workflow, buffered, live)
        if buffered >= workflow.least and not self.diverged:
            return Step.CLOSE
        if not self.sure:
            return Step.COMMIT
        if evaluating and not self.aborted:
            return Step.WAIT
        return Step.COMMIT if unsaved else Step.FINISH

    def _drain(self, now: float, workflow: Workflow, buffered: int, live: int) -> Step:
        assert self.drains_until is not None, "it has begun"
        if buffered >= workflow.goal:
            return Step.DRAINED
        in_vain = not live or buffered + live < workflow.least  # no version can come of it
        return Step.DRAINED if in_vain or now >= self.drains_until else Step.DRAIN
