"""How a job ends: from the decision to the announcement, one step at a time."""

from dataclasses import dataclass
from enum import Enum

LAST_COMMITS_MAX = 5  #: Failed commits after which a job that somebody or something stops does so without the last.


class Step(Enum):
    """What an ending job does next, once no commit is under way."""

    COMMIT = "commit"  #: Make durable what is not.
    CLOSE = "close"  #: Make a last version of what is in the buffer.
    WAIT = "wait"  #: For an evaluation.
    FINISH = "finish"  #: Announce the end.
    GIVE_UP = "give up"  #: Announce it without the last commit, which the disk does not take.
    REST = "rest"  #: It is announced.


@dataclass(slots=True)
class Ending:
    """The end of a job, from the decision to the announcement."""

    aborted: bool
    reason: str
    diverged: bool = False  #: The results in the buffer make no model.
    failed_commits: int = 0
    sure: bool = False  #: No crash can undo it: a commit made since is durable, or it was durable from the first.
    announced: bool = False
    remembered: bool = False  #: Its reason is in the snapshots: a restart could not find it out again.

    @property
    def hopeless(self) -> bool:
        """Whether the disk has had its chances."""
        return self.aborted and self.failed_commits >= LAST_COMMITS_MAX

    def next(self, staged: bool, buffered: int, evaluating: bool) -> Step:
        """``staged``: results wait for a commit; ``buffered`` are in the sum of the version that is open."""
        if self.announced:
            return Step.REST
        if self.hopeless:
            return Step.GIVE_UP
        if buffered and not self.diverged:
            return Step.CLOSE
        if staged or not self.sure:  # after a crash this would not be the end, and who was refused might be counted
            return Step.COMMIT
        return Step.WAIT if evaluating else Step.FINISH

    def give_up(self, left: int) -> None:
        """Without the last version, of which ``left`` results would be."""
        self.reason += f"; the disk failed, so {left} counted results are in no version of the model"
