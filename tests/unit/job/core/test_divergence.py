"""What becomes of training that diverges: the job goes back to an earlier version and waits for a person."""

import numpy as np
import pytest

from tests.unit.job.a_job import Job, blob_of, buffered, new_job, stop, the_end
from turnout.job.core.commits import RETRY_COMMIT_S
from turnout.job.core.events import (
    Committed,
    Evaluated,
    Finish,
    Paused,
    Publish,
    Recall,
    Recalled,
    Resumed,
    TaskAsked,
    Tick,
)
from turnout.job.core.states import Kind, Recalling
from turnout.job.core.status import status_of
from turnout.job.workflow.evaluation import Evaluate, Evaluation
from turnout.job.workflow.ranking import Ranking
from turnout.messages import DeviceInfo, PausedBy, Status, TaskRequest, TaskResponse

HUGE = float(np.finfo(np.float32).max / 200)  #: The largest number that an update may hold is larger.


def diverge(job: Job) -> None:
    """Report huge updates until the next version would not be finite."""
    for index in range(300):
        job.report(f"device-{index}", job.ask(f"device-{index}"), (HUGE, 0.0))
        if job.core.pause.on or isinstance(job.core.state, Recalling):
            return
        job.settle()
    raise AssertionError("300 steps of a two-hundredth of the largest float must leave its range")


def test_a_job_that_diverges_goes_on_from_its_newest_version_once_a_person_resumes_it() -> None:
    job = new_job(lambda: buffered(goal=1), update_norm_max=2 * HUGE)
    diverge(job)
    job.settle()
    good = job.core.version - 1
    assert job.core.word == "PAUSED"
    assert np.isfinite(job.core.model).all()
    assert f"version {good + 1} is version {good} again, the newest that was made" in job.core.pause.reason
    assert job.core.made.dropped == 1
    assert job.core.made.of_version[good + 1] == 0
    assert job.ask("new").status is Status.RETRY
    job.happens(Resumed())
    task = job.ask("new")
    assert task.task_data is not None
    assert task.task_data.meta["model_version"] == good + 1
    job.report("new", task, (-1.0, 0.0))
    job.settle()
    assert job.core.version == good + 2


def diverged_with_a_best() -> Job:
    """Version 1, of (1, 0), is the best of three when a step leaves the numbers."""
    job = new_job(lambda: buffered(goal=1), update_norm_max=2 * HUGE)
    job.core.parts.ranking = Ranking(metric="accuracy")
    job.core.parts.evaluation = Evaluation(every=1)
    for accuracy, device in ((0.9, "a"), (0.5, "b"), (0.6, "c")):
        job.report(device, job.ask(device))
        job.settle()
        job.happens(Evaluated(job.core.version, {"accuracy": accuracy}))
        job.settle()
    job.core.model = np.array([np.finfo(np.float32).max, 0.0], np.float32)
    job.report("d", job.ask("d"), (HUGE, 0.0))
    return job


def test_a_job_that_diverges_returns_to_its_best_version() -> None:
    job = diverged_with_a_best()
    assert job.effects[-1] == Recall(1, blob_of(1))
    held = job.ticket()
    job.happens(Recalled(1, np.array([1.0, 0.0], np.float32)))
    assert job.core.version == 4
    assert held not in job.answers
    effects = job.commit()
    assert any(isinstance(effect, Publish) and effect.version == 4 for effect in effects)
    assert job.core.model.tolist() == [1.0, 0.0]
    assert "version 4 is version 1 again, the best" in status_of(job.core, job.now).waiting_for
    assert status_of(job.core, job.now).dropped == 1


def test_a_job_whose_best_model_cannot_be_read_goes_on_from_the_newest_and_says_why() -> None:
    job = diverged_with_a_best()
    job.happens(Recalled(1, None, "no such file"))
    job.settle()
    assert any("cannot be read: no such file" in text for text in job.core.warnings.newest)
    assert "version 4 is version 3 again" in job.core.pause.reason


def test_that_a_job_has_diverged_is_known_after_a_restart() -> None:
    job = new_job(lambda: buffered(goal=1), update_norm_max=2 * HUGE)
    diverge(job)
    job.settle()
    again = job.restart()
    assert again.core.word == "PAUSED"
    assert again.core.pause.reason == job.core.pause.reason
    assert status_of(again.core, again.now).paused_by is PausedBy.DIVERGENCE
    assert again.core.made.dropped == 1


def test_what_comes_while_the_best_model_is_read_is_held() -> None:
    job = diverged_with_a_best()
    ticket = job.ticket()
    job.happens(TaskAsked(ticket, TaskRequest(DeviceInfo("e"), "job-1")))
    assert ticket not in job.answers
    due = job.core.next_tick(job.now)
    assert due is None or due > job.now, "a tick would do nothing"
    job.happens(Recalled(1, np.array([1.0, 0.0], np.float32)))
    job.settle()
    answer = job.answers[ticket]
    assert isinstance(answer, TaskResponse)
    assert answer.status is Status.RETRY


def test_a_job_that_ends_where_training_diverges_keeps_its_results_in_the_sum() -> None:
    job = new_job(lambda: buffered(goal=2), update_norm_max=2 * HUGE)
    job.report("a", job.ask("a"), (HUGE, 0.0))
    job.settle()
    task = job.ask("b")
    job.core.model = np.array([np.finfo(np.float32).max, 0.0], np.float32)
    stop(job)
    job.report("b", task, (HUGE, 0.0))
    last = the_end(job)
    assert last.reason == ("enough; the last step would not have been finite; 2 counted results are in no version")
    assert job.core.version == 0


AT_THE_EDGE = np.array([np.finfo(np.float32).max, 0.0], np.float32)  #: One more step of HUGE is not finite.


def step_out(job: Job) -> None:
    """One device's result would make the next model infinite."""
    task = job.ask("huge")
    job.core.model = AT_THE_EDGE
    job.report("huge", task, (HUGE, 0.0))


def test_what_was_out_when_training_diverged_is_refused_and_closes_no_version() -> None:
    job = new_job(lambda: buffered(goal=1), update_norm_max=2 * HUGE)
    out = {device: job.ask(device) for device in "bc"}
    before = job.core.typical.save()
    step_out(job)
    held = job.report("b", out["b"])
    assert held() is None, "a crash could still undo that"
    job.settle()
    for told in (held(), job.report("c", out["c"])()):
        assert told is not None
        assert (told.counted, told.status) == (False, Status.NO_TASK)
        assert told.message == "since this task was given out the job has ended, or gone back to an earlier model"
    assert (job.core.version, job.core.word) == (1, "PAUSED")
    assert job.core.typical.save() == before, "what diverged is not taken for usual"
    again = job.restart()
    told = again.report("c", out["c"])()
    assert told is not None
    assert not told.counted


def test_where_the_last_version_diverges_the_job_pauses_and_does_not_complete() -> None:
    job = new_job(lambda: buffered(goal=1), update_norm_max=2 * HUGE, versions_max=1)
    step_out(job)
    job.settle()
    again = job.restart()
    for each in (job, again):
        assert (each.core.version, each.core.word) == (1, "PAUSED")
        assert "version 1 would not have been finite; 1 result was dropped" in each.core.pause.reason
    again.core.model = np.zeros(2, np.float32)
    again.happens(Resumed())
    again.report("b", again.ask("b"))
    assert the_end(again) == Finish(
        Kind.COMPLETED,
        "version 2 is the last; 1 counted result is in no version, and was dropped where training diverged",
        1,
    )


def test_versions_without_a_better_one_are_counted_anew_from_the_return_to_the_best() -> None:
    """Version 4 is version 1 again, with its model and metric; no evaluation of it is needed."""
    job = diverged_with_a_best()
    job.core.parts.ranking.patience = 3
    job.happens(Recalled(1, np.array([1.0, 0.0], np.float32)))
    assert job.committing is not None
    snapshot, job.committing = job.committing.snapshot, None
    job.journal.commit(snapshot)
    effects = job.happens(Committed(snapshot.commit, 0.001, blob_of(1)))  # the same model is the same file
    assert not any(isinstance(effect, Evaluate) for effect in effects)
    job.settle()
    assert job.core.parts.ranking.best == (4, 0.9)
    assert job.core.parts.ranking.over(6, {"accuracy": 0.5}) == ""
    assert job.core.parts.ranking.over(7, {"accuracy": 0.5}) != ""


def with_a_best(newest: int) -> Job:
    job = new_job(lambda: buffered(goal=2))
    job.core.parts.ranking = Ranking(metric="loss", higher=False)
    job.core.parts.evaluation = Evaluation(every=1)
    for version in range(newest):
        for device in "ab":
            job.report(device, job.ask(device))
        job.settle()
        if version == 0:
            job.happens(Evaluated(1, {"loss": 0.5}))
            job.settle()
    return job


def test_a_ranked_metric_that_is_not_finite_takes_the_job_back_to_its_best_version() -> None:
    job = with_a_best(newest=2)
    job.report("c", job.ask("c"))
    assert job.committing is not None
    job.happens(Evaluated(2, None, "evaluate returned loss = nan", ["loss"]))
    assert not any(isinstance(effect, Recall) for effect in job.effects), "a commit is under way"
    job.commit()
    assert job.effects[-1] == Recall(1, blob_of(1))
    job.happens(Recalled(1, np.array([1.0, 0.0], np.float32)))
    job.fail_commit()
    job.now += RETRY_COMMIT_S
    job.happens(Tick())
    assert job.effects[-1] == Recall(1, blob_of(1)), "the return is not durable yet"
    job.happens(Recalled(1, np.array([1.0, 0.0], np.float32)))
    job.settle()
    assert (job.core.version, job.core.word, job.core.made.dropped) == (3, "PAUSED", 1)
    assert job.core.model.tolist() == [1.0, 0.0]
    assert job.core.pause.reason.startswith(
        "training diverged: loss of version 2 is not finite; 1 result was dropped; version 3 is version 1 again"
    )


@pytest.mark.parametrize("bad", [[], ["other"]])
def test_an_evaluation_that_fails_otherwise_takes_a_job_nowhere(bad: list[str]) -> None:
    job = with_a_best(newest=2)
    job.happens(Evaluated(2, None, "no such file", bad))
    job.settle()
    assert (job.core.version, job.core.word) == (2, "OPEN")


def test_without_a_best_version_a_metric_that_is_not_finite_is_a_failed_evaluation() -> None:
    job = with_a_best(newest=0)
    job.happens(Evaluated(0, None, "evaluate returned loss = nan", ["loss"]))
    assert job.core.word == "OPEN"


def test_a_best_model_that_is_not_finite_is_not_returned_to() -> None:
    job = diverged_with_a_best()
    job.happens(Recalled(1, np.array([np.nan, 0.0], np.float32)))
    job.settle()
    assert "version 4 is version 3 again" in job.core.pause.reason


def test_a_job_that_a_person_has_paused_says_that_it_diverged_meanwhile() -> None:
    job = new_job(lambda: buffered(goal=1), update_norm_max=2 * HUGE)
    task = job.ask("huge")
    job.happens(Paused())
    job.settle()
    job.core.model = AT_THE_EDGE
    job.report("huge", task, (HUGE, 0.0))
    job.settle()
    assert status_of(job.core, job.now).paused_by is PausedBy.DIVERGENCE


def test_what_was_out_is_told_to_come_again_while_the_return_is_not_durable() -> None:
    """One of two results is saved when the commit that goes back fails: the buffer is open again."""
    job = new_job(lambda: buffered(goal=2), update_norm_max=2 * HUGE)
    out = job.ask("out")
    job.report("a", job.ask("a"))
    job.settle()
    step_out(job)
    job.fail_commit()
    told = job.report("out", out)()
    assert told is not None
    assert (told.counted, told.status) == (False, Status.RETRY)
    assert job.core.pause.reason == "", "it did not happen"
