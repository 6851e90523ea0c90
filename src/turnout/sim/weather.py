"""What may go wrong in a simulated world, and how often."""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Weather:
    """Probabilities are per message, per task or per commit; times are in virtual seconds."""

    lost: float  #: A request or a reply between device and gateway disappears.
    doubled: float  #: A request reaches the gateway twice.
    delay_s: float  #: Mean of the exponential delay of each message on the device's side: reorders them too.
    hop_s: float  #: Mean delay between gateway and job.
    dropout: float  #: A device vanishes in the middle of a task and comes back later, knowing nothing.
    leaves: float  #: Of those, some never come back.
    away_s: float  #: How long it is gone, on average.
    job_crash_s: float  #: Mean time between crashes of the job process; 0 for never.
    gateway_crash_s: float
    hang_s: float  #: Mean time between hangs of the job: it lives, and reads nothing for a while.
    hangs_for_s: float
    asks_first: float  #: Share of results of which a gateway asks the job before it reads them.
    restart_s: float  #: Mean time until a crashed process runs again.
    commit_s: float  #: Mean duration of a commit.
    commit_fails: float  #: A commit reports an error, and did not happen,
    commit_doubtful: float  #: or did happen all the same.
    training_s: float  #: Mean time that a device trains.

    @classmethod
    def drawn(cls, rng: Random) -> "Weather":
        """A different sky for every seed: some calm, some with everything at once."""

        def sometimes(most: float) -> float:
            return most * rng.random() if rng.random() < 0.7 else 0.0

        return cls(
            lost=sometimes(0.15),
            doubled=sometimes(0.2),
            delay_s=0.02 + sometimes(0.5),
            hop_s=0.001 + sometimes(0.05),
            dropout=sometimes(0.3),
            leaves=rng.choice([0.0, 0.0, 0.5, 1.0]),
            away_s=5.0 + 60.0 * rng.random(),
            job_crash_s=20.0 + 100.0 * rng.random() if rng.random() < 0.7 else 0.0,
            gateway_crash_s=20.0 + 100.0 * rng.random() if rng.random() < 0.7 else 0.0,
            hang_s=30.0 + 60.0 * rng.random() if rng.random() < 0.4 else 0.0,
            hangs_for_s=2.0 + 20.0 * rng.random(),
            asks_first=rng.choice([0.0, 0.3, 1.0]),
            restart_s=0.2 + 3.0 * rng.random(),
            commit_s=0.002 + sometimes(0.8),
            commit_fails=sometimes(0.1),
            commit_doubtful=sometimes(0.1),
            training_s=1.0 + 10.0 * rng.random(),
        )

    def calm(self) -> "Weather":
        """The same world when the faults have stopped."""
        return Weather(
            lost=0.0,
            doubled=0.0,
            delay_s=0.02,
            hop_s=0.001,
            dropout=0.0,
            leaves=0.0,
            away_s=self.away_s,
            job_crash_s=0.0,
            gateway_crash_s=0.0,
            hang_s=0.0,
            hangs_for_s=0.0,
            asks_first=self.asks_first,
            restart_s=self.restart_s,
            commit_s=0.002,
            commit_fails=0.0,
            commit_doubtful=0.0,
            training_s=self.training_s,
        )
