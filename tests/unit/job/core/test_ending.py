"""How a job ends."""

import pytest

from tests.unit.job.a_job import Job, buffered, new_job, stop, the_end
from turnout.job.core.commits import RETRY_COMMIT_S
from turnout.job.core.events import (
    Evaluated,
    Finish,
    Paused,
    Tick,
)
from turnout.job.core.states import LAST_COMMITS_MAX, Kind
from turnout.job.core.status import status_of
from turnout.job.core.versions import DRAIN_S
from turnout.job.workflow.buffered import Buffered
from turnout.job.workflow.evaluation import Evaluate, Evaluation
from turnout.job.workflow.made import Made
from turnout.job.workflow.ranking import Ranking, SavedRanking, Target
from turnout.job.workflow.rounds import Rounds
from turnout.messages import Status


def tick(job: Job, after_s: float) -> None:
    job.now += after_s
    job.happens(Tick())
    job.settle()


# --- the last version ---------------------------------------------------------------------------------------------


def test_a_job_ends_at_its_last_version_after_everybody_was_answered() -> None:
    job = new_job(buffered, versions_max=1)
    tasks = {device: job.ask(device) for device in "abc"}
    job.report("a", tasks["a"])
    job.commit()
    job.report("b", tasks["b"])
    third = job.report("c", tasks["c"])
    effects = job.commit()
    assert effects[-1] == Finish(Kind.COMPLETED, "version 1 is the last")
    told = third()
    assert told is not None
    assert (told.status, told.counted) == (Status.NO_TASK, False)
    assert job.ask("d").status is Status.DONE


def test_a_job_ends_when_its_time_is_over() -> None:
    job = new_job(buffered, time_max_s=100.0)
    assert job.core.next_tick(job.now) == 100.0
    job.now = 100.0
    assert job.happens(Tick())[-1] == Finish(Kind.COMPLETED, "the job ran for 100 s")


def test_the_last_version_is_evaluated_before_the_end_is_announced() -> None:
    job = new_job(lambda: buffered(goal=1), versions_max=1)
    job.core.parts.evaluation.every = 100
    job.report("a", job.ask("a"))
    effects = job.commit()
    assert any(isinstance(effect, Evaluate) and effect.version == 1 for effect in effects)
    assert not any(isinstance(effect, Finish) for effect in effects)
    assert isinstance(job.happens(Evaluated(1, {"accuracy": 0.9}))[-1], Finish)
    assert job.core.parts.evaluation.metrics == {"accuracy": 0.9}


def test_an_ending_job_does_not_ask_for_ticks_that_do_nothing() -> None:
    """Its last evaluation takes longer than the deadline of a round."""
    job = new_job(lambda: Rounds(1, over_selection=1.0, deadline_s=30.0, quorum=1.0, extensions_max=0), versions_max=1)
    job.core.parts.evaluation.every = 1
    job.report("a", job.ask("a"))
    job.commit()
    job.now = 100.0
    job.happens(Tick())
    assert job.core.word == "ENDING"
    assert job.core.next_tick(job.now) is None


@pytest.mark.parametrize(
    "workflow",
    [lambda: Rounds(10, 1.0, deadline_s=1e6, quorum=1.0, extensions_max=3), lambda: Buffered(10, 10, 3)],
    ids=["rounds", "buffered"],
)
def test_the_update_of_one_device_is_never_published(workflow: object) -> None:
    """The other nine of ten never report: what this one learned stays in the sum."""
    job = new_job(workflow, time_max_s=100.0)  # type: ignore[arg-type]
    tasks = {device: job.ask(device) for device in "abcdefghij"}
    answer = job.report("a", tasks["a"], (3.14159, -2.71828))
    job.settle()
    told = answer()
    assert told is not None
    assert told.counted
    tick(job, 100.0)
    tick(job, DRAIN_S)
    assert the_end(job) == Finish(Kind.COMPLETED, "the job ran for 100 s; 1 counted result is in no version", left=1)
    assert job.core.version == 0
    assert job.core.model.tolist() == [0.0, 0.0]


def test_a_job_that_a_person_stops_makes_a_last_version_of_no_fewer_results_than_it_may() -> None:
    job = new_job(lambda: buffered(goal=8, concurrency=8, least=2))
    for device in "ab":
        job.report(device, job.ask(device), (4.0, 0.0))
        job.settle()
    stop(job)
    assert the_end(job) == Finish(Kind.CANCELLED, "enough")
    assert job.core.model.tolist() == [4.0, 0.0]
    assert job.core.made.of_version == {1: 2}


def test_what_is_left_goes_into_a_version_when_the_job_is_started_again() -> None:
    job = new_job(buffered)
    job.report("a", job.ask("a"), (4.0, 0.0))
    job.settle()
    stop(job)
    assert the_end(job).left == 1
    again = job.restart()
    again.report("b", again.ask("b"), (8.0, 2.0))
    again.settle()
    assert again.core.version == 1
    assert again.core.model.tolist() == [6.0, 1.0]


def test_where_every_counted_result_went_adds_up_over_an_end_and_a_start() -> None:
    job = new_job(buffered)
    for device in "abc":
        job.report(device, job.ask(device))
        job.settle()
    stop(job)
    the_end(job)
    again = job.restart()
    made, status = again.core.made, status_of(again.core, again.now)
    assert (status.counted, made.in_versions, status.buffered) == (3, 2, 1)
    assert [(kept.version, kept.results) for kept in status.kept] == [(1, 2)]


# --- draining -----------------------------------------------------------------------------------------------------


def test_an_ending_job_gives_out_no_task_and_takes_the_results_of_those_that_are_out() -> None:
    job = new_job(buffered)
    first, second = job.ask("a"), job.ask("b")
    job.report("a", first, (4.0, 0.0))
    job.settle()
    stop(job)
    assert job.ask("c").status is Status.DONE
    assert job.ask("b").task_id == second.task_id, "it may have lost the first answer"
    answer = job.report("b", second, (2.0, 0.0))
    assert the_end(job) == Finish(Kind.CANCELLED, "enough")
    told = answer()
    assert told is not None
    assert told.counted
    assert job.core.model.tolist() == [3.0, 0.0]


def test_an_ending_job_waits_no_longer_than_a_bound_and_says_what_for() -> None:
    job = new_job(buffered)
    job.report("a", job.ask("a"))
    job.ask("silent")
    stop(job)
    job.settle()
    words = status_of(job.core, job.now).waiting_for
    assert words == "1 devices that are training, for 15 s at most; then it ends: enough"
    tick(job, DRAIN_S - 0.1)
    assert not job.core.ended
    due = job.core.next_tick(job.now)
    assert due is not None
    tick(job, due - job.now)
    assert the_end(job).left == 1


def test_an_ending_job_does_not_wait_where_no_version_can_come_of_it() -> None:
    """One result is in and one task is out; a version takes three."""
    job = new_job(lambda: buffered(goal=3))
    job.report("a", job.ask("a"))
    job.ask("b")
    stop(job)
    assert the_end(job).left == 1


def test_a_lease_that_ends_meanwhile_is_not_waited_for() -> None:
    job = new_job(buffered)
    job.report("a", job.ask("a"))
    job.ask("silent")
    job.now = 55.0
    stop(job)
    job.settle()
    tick(job, 5.1)
    assert the_end(job).left == 1


def test_a_result_that_comes_once_the_end_is_being_saved_is_refused_when_that_is_durable() -> None:
    job = new_job(lambda: buffered(goal=3))
    job.keeps_grants = False
    task = job.ask("late")
    job.now = 1.0
    job.happens(Tick())
    job.settle()
    stop(job)
    answer = job.report("late", task)
    assert answer() is None, "the next process might count it"
    the_end(job)
    told = answer()
    assert told is not None
    assert (told.counted, told.status) == (False, Status.NO_TASK)


def test_a_result_that_was_refused_at_the_end_is_refused_after_a_start_too() -> None:
    job = new_job(lambda: buffered(goal=3))
    task = job.ask("late")
    stop(job)
    the_end(job)
    told = job.report("late", task)()
    assert told is not None
    assert told.message == "the job has ended; this result came too late"
    again = job.restart()
    told = again.report("late", task)()
    assert told is not None
    assert told.message == "since this task was given out the job has ended, or gone back to an earlier model"
    other = again.ask("late")
    assert other.task_id != task.task_id
    answer = again.report("late", other)
    again.settle()
    told = answer()
    assert told is not None
    assert told.counted


def test_a_restart_in_the_middle_of_draining_takes_the_results_that_are_still_out() -> None:
    job = new_job(buffered, time_max_s=50.0)
    first, second = job.ask("a"), job.ask("b")
    job.report("a", first, (4.0, 0.0))
    job.settle()
    tick(job, 50.0)
    assert job.core.word == "ENDING"
    again = job.restart()
    answer = again.report("b", second, (2.0, 0.0))
    assert the_end(again).left == 0
    told = answer()
    assert told is not None
    assert told.counted
    assert again.core.model.tolist() == [3.0, 0.0]


def test_a_target_that_was_reached_is_remembered_by_a_process_that_goes_on_draining() -> None:
    job = new_job(lambda: buffered(goal=2))
    job.core.parts.ranking = Ranking(metric="accuracy", target=Target("accuracy", at_least=0.9))
    job.core.parts.evaluation = Evaluation(every=1)
    for device in "abc":
        job.report(device, job.ask(device))
        job.settle()
    task = job.ask("d")
    job.now += 1.0
    job.happens(Evaluated(1, {"accuracy": 0.95}))
    job.settle()
    assert not job.core.ended
    again = job.restart()
    assert again.ask("e").status is Status.DONE
    answer = again.report("d", task)
    again.settle()
    told = answer()
    assert told is not None
    assert told.counted
    assert the_end(again).reason == "accuracy of version 1 is 0.95, at least 0.9"


def test_a_paused_job_can_be_stopped_and_takes_what_is_out() -> None:
    job = new_job(buffered)
    first, second = job.ask("a"), job.ask("b")
    job.report("a", first)
    job.settle()
    job.happens(Paused())
    job.settle()
    stop(job)
    job.report("b", second)
    assert the_end(job).left == 0
    assert job.core.version == 1


def measured_at_its_end() -> Job:
    """A job whose last version was just measured; nothing of that is durable yet."""
    job = new_job(buffered, versions_max=1)
    job.core.parts.ranking = Ranking(metric="accuracy")
    job.core.parts.evaluation = Evaluation(every=1)
    for device in "ab":
        job.report(device, job.ask(device))
    job.settle()
    job.keeps_grants = False
    job.happens(Evaluated(1, {"accuracy": 0.9}))
    return job


def best_on_disk(job: Job) -> tuple[int, float] | None:
    durable = job.journal.load()
    assert durable is not None
    return durable.of(SavedRanking).best


def test_the_metric_of_the_last_version_is_durable_before_the_end_is_announced() -> None:
    job = measured_at_its_end()
    assert not job.core.ended
    the_end(job)
    assert best_on_disk(job) == (1, 0.9)


def test_a_metric_whose_commit_failed_is_saved_before_the_end_is_announced() -> None:
    job = measured_at_its_end()
    assert not any(isinstance(effect, Finish) for effect in job.fail_commit())
    tick(job, RETRY_COMMIT_S)
    the_end(job)
    assert best_on_disk(job) == (1, 0.9)


# --- a disk that fails --------------------------------------------------------------------------------------------


def test_a_stopped_job_whose_disk_fails_ends_all_the_same_and_says_what_is_missing() -> None:
    job = new_job(buffered)
    job.report("a", job.ask("a"))
    job.commit()
    job.keeps_grants = False
    stop(job)
    for _ in range(LAST_COMMITS_MAX):
        job.fail_commit()
        due = job.core.next_tick(job.now)
        assert due is not None
        job.now = due
        job.happens(Tick())
    last = job.effects[-1]
    assert last == Finish(Kind.CANCELLED, "enough; the disk failed; 1 counted result is in no version", left=1)


def test_a_result_that_comes_after_an_end_that_is_not_durable_is_to_be_sent_again() -> None:
    """Whether it counts is for the next process to say, should the job be started again."""
    job = new_job(lambda: buffered(goal=3))
    task = job.ask("late")
    job.keeps_grants = False
    stop(job)
    for _ in range(LAST_COMMITS_MAX):
        job.fail_commit()
        job.now += RETRY_COMMIT_S
        job.happens(Tick())
    assert job.core.ended
    told = job.report("late", task)()
    assert told is not None
    assert (told.counted, told.status) == (False, Status.RETRY)


def test_a_job_that_has_reached_its_end_waits_for_the_disk_however_long() -> None:
    """What was acknowledged is in the last version, or there is none yet."""
    job = new_job(lambda: buffered(goal=4, least=1), time_max_s=50.0)
    answer = job.report("a", job.ask("a"))
    job.settle()
    assert (told := answer()) is not None
    assert told.counted
    job.now = 50.0
    job.happens(Tick())
    for _ in range(3 * LAST_COMMITS_MAX):
        job.fail_commit()
        due = job.core.next_tick(job.now)
        assert due is not None
        job.now = due
        job.happens(Tick())
    assert not job.core.ended
    job.settle()
    assert job.core.ended
    assert job.core.version == 1
    assert job.core.model.tolist() == [1.0, 0.0]


def fail_until_the_last_try(job: Job) -> None:
    for left in reversed(range(LAST_COMMITS_MAX)):
        job.fail_commit()
        if left:
            due = job.core.next_tick(job.now)
            assert due is not None
            job.now = due
            job.happens(Tick())


def test_a_result_that_comes_between_the_last_failure_and_the_end_is_to_be_sent_again() -> None:
    """Nothing that is not saved may be in the sum when the end is announced without a commit."""
    job = new_job(lambda: buffered(goal=4, concurrency=8))
    tasks = {device: job.ask(device) for device in "abcde"}
    job.report("a", tasks["a"])
    job.commit()
    job.keeps_grants = False
    stop(job)
    job.report("b", tasks["b"])
    fail_until_the_last_try(job)
    told = job.report("c", tasks["c"])()
    assert told is not None
    assert (told.counted, told.status) == (False, Status.RETRY)
    job.now += RETRY_COMMIT_S
    job.happens(Tick())
    assert job.effects[-1] == Finish(
        Kind.CANCELLED, "enough; the disk failed; 1 counted result is in no version", left=1
    )
    assert job.core.tally.counted == 1


def test_a_draining_job_counts_what_it_told_to_send_again_once_its_disk_works() -> None:
    job = new_job(lambda: buffered(goal=3))
    tasks = {device: job.ask(device) for device in "abcd"}
    job.report("a", tasks["a"])
    job.commit()
    job.keeps_grants = False
    stop(job)
    job.report("b", tasks["b"])
    job.fail_commit()
    told = job.report("c", tasks["c"])()
    assert told is not None
    assert told.status is Status.RETRY
    job.now += RETRY_COMMIT_S
    job.happens(Tick())
    job.commit()
    job.report("c", tasks["c"])
    job.report("d", tasks["d"])
    assert the_end(job) == Finish(Kind.CANCELLED, "enough")
    assert job.core.made.of_version == {1: 3}


def test_a_person_stops_a_job_that_a_rule_ends_and_whose_disk_fails() -> None:
    job = new_job(lambda: buffered(goal=4), time_max_s=50.0)
    job.report("a", job.ask("a"))
    job.settle()
    job.keeps_grants = False
    job.now = 50.0
    job.happens(Tick())
    fail_until_the_last_try(job)
    job.now += RETRY_COMMIT_S
    job.happens(Tick())
    assert not job.core.ended
    stop(job)
    fail_until_the_last_try(job)
    assert not job.core.ended, "the disk has all its chances once a person has stopped the job"
    job.now += RETRY_COMMIT_S
    job.happens(Tick())
    assert job.effects[-1] == Finish(
        Kind.CANCELLED, "enough; the disk failed; 1 counted result is in no version", left=1
    )


def test_a_person_who_stops_a_job_that_a_rule_ends_does_not_wait_for_an_evaluation() -> None:
    job = new_job(lambda: buffered(goal=1), versions_max=1)
    job.core.parts.evaluation.every = 1
    job.report("a", job.ask("a"))
    job.settle()
    assert not job.core.ended
    stop(job)
    assert the_end(job) == Finish(Kind.CANCELLED, "enough")
    job.happens(Evaluated(1, {"accuracy": 0.9}))
    stop(job)
    assert isinstance(job.effects[-1], Finish), "nothing follows the end"


@pytest.mark.parametrize(
    ("dropped", "buffered", "said"),
    [
        (0, 0, ""),
        (0, 1, "1 counted result is in no version"),
        (1, 0, "1 counted result is in no version, and was dropped where training diverged"),
        (2, 0, "2 counted results are in no version, all of them dropped where training diverged"),
        (1, 2, "3 counted results are in no version, 1 of them dropped where training diverged"),
    ],
)
def test_how_many_results_are_in_no_version_is_said_in_plain_words(dropped: int, buffered: int, said: str) -> None:
    assert Made(dropped=dropped).words(buffered) == said
