"""What every status of every response means to a device: one table for each kind of request. Pure."""

from collections.abc import Mapping
from enum import Enum, auto

from turnout.messages import OK, EdgeResponse, JobResponse, ResultResponse, Status, TaskResponse


class Then(Enum):
    """What the session does after a response."""

    TAKE_JOB = auto()  #: It has a job: ask for a task now.
    TRAIN = auto()  #: It has a task: train.
    AGAIN = auto()  #: The same request again, after ``retry_wait``, or else with backoff.
    LOOK = auto()  #: The job is gone: look for a job again, after ``retry_wait``, or else with backoff.
    NEXT = auto()  #: This result is settled: ask for the next task.
    OVER = auto()  #: The job wants no more of this device: end, or with ``stay`` look again later.
    END = auto()  #: We are not understood, and saying it again does not help: end.


#: By name, for the same reason as ``messages.OK``.
TAKE_JOB, TRAIN, AGAIN, LOOK = Then.TAKE_JOB, Then.TRAIN, Then.AGAIN, Then.LOOK
NEXT, OVER, END = Then.NEXT, Then.OVER, Then.END

Meaning = Mapping[Status, Then]

JOB_MEANING: Meaning = {
    Status.OK: TAKE_JOB,
    Status.RETRY: AGAIN,
    Status.NO_JOB: AGAIN,  # none of this name runs now
    Status.NO_TASK: AGAIN,
    Status.ERROR: AGAIN,
    Status.DONE: OVER,
    Status.INVALID_REQUEST: END,
}

TASK_MEANING: Meaning = {
    Status.OK: TRAIN,
    Status.RETRY: AGAIN,
    Status.NO_TASK: AGAIN,
    Status.ERROR: AGAIN,
    Status.NO_JOB: LOOK,
    Status.DONE: OVER,
    Status.INVALID_REQUEST: END,
}

#: All but AGAIN settle the result: as counted when ``counted`` says so, else as refused.
RESULT_MEANING: Meaning = {
    Status.OK: NEXT,
    Status.RETRY: AGAIN,
    Status.NO_TASK: NEXT,  # too late, or never ours
    Status.ERROR: NEXT,  # a bad update
    Status.INVALID_REQUEST: NEXT,
    Status.NO_JOB: LOOK,
    Status.DONE: OVER,
}


def meaning(response: EdgeResponse) -> Then:
    """What a response means for the session, for each status that there is."""
    status = response.status
    if isinstance(response, JobResponse):
        return AGAIN if status is OK and not response.job_id else JOB_MEANING[status]
    if isinstance(response, TaskResponse):
        complete = response.job_id and response.task_id and response.task_name and response.task_data
        return AGAIN if status is OK and not complete else TASK_MEANING[status]
    if isinstance(response, ResultResponse):
        then = RESULT_MEANING[status]
        if response.counted:
            return NEXT if then is AGAIN else then  # ``counted`` is the promise, whatever stands beside it
        if status is OK and response.retry_wait is not None:
            return AGAIN  # RETRY, as it is told to platforms whose SDKs end on that word
        return then
    raise AssertionError(f"a session sends no request that is answered by {type(response).__name__}")
