"""How each kind of child is kept: its patience, its backoff, and what its exit codes mean. Pure."""

import signal
from dataclasses import dataclass
from enum import StrEnum

from turnout.job.exits import EXIT_NOT_NOW, EXIT_NOT_OURS, EXIT_STOPPED

NOT_ITS_FAULT = (EXIT_NOT_OURS, EXIT_NOT_NOW)  #: A job that ends so is started again however often it does.
#: How a process ends that somebody else has ended: a person, or the system when memory runs out.
FROM_OUTSIDE = frozenset(
    {EXIT_STOPPED, *(-number for number in signal.Signals if number.name in ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"))}
)
RETIRE_MARGIN_S = 20.0  #: From the end of a gateway's last request until it is killed.
KILLS_TOLD = 3  #: A job that was killed this often in a row is shown as one that cannot run for now.
HANG_S = 20.0  #: A process silent this long hangs. Its loop beats each second; nothing it does there takes as long.


class Kind(StrEnum):
    """The roles, in the order in which they are stopped."""

    GATEWAY = "gateway"
    JOB = "job"
    CONTROL = "control"


@dataclass(frozen=True, slots=True)
class Policy:
    """How one kind of child is kept."""

    failures_max: int | None  #: Given up after this many failures; None: never, control and gateways must be.
    grace_s: float  #: From the signal to stop until it is killed.
    hang_s: float = HANG_S  #: Killed when it gave no sign of life for this long ...
    start_s: float = 60.0  #: ... or, until its first one, for this long: imports are slow on a busy machine.
    retire_s: float = 0.0  #: Grace of one whose successor is up already.
    #: Failures count together when they come within this time, with no progress between them. A job makes progress when
    #: a commit counts a result that was not counted before, or makes a version. One that nobody works for makes none,
    #: so this must be short enough that a few kills in its long life are not taken for its own fault, and long enough
    #: to notice one that each time lives for minutes and dies before it has counted anything.
    failures_within_s: float = 3600.0
    backoff_min_s: float = 0.2  #: Wait before the first restart; doubles with each failure in a row.
    backoff_max_s: float = 10.0
    killed_backoff_max_s: float = 60.0  #: The longest wait after it was killed from outside: memory comes back slowly.
    healthy_s: float = 10.0  #: After a life this long the next restart waits the shortest time again.

    def backoff_s(self, failures: int, killed: bool = False) -> float:
        """The wait after this many failures in a row (>= 1)."""
        longest_s = self.killed_backoff_max_s if killed else self.backoff_max_s
        return min(longest_s, self.backoff_min_s * 2.0 ** min(failures - 1, 30))


def policies(hang_s: float = HANG_S, retire_s: float = 140.0) -> dict[Kind, Policy]:
    """How the children of a server are kept; ``retire_s`` is what a gateway gives the requests that it still has."""
    return {
        # A gateway that has a successor finishes a large result that comes over a slow network.
        Kind.GATEWAY: Policy(failures_max=None, grace_s=3.0, hang_s=hang_s, retire_s=retire_s + RETIRE_MARGIN_S),
        # A job builds its initial model before it beats, and that is other people's code.
        Kind.JOB: Policy(failures_max=5, grace_s=10.0, hang_s=hang_s, start_s=300.0),
        # Until control has ordered the jobs, and told gateways of them, nobody is served: it is not kept waiting.
        Kind.CONTROL: Policy(failures_max=None, grace_s=3.0, hang_s=hang_s, backoff_max_s=2.0),
    }


GRACE_S = sum(policy.grace_s for policy in policies().values())  #: At most from the word to end until all have ended.


def describe_exit(code: int) -> str:
    """An exit code in words, as the verb of a sentence."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
