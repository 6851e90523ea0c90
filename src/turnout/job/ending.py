"""How a job ends."""

from dataclasses import dataclass


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
