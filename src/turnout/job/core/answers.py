"""The answers of a job, in one place: what each outcome says to a device."""

from dataclasses import dataclass
from typing import Any

from turnout.blobs.base import BlobRef
from turnout.job.places.leases import Lease
from turnout.messages import (
    EXAMPLES_MAX,
    EXAMPLES_MIN,
    OK,
    VALIDATE,
    FleetRange,
    ModelRef,
    ResultOffer,
    ResultReport,
    ResultResponse,
    SelectionResponse,
    Status,
    TaskResponse,
)

TASK_NAME = "train"
SOON_S = 1.0  #: The wait told to a device that meets a full hold or a job that only just starts or was replaced.


@dataclass(frozen=True, slots=True)
class Refused:
    """A result that is not counted: ``reason`` is the word this is counted under, ``message`` is for its sender.

    For good, unless the status is RETRY.
    """

    reason: str
    message: str
    status: Status = Status.NO_TASK


NOT_LEASED = Refused("not_leased", "task_id is not a task of this job; ask for a task and echo its task_id unchanged")
OTHER_DEVICE = Refused("other_device", "this task was given to another device")
TOO_OLD = Refused("too_old", "this task is so old that nobody knows any more whether it was counted")
NOT_GIVEN = Refused("not_given", "no task like this was ever given out; ask for a task and echo its task_id unchanged")
NOT_GIVEN_HERE = Refused(
    "not_given_here",
    "this process of the job has given out no such task; if another process has, it will answer: send it again",
    Status.RETRY,
)
REPLACED = Refused("replaced", "this process of the job was replaced by another; send the result again", Status.RETRY)
FINISHED = Refused("finished", "the job has ended; this result came too late")
UNSAVED_END = Refused("not_saved", "the job ends, and its disk does not take the result; send it again", Status.RETRY)
VOID = Refused("void", "since this task was given out the job has ended, or gone back to an earlier model")
UNSAVED_VOID = Refused("not_saved", "the job goes back to an earlier model; send the result again", Status.RETRY)
WEIGHED_NOTHING = Refused("weighed_nothing", "the job's own rule gives this result no weight")
ZEROS = Refused(
    "zeros", "every number of the update is 0, as if nothing had been trained; this job refuses that", Status.ERROR
)
DEVICE_FAILED = "device_failed"
SAT_OUT = Refused("no_examples", "the device has no examples; its place is free")
FAR_NORM = "far_norm"


def far_norm(norm: float, norm_max: float) -> Refused:
    return Refused(
        FAR_NORM,
        f"the update's L2 norm is {norm:.6g}; this job takes at most {norm_max:.6g}, by what it has seen so far",
        Status.ERROR,
    )


def examples(number: float) -> Refused:
    expected = f"{EXAMPLES_MIN:g} to {EXAMPLES_MAX:g} are expected"
    return Refused("examples", f"the device says it learned from {number:g} examples; {expected}", Status.ERROR)


def too_stale(version: int, current: int, staleness_max: int) -> Refused:
    return Refused(
        "too_stale",
        f"trained from model version {version}, now it is {current}; "
        f"results older than {staleness_max} versions are not counted",
    )


def task(
    job_id: str,
    lease: Lease,
    task_id: str,
    blob: BlobRef,
    settings: dict[str, Any],
    now: float,
    selection_id: int | None = None,
) -> TaskResponse:
    """Work: the lease, the model to start from, and how to train. ``selection_id``, where there was a selection."""
    if selection_id is None:
        selection_id = lease.task + 1
    return TaskResponse(
        status=OK,
        job_id=job_id,
        task_id=task_id,
        task_name=VALIDATE if lease.validate else TASK_NAME,
        task_data=ModelRef(blob.sha256, blob.num_bytes, {"model_version": lease.version, **settings}),
        cookie={"model_version": lease.version, "device_selection_id": selection_id},
        lease_s=round(max(lease.expires_at - now, 0.0) * 1000) / 1000,  # to digits takes 0.4 µs more
        retry_wait=0.0,
    )


def selected(job_id: str, selection: dict[str, int], durable: bool) -> SelectionResponse:
    """Who is selected. A simulator names its fleet until it hears OK, so that comes once the fleet is ``durable``."""
    if durable:
        return SelectionResponse(Status.OK, job_id, selection=selection)
    return SelectionResponse(Status.RETRY, job_id, selection=selection, retry_wait=SOON_S)


TO_TAKE_FLEETS = 'set kind = "cohort" and allow_fleets = true under [selection]'


def no_fleets(job_id: str) -> SelectionResponse:
    why = f'this job takes no fleets "prefix?N": {TO_TAKE_FLEETS}'
    return SelectionResponse(Status.INVALID_REQUEST, job_id, message=why)


def fleet_refused(fleet: FleetRange) -> str:
    """The same, for people. Without the name that the simulator gave itself: each may give any number of them."""
    return f'a simulator\'s fleet, "…?{fleet.devices}", was refused: {TO_TAKE_FLEETS}'


def no_task_yet(job_id: str, wait_s: float, why: str) -> TaskResponse:
    return TaskResponse(status=Status.RETRY, job_id=job_id, retry_wait=wait_s, message=why)


def no_more_tasks(job_id: str, why: str) -> TaskResponse:
    return TaskResponse(status=Status.DONE, job_id=job_id, message=why)


def counted(report: ResultReport | ResultOffer, duplicate: bool) -> ResultResponse:
    """The promise. To be sent only after the commit that holds the result."""
    return ResultResponse(
        status=OK,
        counted=True,
        duplicate=duplicate,
        task_id=report.task_id,
        task_name=TASK_NAME,
    )


def refused(report: ResultReport | ResultOffer, why: Refused) -> ResultResponse:
    return ResultResponse(
        status=why.status,
        counted=False,
        task_id=report.task_id,
        task_name=TASK_NAME,
        message=why.message,
        retry_wait=SOON_S if why.status is Status.RETRY else None,
    )


NOT_SAVED = "the result could not be saved; send it again"
BEING_SAVED = "the result is being saved; send it again to hear that it is counted"
IN_DOUBT = "it is not known yet whether the result was saved; send it again"
BUSY = "the job is busy with a new version; send the result again"


def again(task_id: str, why: str) -> ResultResponse:
    """Nothing is promised yet: the device should send the same result again. ``why`` is one of the above."""
    return ResultResponse(
        status=Status.RETRY,
        counted=False,
        task_id=task_id,
        task_name=TASK_NAME,
        retry_wait=SOON_S,
        message=why,
    )


def send_it(offer: ResultOffer) -> ResultResponse:
    return ResultResponse(status=Status.OK, counted=False, task_id=offer.task_id, task_name=TASK_NAME)
