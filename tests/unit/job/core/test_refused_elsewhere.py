"""Results that a gateway refused: the job is told, and frees their places."""

import pytest

from tests.unit.job.a_job import Job
from turnout.job.account.groups import BAD_IN_A_ROW
from turnout.job.account.tally import REASONS_MAX
from turnout.job.core.events import ResultsRefused, TaskAsked
from turnout.job.core.status import status_of
from turnout.messages import DeviceInfo, JobStatus, RefusedResult, RefusedResults, TaskRequest, TaskResponse

WHY = 'tensor "weights" is not nested lists of shape [2]'


def phone(name: str) -> DeviceInfo:
    return DeviceInfo(name, platform="android", app_version="1.5")


def ask(job: Job, name: str) -> TaskResponse:
    ticket = job.ticket()
    job.happens(TaskAsked(ticket, TaskRequest(phone(name), "job-1")))
    answer = job.answers[ticket]
    assert isinstance(answer, TaskResponse)
    return answer


def refuse(job: Job, name: str, task: TaskResponse | None, reason: str = "shape") -> None:
    task_id = "" if task is None else task.task_id or ""
    refused = RefusedResult(phone(name), "job-1", task_id, reason, WHY)
    job.happens(ResultsRefused(RefusedResults((refused,))))


def status(job: Job) -> JobStatus:
    return status_of(job.core, job.now)


def test_its_place_is_free_and_its_device_gets_no_other_task_of_this_version(job: Job) -> None:
    task = ask(job, "a")
    assert status(job).training == 1
    refuse(job, "a", task)
    assert status(job).training == 0
    assert "has done its task" in (ask(job, "a").message or "")


def test_it_is_counted_by_reason_platform_and_app_version_with_the_newest_message(job: Job) -> None:
    refuse(job, "a", ask(job, "a"), "bad_body")
    refuse(job, "b", ask(job, "b"))
    assert status(job).refused == {"bad_body": 1, "shape": 1}
    (group,) = status(job).fleet
    assert (group.platform, group.app_version, group.refused, group.training) == ("android", "1.5", 2, 0)
    assert (group.refusals, group.newest_refusal) == ({"bad_body": 1, "shape": 1}, WHY)


def test_the_device_may_still_send_a_better_one(job: Job) -> None:
    task = ask(job, "a")
    refuse(job, "a", task)
    job.report("a", task)
    job.commit()
    assert (status(job).counted, status(job).refused) == (1, {"shape": 1})


def test_one_of_a_task_that_is_counted_changes_nothing(job: Job) -> None:
    task = ask(job, "a")
    job.report("a", task)
    job.commit()
    refuse(job, "a", task)
    assert (status(job).counted, status(job).refused) == (1, {})


@pytest.mark.parametrize("task_id", ["made up", "é", "x" * 5000])
def test_one_of_no_task_of_this_job_frees_no_place(job: Job, task_id: str) -> None:
    task = ask(job, "a")
    refuse(job, "a", TaskResponse(task.status, task_id=task_id))
    refuse(job, "b", task)
    refuse(job, "a", None, "missing_field")
    assert status(job).training == 1
    assert status(job).refused == {"not_leased": 1, "other_device": 1, "missing_field": 1}


def test_those_beyond_the_bound_of_a_message_are_counted_by_reason(job: Job) -> None:
    job.happens(ResultsRefused(RefusedResults((), {"shape": 7})))
    assert status(job).refused == {"shape": 7}
    assert [(group.platform, group.refused) for group in status(job).fleet] == [("other", 7)]


def test_made_up_reasons_are_bounded(job: Job) -> None:
    for number in range(REASONS_MAX + 5):
        refuse(job, "a", None, f"reason {number}")
    assert len(status(job).refused) == REASONS_MAX + 1
    assert status(job).refused["other"] == 5


def test_a_person_is_warned_once_when_all_results_of_an_app_version_are_refused(job: Job) -> None:
    for number in range(2 * BAD_IN_A_ROW):
        refuse(job, str(number), None)
    assert status(job).warnings == (
        f'the last 10 results of platform "android", app "1.5", were refused; the newest: {WHY}',
    )


def test_nobody_is_warned_while_some_results_count(job: Job) -> None:
    for number in range(BAD_IN_A_ROW - 1):
        refuse(job, str(number), None)
    job.report("good", ask(job, "good"))
    job.commit()
    for number in range(BAD_IN_A_ROW - 1):
        refuse(job, str(number), None)
    assert status(job).warnings == ()


def test_the_counts_survive_a_restart(job: Job) -> None:
    refuse(job, "a", ask(job, "a"))
    job.report("b", ask(job, "b"))
    job.settle()
    again = job.restart()
    assert status(again).refused == {"shape": 1}
    assert [(group.refusals, group.newest_refusal) for group in status(again).fleet] == [({"shape": 1}, WHY)]
