"""What happened to one task can be told."""

from tests.unit.job.a_job import LEASE_S, Job, buffered, new_job
from turnout.job.core.events import Tick
from turnout.job.core.story import EVERY, STORY_MAX, Story


def told(job: Job, task: int) -> list[str]:
    return [each.what for each in job.core.story.of(task) if each.task == task]


def test_the_story_of_a_task_goes_from_its_grant_to_the_commit_that_counts_it(job: Job) -> None:
    task = job.ask("a")
    job.report("a", task)
    job.commit()
    job.report("a", task)
    assert told(job, 0) == ["granted", "staged", "counted", "sent again"]


def test_a_story_says_why_a_result_was_refused() -> None:
    job = new_job(buffered)
    job.report("a", job.ask("a"), (1.0, 2.0, 3.0))
    assert [(each.what, each.detail) for each in job.core.story.of(0)] == [("granted", 0), ("refused", "length")]


def test_a_story_says_that_the_lease_expired_and_the_commit_failed(job: Job) -> None:
    task = job.ask("a")
    job.now = LEASE_S
    job.happens(Tick())
    job.report("a", task)
    job.fail_commit()
    expired = "its lease expired: the place is free, a late result may count"
    assert told(job, 0) == ["granted", expired, "staged", "its commit failed"]


def test_what_happens_to_the_job_meanwhile_is_part_of_the_story_of_each_task(job: Job) -> None:
    tasks = {device: job.ask(device) for device in "abc"}
    for device in "ab":
        job.report(device, tasks[device])
        job.settle()
    assert ("published", 1) in [(each.what, each.detail) for each in job.core.story.of(2)]


def test_the_oldest_entries_give_way() -> None:
    story = Story()
    story.add(0.0, 1, "granted")
    story.extend(1.0, range(2, 2 + STORY_MAX), "counted", 1)
    assert story.of(1) == []
    assert len(story.of(2)) == 1


def test_nothing_is_told_of_a_task_that_nobody_had() -> None:
    story = Story()
    story.add(0.0, EVERY, "published", 1)
    assert story.of(7) == []
