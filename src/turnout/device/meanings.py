"""What every status of every response means to a device: one table for each kind of request. Pure."""

from collections.abc import Mapping
from enum import Enum, auto

from turnout.messages import EdgeResponse, JobResponse, ResultResponse, Status, TaskResponse


class Then(Enum):
    """What the session does after a response."""

    TAKE_JOB = auto()  #: It has a job: ask for a task now.
    TRAIN = auto()  #: It has a task: train.
    AGAIN = auto()  #: The same request again, after ``retry_wait``, or else with backoff.
    LOOK = auto()  #: The job is gone: look for a job again, after ``retry_wait``, or else with backoff.
    NEXT = auto()  #: This result is settled: ask for the next task.
    OVER = auto()  #: The job wants no more of this device: end, or with ``stay`` look again later.
    END = auto()  #: We are not understood, and saying it again does not help: end.


Meaning = Mapping[Status, Then]

JOB_MEANING: Meaning = {
    Status.OK: Then.TAKE_JOB,
    Status.RETRY: Then.AGAIN,
    Status.NO_JOB: Then.AGAIN,  # none of this name runs now
    Status.NO_TASK: Then.AGAIN,
    Status.ERROR: Then.AGAIN,
    Status.DONE: Then.OVER,
    Status.INVALID_REQUEST: Then.END,
}

TASK_MEANING: Meaning = {
    Status.OK: Then.TRAIN,
    Status.RETRY: Then.AGAIN,
    Status.NO_TASK: Then.AGAIN,
    Status.ERROR: Then.AGAIN,
    Status.NO_JOB: Then.LOOK,
    Status.DONE: Then.OVER,
    Status.INVALID_REQUEST: Then.END,
}

#: All but AGAIN settle the result: as counted when ``counted`` says so, else as refused.
RESULT_MEANING: Meaning = {
    Status.OK: Then.NEXT,
    Status.RETRY: Then.AGAIN,
    Status.NO_TASK: Then.NEXT,  # too late, or never ours
    Status.ERROR: Then.NEXT,  # a bad update
    Status.INVALID_REQUEST: Then.NEXT,
    Status.NO_JOB: Then.LOOK,
    Status.DONE: Then.OVER,
}


def meaning(response: EdgeResponse) -> Then:
    """What a response means for the session, for each status that there is."""
    match response:
        case JobResponse():
            then = JOB_MEANING[response.status]
            return Then.AGAIN if then is Then.TAKE_JOB and not response.job_id else then
        case TaskResponse():
            then = TASK_MEANING[response.status]
            complete = response.task_id and response.task_name and response.task_data
            return Then.AGAIN if then is Then.TRAIN and not complete else then
        case ResultResponse():
            then = RESULT_MEANING[response.status]
            if response.counted:
                return (
                    Then.NEXT if then is Then.AGAIN else then
                )  # ``counted`` is the promise, whatever stands beside it
            if response.status is Status.OK and response.retry_wait is not None:
                return Then.AGAIN  # RETRY, as it is told to platforms whose SDKs end on that word
            return then
    raise AssertionError(f"a session sends no request that is answered by {type(response).__name__}")
