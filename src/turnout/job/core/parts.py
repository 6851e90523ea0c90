"""What a job is composed of: its settings, and the pure parts that its core owns."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from turnout.aggregator.aggregator import Aggregator
from turnout.aggregator.optimizer import ServerOptimizer
from turnout.job.places.leases import Seal
from turnout.job.places.pacing import AppointmentBook
from turnout.job.places.places import Places
from turnout.job.workflow.evaluation import Evaluation
from turnout.job.workflow.ranking import Ranking
from turnout.job.workflow.workflow import Workflow


@dataclass(frozen=True, slots=True)
class Rules:
    """A job's settings that are not those of one of its parts."""

    job_id: str
    name: str
    by_examples: bool  #: Weigh a result by its ``num_examples``; otherwise all weigh 1.
    versions_max: int | None  #: The job is completed at this version,
    time_max_s: float | None  #: or at this job time.
    device_settings: dict[str, Any]  #: Handed to trainers.
    update_norm_max: float | None = None  #: A larger update is refused; None: one far beyond the others.
    refuse_zeros: bool = False  #: An update whose numbers are all 0 is refused.


@dataclass(slots=True)
class Parts:
    """What a job is composed of; each is pure and owned by the core."""

    workflow: Workflow
    seal: Seal
    aggregator: Aggregator
    optimizer: ServerOptimizer
    discount: Callable[[int], float]
    places: Places
    pacing: AppointmentBook
    evaluation: Evaluation
    rng: Random
    ranking: Ranking = field(default_factory=Ranking)
