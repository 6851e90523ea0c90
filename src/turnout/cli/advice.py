"""What ``turnout check`` says of a job's settings: in words, and what in them a person may not have meant. Pure."""

from collections.abc import Iterator, Sequence

import msgspec

from turnout.job.folder.spec import BufferedTraining, JobSpec, RoundsTraining
from turnout.job.workflow.rounds import quorum_of
from turnout.text.ages import ago

DAY_S = 86400.0
LONG_S = 30 * DAY_S
#: How far ``update_norm_max`` should be above the largest norm of the honest updates tried, and how far it may be.
NORM_SPARE, NORM_LOOSE = 2.0, 100.0


def training(spec: JobSpec) -> str:
    """When a version closes."""
    match spec.training:
        case BufferedTraining() as buffered:
            return f"a version closes with {buffered.buffer_goal} results; at most {buffered.concurrency} devices train"
        case RoundsTraining() as rounds:
            asked = round(rounds.cohort * rounds.over_selection)
            enough = max(quorum_of(rounds.cohort, rounds.quorum), rounds.least)
            closes = f"closes with {rounds.cohort} results, after {rounds.deadline_s:g} s with {enough}"
            return f"a round asks {asked} devices and {closes}"


def stop_rule(spec: JobSpec) -> str:
    """All that is set of it; the first that is reached ends the job."""
    given = [(field.name, getattr(spec.stop, field.name)) for field in msgspec.structs.fields(spec.stop)]
    return " or ".join(
        f"{name} = {value:g}" if isinstance(value, float) else f"{name} = {value}"
        for name, value in given
        if value is not None
    )


def advice(spec: JobSpec, *, evaluates: bool, has_device: bool) -> Iterator[str]:
    """Warnings, each with what to change."""
    match spec.training:
        case BufferedTraining():
            yield from _buffered(spec.training)
        case RoundsTraining():
            yield from _rounds(spec.training, spec)
    if spec.training.least == 1:
        yield "results_min = 1: a version of one result is one device's data; leave it out where devices have secrets"
    yield from _end(spec)
    yield from _measured(spec, evaluates)
    if not has_device:
        yield "there is no device.py, so turnout run and turnout fleet cannot train it; devices of your own can"
    reached = spec.pacing.check_ins_per_s * spec.pacing.wait_max_s
    if reached < _places(spec):
        yield (
            f"[pacing] lets {reached:.0f} waiting devices ask within wait_max_s, and {_places(spec)} places are to be "
            "filled; raise check_ins_per_s"
        )


def norms(spec: JobSpec, measured: Sequence[float]) -> Iterator[str]:
    """What the norms of honest updates, the largest of each version tried, say of ``update_norm_max``."""
    bound, largest = spec.training.update_norm_max, max(measured, default=0.0)
    if bound is None or not largest:
        return
    if bound < NORM_SPARE * largest:
        yield (
            f"update_norm_max = {bound:g} is less than {NORM_SPARE:g} times {shown(largest)}, the largest norm of the "
            "few honest updates tried, and others may be larger: what is above it is refused"
        )
    elif bound > NORM_LOOSE * largest:
        yield (
            f"update_norm_max = {bound:g} is {bound / largest:.0f} times {shown(largest)}, the largest norm of the "
            "honest updates tried: it bounds little"
        )


def shown(norm: float) -> str:
    return f"{norm:.3g}"


def _buffered(training: BufferedTraining) -> Iterator[str]:
    if training.buffer_goal > training.concurrency:
        yield (
            f"buffer_goal = {training.buffer_goal} is above concurrency = {training.concurrency}: every version needs "
            "several turns of all places; a tenth to a quarter of concurrency is usual"
        )
    if training.staleness_max * training.buffer_goal < training.concurrency - training.buffer_goal:
        yield (
            f"staleness_max = {training.staleness_max} is too low for {training.concurrency} devices that train at "
            f"once: while one trains, the others may close {training.concurrency // training.buffer_goal} versions, "
            "and its result is refused; raise staleness_max or buffer_goal"
        )


def _rounds(training: RoundsTraining, spec: JobSpec) -> Iterator[str]:
    if spec.leases.min_s > training.deadline_s:
        yield (
            f"[leases] min_s = {spec.leases.min_s:g} is above deadline_s = {training.deadline_s:g}: a lost device "
            "keeps its place to the end of the round"
        )
    if training.over_selection == 1 and training.quorum == 1:
        yield "over_selection = 1 and quorum = 1: a round waits for every device asked, and one that is lost delays all"
    if spec.stop.time_s is None:
        yield (
            f"a round below quorum pauses the job after {training.round_extensions_max} extensions, until a person "
            "resumes it; set [stop] time_s too if nobody looks"
        )


def _end(spec: JobSpec) -> Iterator[str]:
    """Whether it will ever end."""
    stop = spec.stop
    if stop.time_s is None and stop.versions is not None:
        needed = stop.versions * _goal(spec)
        yield f"without [stop] time_s it ends only when {needed:,} results have come, if ever; set time_s too"
    if stop.versions is None and stop.time_s is not None and stop.time_s > LONG_S:
        yield f"it ends only by time_s, after {ago(stop.time_s)}; set versions too"
    interval_s = spec.selection.participation_interval_s
    if stop.time_s is not None and interval_s >= stop.time_s:
        yield f"participation_interval_s = {interval_s:g} is not shorter than time_s: each device trains only once"


def _measured(spec: JobSpec, evaluates: bool) -> Iterator[str]:
    """Whether there is anything that says how good a version is."""
    stop = spec.stop
    if not evaluates:
        yield "no version is measured; write evaluate(model) -> dict[str, float] in server.py"
        if spec.evaluation.metric is not None or stop.at_least is not None or stop.at_most is not None:
            yield "without server.py no version is ever the best, or good enough to end the job by its metric"
    elif spec.evaluation.every == 0:
        yield "server.py is there, but [evaluation] every = 0: nothing is measured"


def _goal(spec: JobSpec) -> int:
    training = spec.training
    return training.cohort if isinstance(training, RoundsTraining) else training.buffer_goal


def _places(spec: JobSpec) -> int:
    training = spec.training
    if isinstance(training, RoundsTraining):
        return round(training.cohort * training.over_selection)
    return training.concurrency
