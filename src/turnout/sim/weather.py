"""What may go wrong in a simulated world, and how often."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from random import Random


class Point(Enum):
    """Where the job's process may be killed, other than at a time that has nothing to do with what it does."""

    START = "before it has read its journal"
    EVENT = "before the core handles an event"
    EFFECT = "before an effect: some of the answers of one commit are out, others not"
    WRITING = "when a commit is nearly on disk"
    WRITTEN = "when a commit is on disk, and nobody knows of it"
    READING = "when a commit failed, before the disk is asked what it holds"


#: The highest probability drawn for each: a world has thousands of events, hundreds of commits and a few starts.
CRASH_MAX = {
    Point.START: 0.3,
    Point.EVENT: 0.003,
    Point.EFFECT: 0.004,
    Point.WRITING: 0.03,
    Point.WRITTEN: 0.03,
    Point.READING: 0.2,
}


@dataclass(frozen=True, slots=True)
class Weather:
    """Probabilities are per message, per task or per commit; times are in virtual seconds, 0 for never."""

    training_s: float  #: Mean time that a device trains.
    asks_first: float  #: Share of results of which a gateway asks the job before it reads them.
    delay_s: float = 0.02  #: Mean of the exponential delay of each message on the device's side: reorders them too.
    hop_s: float = 0.001  #: Mean delay between gateway and job.
    restart_s: float = 0.5  #: Mean time until a crashed process runs again.
    commit_s: float = 0.002  #: Mean duration of a commit.
    # --- devices and their network
    lost: float = 0.0  #: A request or a reply between device and gateway disappears.
    doubled: float = 0.0  #: A request reaches the gateway twice.
    echoed: float = 0.0  #: A copy of a request arrives much later,
    echo_s: float = 60.0  #: by this much, on average.
    copies: int = 1  #: How often a device sends each result at once, each copy to any gateway.
    dropout: float = 0.0  #: A device vanishes in the middle of a task and comes back later, knowing nothing.
    leaves: float = 0.0  #: Of those, some never come back.
    away_s: float = 30.0  #: How long it is gone, on average.
    garbled: float = 0.0  #: A result does not decode: the gateway refuses it, and tells the job.
    holds: float = 0.0  #: A device keeps a result before it first sends it,
    holds_s: float = 60.0  #: for this long, on average.
    # --- processes
    crash: Mapping[Point, float] = field(default_factory=dict)  #: Probability each time the process gets there.
    job_crash_s: float = 0.0  #: Mean time between kills of the job's process at any moment.
    gateway_crash_s: float = 0.0
    outage: float = 0.0  #: A crashed job stays down for long,
    outage_s: float = 150.0  #: for this long, on average.
    clock_jumps: float = 0.0  #: While it is down, the clock that counts up jumps by up to a day, or begins anew.
    hang_s: float = 0.0  #: Mean time between hangs of the job: it lives, and reads nothing for a while.
    hangs_for_s: float = 5.0
    replaced: float = 0.0  #: A job that hangs is taken for dead and replaced, and later continues beside the new one.
    frozen: float = 0.0  #: Not even the thread that commits runs in a process that hangs.
    # --- the job's disk
    commit_fails: float = 0.0  #: A commit reports an error, and did not happen,
    commit_doubtful: float = 0.0  #: or did happen all the same.
    errors_repeat: float = 0.0  #: A failure is the first of several in a row, the last of which is in doubt.
    unreadable: float = 0.0  #: After a failed commit, or at a start, the journal cannot be read either.
    full_s: float = 0.0  #: Mean time between stretches in which the disk is full,
    full_for_s: float = 10.0  #: each this long.
    slow_s: float = 0.0  #: Mean time between stretches in which a commit takes ``SLOW_COMMIT_S`` more,
    slow_for_s: float = 15.0

    @classmethod
    def drawn(cls, rng: Random) -> "Weather":
        """A different sky for every seed: some calm, some with everything at once."""

        def sometimes(most: float, share: float = 0.7) -> float:
            return most * rng.random() if rng.random() < share else 0.0

        def every(least_s: float, most_s: float, share: float) -> float:
            return rng.uniform(least_s, most_s) if rng.random() < share else 0.0

        return cls(
            training_s=1.0 + 10.0 * rng.random(),
            asks_first=rng.choice([0.0, 0.3, 1.0]),
            delay_s=0.02 + sometimes(0.5),
            hop_s=0.001 + sometimes(0.05),
            restart_s=0.2 + 3.0 * rng.random(),
            commit_s=0.002 + sometimes(0.8),
            lost=sometimes(0.15),
            doubled=sometimes(0.2),
            echoed=sometimes(0.1, share=0.4),
            echo_s=10.0 + 100.0 * rng.random(),
            copies=rng.choice([1, 1, 1, 2, 10]),
            dropout=sometimes(0.3),
            leaves=rng.choice([0.0, 0.0, 0.5, 1.0]),
            away_s=5.0 + 60.0 * rng.random(),
            holds=sometimes(0.3, share=0.5),
            holds_s=rng.choice([10.0, 60.0, 200.0]),
            crash={point: sometimes(most, share=0.4) for point, most in CRASH_MAX.items()},
            job_crash_s=every(20.0, 120.0, share=0.5),
            gateway_crash_s=every(20.0, 120.0, share=0.7),
            outage=sometimes(0.3, share=0.3),
            clock_jumps=sometimes(1.0),
            hang_s=every(15.0, 60.0, share=0.6),
            hangs_for_s=2.0 + 25.0 * rng.random(),
            replaced=rng.choice([0.0, 0.5, 1.0, 1.0]),
            frozen=rng.choice([0.0, 0.5, 1.0]),
            commit_fails=sometimes(0.1),
            commit_doubtful=sometimes(0.1),
            errors_repeat=sometimes(0.5, share=0.5),
            unreadable=sometimes(0.2, share=0.4),
            full_s=every(20.0, 60.0, share=0.3),
            full_for_s=2.0 + 20.0 * rng.random(),
            slow_s=every(20.0, 60.0, share=0.3),
            slow_for_s=2.0 + 20.0 * rng.random(),
            garbled=sometimes(0.1, share=0.4),
        )

    def calm(self) -> "Weather":
        """The same world when the faults have stopped."""
        return Weather(self.training_s, self.asks_first, restart_s=self.restart_s)
