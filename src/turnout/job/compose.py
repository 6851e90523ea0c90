"""From a job's settings to the parts that its core is made of."""

import hashlib
from collections.abc import Callable
from random import Random

from turnout.aggregator.mean import MeanAggregator
from turnout.aggregator.optimizer import ServerOptimizer, ServerSGD, server_adagrad, server_adam, server_yogi
from turnout.job.core.core import JobCore
from turnout.job.core.parts import Parts, Rules
from turnout.job.folder.spec import (
    AdagradOptimizer,
    AdamOptimizer,
    BufferedTraining,
    CohortSelection,
    JobSpec,
    Optimizer,
    RoundsTraining,
    SgdOptimizer,
    StopRule,
    YogiOptimizer,
)
from turnout.job.folder.spec import Evaluation as EvaluationRule
from turnout.job.journal.journal import Journal
from turnout.job.places.cohort import Cohort
from turnout.job.places.fleets import Fleets
from turnout.job.places.known import KnownDevices
from turnout.job.places.leases import LeaseTime, Seal
from turnout.job.places.pacing import AppointmentBook
from turnout.job.places.places import Places
from turnout.job.places.selection import CheckIn, Selection
from turnout.job.workflow.bases import Bases
from turnout.job.workflow.buffered import Buffered
from turnout.job.workflow.evaluation import Evaluation
from turnout.job.workflow.ranking import Ranking, Target
from turnout.job.workflow.rounds import Rounds
from turnout.job.workflow.workflow import Workflow
from turnout.wire.tensors import Vector

LEASE_FIRST_S = 60.0  #: Until the fleet's pace is known. Rather too long: a late result counts anyway.
KNOWN_PER_WAIT = 3.0  #: A device is known for this many of the longest waits after it asked.


def unchanged(parts: Parts) -> Parts:
    return parts


def core_of(
    spec: JobSpec,
    job_id: str,
    model: Vector,
    journal: Journal,
    *,
    evaluates: bool,
    rng: Random,
    kind: type[JobCore] = JobCore,
    change: Callable[[Parts], Parts] = unchanged,
) -> JobCore:
    """The core of a job that begins with ``model``. ``evaluates``: whether the job has something that measures it.

    With another ``kind``, or with parts changed, the simulation sees whether it finds what is broken.
    """
    parts = change(parts_of(spec, job_id, journal.key, model.size, evaluates=evaluates, rng=rng))
    return kind(rules_of(spec, job_id), parts, model, bases=Bases(on=spec.wire.form == "number"))


def rules_of(spec: JobSpec, job_id: str) -> Rules:
    return Rules(
        job_id=job_id,
        name=spec.name,
        by_examples=spec.training.weighting == "examples",
        versions_max=spec.stop.versions,
        time_max_s=spec.stop.time_s,
        device_settings=spec.device_settings,
        update_norm_max=spec.training.update_norm_max,
        refuse_zeros=spec.training.refuse_zeros,
    )


def parts_of(spec: JobSpec, job_id: str, key: bytes, num_parameters: int, *, evaluates: bool, rng: Random) -> Parts:
    """``evaluates``: whether the job has something that measures its model."""
    training, leases = spec.training, spec.leases
    pacing = AppointmentBook(spec.pacing.check_ins_per_s, spec.pacing.wait_min_s, spec.pacing.wait_max_s)
    return Parts(
        workflow=workflow_of(training),
        seal=Seal(job_id, key),
        aggregator=MeanAggregator(num_parameters, training.weight_max, training.update_norm_max),
        optimizer=optimizer_of(spec.optimizer),
        discount=training.staleness.at if isinstance(training, BufferedTraining) else lambda staleness: 1.0,
        places=Places(
            selection=selection_of(spec, key, pacing),
            lease_time=LeaseTime(min(max(LEASE_FIRST_S, leases.min_s), leases.max_s), leases.min_s, leases.max_s),
            weight_max=training.weight_max,
            resend_window_s=leases.resend_window_s,
            participation_interval_s=spec.selection.participation_interval_s,
            validate_share=spec.evaluation.federated,
        ),
        pacing=pacing,
        evaluation=Evaluation(spec.evaluation.every if evaluates else 0),
        rng=rng,
        ranking=ranking_of(spec.evaluation, spec.stop),
    )


def selection_of(spec: JobSpec, key: bytes, pacing: AppointmentBook) -> Selection:
    rule = spec.selection
    if not isinstance(rule, CohortSelection):
        return CheckIn(rule.thinning_window_s, pacing.waiting)
    known_s = KNOWN_PER_WAIT * spec.pacing.wait_max_s
    return Cohort(
        KnownDevices(known_s, hashlib.sha256(key).digest()),
        Fleets(known_s),
        rule.invite_s,
        rule.allow_fleets,
        latest=lambda: pacing.latest,
    )


def ranking_of(evaluation: EvaluationRule, stop: StopRule) -> Ranking:
    target = None
    metric = stop.metric or evaluation.metric
    if metric is not None and (stop.at_least is not None or stop.at_most is not None):
        target = Target(metric, stop.at_least, stop.at_most)
    return Ranking(evaluation.metric or "", evaluation.goal == "max", evaluation.keep, stop.patience, target)


def optimizer_of(settings: Optimizer) -> ServerOptimizer:
    match settings:
        case SgdOptimizer():
            return ServerSGD(settings.learning_rate, settings.momentum)
        case AdamOptimizer():
            return server_adam(settings.learning_rate, settings.beta1, settings.beta2, settings.tau)
        case YogiOptimizer():
            return server_yogi(settings.learning_rate, settings.beta1, settings.beta2, settings.tau)
        case AdagradOptimizer():
            return server_adagrad(settings.learning_rate, settings.beta1, settings.tau)


def workflow_of(training: BufferedTraining | RoundsTraining) -> Workflow:
    match training:
        case BufferedTraining():
            return Buffered(training.concurrency, training.buffer_goal, training.staleness_max, least=training.least)
        case RoundsTraining():
            return Rounds(
                goal=training.cohort,
                over_selection=training.over_selection,
                deadline_s=training.deadline_s,
                quorum=training.quorum,
                extensions_max=training.round_extensions_max,
                least=training.least,
            )
