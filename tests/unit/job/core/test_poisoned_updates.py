"""One client without credentials that sends updates meant to end a job: a warning, and honest devices go on."""

import itertools

import numpy as np
import pytest

from tests.unit.job.a_job import Job, new_job
from turnout.aggregator.typical import STUCK
from turnout.job.core.events import Finish, Result
from turnout.job.core.status import status_of
from turnout.job.workflow.buffered import Buffered
from turnout.job.workflow.rounds import Rounds
from turnout.messages import DeviceInfo, ResultReport, ResultResponse, Status


def buffered() -> Buffered:
    return Buffered(concurrency=4, goal=4, staleness_max=3)


names = itertools.count()


def attack(job: Job, value: float, examples: float = 1.0) -> ResultResponse:
    """One more device that nobody knows takes a task and sends ``value``."""
    name = f"e{next(names)}"
    answer = job.report(name, job.ask(name), (value, 0.0), examples)
    job.settle()
    told = answer()
    assert told is not None
    return told


def honest_version(job: Job) -> None:
    """Four honest devices make the next one, each with a norm of about 1."""
    honest_version_of(job, 4)


def honest_version_of(job: Job, devices: int) -> None:
    before = job.core.version
    for _ in range(devices):
        name = f"h{next(names)}"
        job.report(name, job.ask(name), (0.6, 0.8))
    job.settle()
    assert job.core.version == before + 1


@pytest.mark.parametrize(("value", "examples"), [(2.6e36, 1.0), (1e38, 1.0), (1e30, 1000.0), (1e7, 1e12)])
@pytest.mark.parametrize("first", [True, False])
def test_updates_from_another_order_of_size_are_refused_with_a_warning(
    value: float, examples: float, first: bool
) -> None:
    """2,096 such results ended a job, of others 64; the first alone ruined its model."""
    job = new_job(buffered)
    if not first:
        honest_version(job)
    for _ in range(200):
        told = attack(job, value, examples)
        assert (told.counted, told.status) == (False, Status.ERROR)
    status = status_of(job.core, job.now)
    assert sum(status.refused.values()) == 200
    advised = any(warning.startswith("updates are refused (200 times)") for warning in status.warnings)
    assert advised == ("far_norm" in status.refused), "update_norm_max does not help against what overflows"
    assert advised or any("were refused; the newest: " in warning for warning in status.warnings)
    for _ in range(3):
        honest_version(job)
    assert np.abs(job.core.model).max() < 5
    assert not any(isinstance(effect, Finish) for effect in job.effects)


def test_what_the_first_results_can_do_is_bounded_as_well() -> None:
    """Strangers that send as much as is taken, alone: 100 times the first bound when the median of 31 is known."""
    job = new_job(buffered)
    for _ in range(31):
        assert job.core.typical.norm_max == 100.0
        attack(job, 99.0)
    assert job.core.typical.norm_max == 9900.0
    assert np.abs(job.core.model).max() <= 7 * 99.0


def test_a_stranger_among_the_first_moves_no_version_further_than_the_first_bound() -> None:
    """It sends 99 where honest norms are 1; with the fifth result the bound is 100 times their median."""
    job = new_job(buffered)
    attack(job, 99.0)
    honest_version_of(job, 3)
    assert job.core.model[0] == pytest.approx((99 + 3 * 0.6) / 4)
    honest_version(job)
    assert job.core.typical.norm_max == pytest.approx(100.0)


def test_one_refused_result_sent_a_hundred_times_does_not_make_the_job_forget_what_is_usual() -> None:
    """The bound begins again when a hundred were refused in a row, which must take a hundred leases."""
    job = new_job(buffered)
    for _ in range(10):
        job_of_small_norms(job)
    before = job.core.typical.norm_max
    assert before < 10.0
    task = job.ask("stranger")
    for _ in range(2 * STUCK):
        job.report("stranger", task, (99.0, 0.0))
        job.settle()
    assert job.core.typical.norm_max == before
    for _ in range(STUCK):
        attack(job, 99.0)
    assert job.core.typical.norm_max == 100.0


def job_of_small_norms(job: Job) -> None:
    """One version of updates with a norm of about 0.01."""
    for _ in range(4):
        name = f"s{next(names)}"
        job.report(name, job.ask(name), (0.006, 0.008))
    job.settle()


def test_where_a_person_says_how_large_an_update_may_be_it_may_be_that_large() -> None:
    job = new_job(buffered, update_norm_max=1e5)
    for _ in range(10):
        honest_version(job)
    assert attack(job, 99_000.0).counted
    assert attack(job, 101_000.0).message.startswith("the update's L2 norm is 101000")


def test_a_small_weight_lifts_no_bound() -> None:
    """The mean is the sum over the weights: of one sender the weight cancels, so the update itself is bounded."""
    job = new_job(lambda: Rounds(2, 1.0, 60.0, 1.0, 0))
    for _ in range(2):
        name = f"w{next(names)}"
        job.report(name, job.ask(name), (99.0, 0.0), examples=1.0)
    job.settle()
    assert job.core.version == 1
    assert job.core.model.tolist() == [99.0, 0.0], "at most what one update may be"


@pytest.mark.parametrize(
    "examples", [0.0, -1.0, 1e-320, 1e-9, 0.999, 1e13, 1e308, float("nan"), float("inf"), -float("inf")]
)
@pytest.mark.parametrize("by_examples", [True, False])
def test_impossible_numbers_of_examples_are_refused_however_results_weigh(examples: float, by_examples: bool) -> None:
    job = new_job(buffered, by_examples=by_examples)
    assert not attack(job, 1.0, examples).counted
    assert job.core.parts.aggregator.count == 0


def test_the_median_is_saved_with_the_commits_and_goes_back_with_them() -> None:
    job = new_job(buffered)
    honest_version(job)
    median = job.core.typical.save()
    assert (median.median, median.taken) == (pytest.approx(1.0), 4)
    name = f"h{next(names)}"
    job.report(name, job.ask(name), (0.6, 0.8))
    job.fail_commit()
    assert job.core.typical.save() == median, "that result is not counted"
    again = job.restart()
    assert again.core.typical.save() == median


def test_a_result_far_beyond_the_others_is_told_both_norms() -> None:
    job = new_job(buffered)
    data = memoryview(np.array((1e9, 0), "<f4").tobytes())
    task = job.ask("a")
    ticket = job.ticket()
    job.happens(Result(ticket, ResultReport(DeviceInfo("a"), "job-1", task.task_id or "", "train", data)))
    told = job.answers[ticket]
    assert isinstance(told, ResultResponse)
    assert told.message == "the update's L2 norm is 1e+09; this job takes at most 100, by what it has seen so far"
