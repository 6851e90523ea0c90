"""What a seed decides: the job, as a person would have written it, and what happens to it."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from turnout.job.folder.spec import (
    AdagradOptimizer,
    AdamOptimizer,
    BufferedTraining,
    CheckInSelection,
    CohortSelection,
    ConstantDiscount,
    Evaluation,
    FlareDiscount,
    HingeDiscount,
    JobSpec,
    Leases,
    Optimizer,
    Pacing,
    PolynomialDiscount,
    RoundsTraining,
    Selection,
    SgdOptimizer,
    StopRule,
    YogiOptimizer,
)
from turnout.sim.hooks import METRIC
from turnout.sim.weather import Weather

MODEL_SIZE = 32
STORM_S = 90.0  #: How long faults happen, in virtual seconds.
VERSIONS_MAX = 10**6  #: Of a job that no rule ends.
ON_DISK = 1 / 8  #: Of the worlds.
EXAMPLES = 4  #: Devices have 1 to this many.
DISCOUNTS = (ConstantDiscount(), PolynomialDiscount(), HingeDiscount(b=1.0), FlareDiscount())


@dataclass(frozen=True, slots=True)
class Plan:
    """One world."""

    spec: JobSpec
    devices: int
    weather: Weather
    room_bytes: int = 100_000  #: Of a gateway, for results; each takes about 500.
    on_disk: bool = False  #: The journal is the real one, in a folder.
    stopped_at: float | None = None  #: A person ends the job in the middle of the storm.
    selects: bool = False  #: The job has a function of its own that says which devices take part,
    weighs: bool = False  #: and one that says what results weigh.
    diverges: bool = False  #: Now and then a step leaves the numbers.
    forges: bool = False  #: Somebody has the job's key, and makes up tasks.
    poisons: bool = False  #: One device more sends updates from another order of size.

    @property
    def goal(self) -> int:
        """Results that close a version."""
        training = self.spec.training
        return training.cohort if isinstance(training, RoundsTraining) else training.buffer_goal

    @property
    def ends(self) -> bool:
        """Whether a rule ends the job."""
        stop = self.spec.stop
        by_metric = stop.at_least is not None or stop.patience is not None
        return stop.versions != VERSIONS_MAX or stop.time_s is not None or by_metric

    @classmethod
    def drawn(cls, rng: Random, strangers: Random) -> "Plan":
        goal = rng.choice([2, 4, 8])
        selects = rng.random() < 0.3
        devices = rng.randint(min(goal + 4, MODEL_SIZE), MODEL_SIZE)
        return cls(
            spec=_spec(goal, rng),
            devices=max(devices, (goal + 4) * 4 // 3 + 1) if selects else devices,
            stopped_at=rng.uniform(20.0, STORM_S) if rng.random() < 0.15 else None,
            weather=Weather.drawn(rng),
            on_disk=rng.random() < ON_DISK,
            room_bytes=rng.choice([2_000, 100_000]),
            selects=selects,
            weighs=rng.random() < 0.3,
            diverges=rng.random() < 0.25,
            forges=strangers.random() < 0.3,
            poisons=strangers.random() < 0.3,
        )


def _spec(goal: int, rng: Random) -> JobSpec:
    """A job folder's settings; all that they allow is drawn, but for sizes and times that would only take longer."""
    ranks = rng.random() < 0.7
    lease_max_s = rng.choice([5.0, 30.0])
    return JobSpec(
        name="sums",
        stop=_stop(ranks, rng),
        training=_rounds(goal, rng) if rng.random() < 0.35 else _buffered(goal, rng),
        optimizer=_optimizer(rng),
        device={"epochs": 1},
        selection=_selection(rng),
        pacing=Pacing(check_ins_per_s=10.0, wait_min_s=1.0, wait_max_s=10.0),
        leases=Leases(min_s=1.0, max_s=lease_max_s, resend_window_s=rng.choice([2.0, 20.0, 120.0])),
        evaluation=Evaluation(
            every=rng.choice([1, 2]),
            metric=METRIC if ranks else None,
            goal=rng.choice(["max", "min"]),
            keep=rng.choice([1, 2]),
            federated=rng.choice([0.0, 0.0, 0.3]),
        ),
    )


def _stop(ranks: bool, rng: Random) -> StopRule:
    """Most jobs of a world last; a version, a time, a metric or patience ends the others."""
    drawn = rng.random()
    return StopRule(
        versions=rng.randint(2, 12) if drawn < 0.2 else VERSIONS_MAX,
        time_s=rng.uniform(20.0, STORM_S) if 0.2 <= drawn < 0.3 else None,
        at_least=8.0 if ranks and 0.3 <= drawn < 0.37 else None,
        patience=6 if ranks and 0.37 <= drawn < 0.44 else None,
    )


def _buffered(goal: int, rng: Random) -> BufferedTraining:
    return BufferedTraining(
        concurrency=goal + rng.randint(0, 8),
        buffer_goal=goal,
        staleness_max=rng.choice([0, 1, 3, 10]),
        staleness=rng.choice(DISCOUNTS),
        weighting=rng.choice(["examples", "uniform"]),
        weight_max=rng.choice([1.0, 3.0, 1000.0]),
        results_min=rng.choice([None, 2]),
    )


def _rounds(goal: int, rng: Random) -> RoundsTraining:
    return RoundsTraining(
        cohort=goal,
        over_selection=1.5,
        deadline_s=30.0,
        quorum=rng.choice([0.5, 1.0]),
        weighting=rng.choice(["examples", "uniform"]),
        weight_max=rng.choice([1.0, 3.0, 1000.0]),
        results_min=rng.choice([None, 2]),
    )


def _optimizer(rng: Random) -> Optimizer:
    """Plain averaging, in which nothing but the sum counts, in every third world."""
    kinds: list[Callable[[], Optimizer]] = [
        SgdOptimizer,
        SgdOptimizer,
        lambda: SgdOptimizer(learning_rate=0.3, momentum=0.9),
        lambda: AdamOptimizer(learning_rate=0.1),
        lambda: YogiOptimizer(learning_rate=0.1),
        lambda: AdagradOptimizer(learning_rate=0.1, beta1=rng.choice([0.0, 0.5])),
    ]
    return rng.choice(kinds)()


def _selection(rng: Random) -> Selection:
    interval_s = rng.choice([0.0, 0.0, 3.0, 15.0])
    if rng.random() < 0.65:
        return CheckInSelection(participation_interval_s=interval_s, thinning_window_s=rng.choice([0.0, 0.2]))
    return CohortSelection(
        participation_interval_s=interval_s,
        invite_s=5.0,
        allow_fleets=True,
    )
