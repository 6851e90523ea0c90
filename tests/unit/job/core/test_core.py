"""What a job decides: tasks, results, duplicates, lateness."""

import numpy as np
import pytest

from tests.contract.flare.quirks import covers
from tests.unit.job.a_job import LEASE_S, RESEND_S, Job, blob_of, new_job
from turnout.aggregator.mean import TOTAL, MeanAggregator
from turnout.job.core.commits import INTERVAL_MIN_S, INTERVAL_MULTIPLE, QUIET_MULTIPLE, QUIET_S, QUIET_WRITE_MAX_S
from turnout.job.core.events import (
    Answer,
    Commit,
    Evaluated,
    Publish,
    Result,
    Retract,
    TaskAsked,
    Tick,
)
from turnout.job.core.tasks import SAVE_GRANTS_S
from turnout.job.places.leases import LEASES
from turnout.job.places.places import TASK_BLOCK
from turnout.job.workflow.bases import Bases
from turnout.job.workflow.buffered import Buffered
from turnout.job.workflow.evaluation import Evaluate
from turnout.job.workflow.rounds import Rounds
from turnout.messages import DeviceInfo, ResultReport, ResultResponse, Status, TaskRequest, TaskResponse


def buffered(goal: int = 2, concurrency: int = 4, staleness_max: int = 3) -> Buffered:
    return Buffered(concurrency=concurrency, goal=goal, staleness_max=staleness_max)


def advance(job: Job, versions: int) -> None:
    """Close so many versions with results of devices that nobody else is."""
    target = job.core.version + versions
    while job.core.version < target:
        device = f"filler-{job.tickets}"
        job.report(device, job.ask(device))
        job.now += 1.0
        job.happens(Tick())
        job.settle()


# --- tasks --------------------------------------------------------------------------------------------------------


def test_a_device_gets_a_task_with_the_newest_model_and_the_jobs_settings(job: Job) -> None:
    task = job.ask("a")
    assert task.status is Status.OK
    assert task.task_name == "train"
    assert task.task_data is not None
    assert task.task_data.sha256 == blob_of(0).sha256
    assert task.task_data.meta == {"model_version": 0, "epochs": 1}
    assert task.lease_s == LEASE_S


def test_a_device_that_asks_again_gets_the_same_task(job: Job) -> None:
    first, again = job.ask("a"), job.ask("a")
    assert first.task_id == again.task_id
    assert job.ask("b").task_id != first.task_id


def test_a_device_that_asks_again_later_hears_how_long_its_place_is_still_kept(job: Job) -> None:
    job.ask("a")
    job.now = 20.0
    assert job.ask("a").lease_s == LEASE_S - 20.0


def test_no_more_devices_train_at_once_than_there_are_places(job: Job) -> None:
    for device in "abcd":
        assert job.ask(device).status is Status.OK
    refused = job.ask("e")
    assert refused.status is Status.RETRY
    assert refused.retry_wait is not None
    assert refused.retry_wait >= 1.0
    assert refused.message == "no place is free"


@covers("hole-24")
def test_the_place_of_a_silent_device_goes_to_another_when_its_lease_expires(job: Job) -> None:
    for device in "abcd":
        job.ask(device)
    job.now = LEASE_S - 0.1
    assert job.ask("e").status is Status.RETRY
    job.now = LEASE_S
    assert job.ask("e").status is Status.OK
    assert job.core.tally.lost == 4


def test_the_place_of_a_result_goes_to_another_device(job: Job) -> None:
    tasks = {device: job.ask(device) for device in "abcd"}
    job.report("a", tasks["a"])
    assert job.ask("e").status is Status.OK


def test_a_device_gets_one_task_a_version(job: Job) -> None:
    job.report("a", job.ask("a"))
    again = job.ask("a")
    assert again.status is Status.RETRY
    assert again.message == "this device has done its task of this model version"
    advance(job, versions=1)
    assert job.ask("a").status is Status.OK


def test_a_device_whose_lease_expired_gets_the_same_task_again_so_it_counts_once(job: Job) -> None:
    first = job.ask("a")
    job.now = LEASE_S
    second = job.ask("a")
    assert second.cookie == first.cookie, "the same task number"
    job.report("a", first)
    late = job.report("a", second)
    job.commit()
    answer = late()
    assert answer is not None
    assert answer.duplicate
    assert job.core.tally.counted == 1


def test_a_device_that_took_part_waits_for_the_participation_interval() -> None:
    job = new_job(lambda: buffered(goal=1))
    job.core.parts.places.participation_interval_s = 10.0
    job.report("a", job.ask("a"))
    job.settle()
    job.now = 9.9
    assert job.ask("a").message == "this device took part only a short while ago"
    job.now = 10.0
    assert job.ask("a").status is Status.OK


def test_the_selection_names_nobody_and_is_empty_when_no_place_is_free(job: Job) -> None:
    from turnout.job.core.events import SelectionAsked
    from turnout.messages import DeviceInfo, SelectionRequest, SelectionResponse

    def selection() -> object:
        effect = job.happens(SelectionAsked(job.ticket(), SelectionRequest(DeviceInfo("s"), "job-1")))[0]
        assert isinstance(effect, Answer)
        assert isinstance(effect.response, SelectionResponse)
        return effect.response.selection

    assert selection() == {"*": 1}
    for device in "abcd":
        job.ask(device)
    assert selection() == {}


# --- results ------------------------------------------------------------------------------------------------------


@covers("hole-16", "hole-18")
def test_a_result_is_answered_only_when_its_commit_is_durable(job: Job) -> None:
    answer = job.report("a", job.ask("a"))
    assert answer() is None
    job.commit()
    told = answer()
    assert told is not None
    assert (told.status, told.counted, told.duplicate) == (Status.OK, True, False)


def test_a_version_is_the_old_model_plus_the_weighted_mean_of_its_updates(job: Job) -> None:
    """(1 * 4 + 3 * 8) / 4 = 7 and (1 * 0 + 3 * 4) / 4 = 3."""
    first, second = job.ask("a"), job.ask("b")
    job.report("a", first, (4.0, 0.0), examples=1)
    job.commit()
    job.report("b", second, (8.0, 4.0), examples=3)
    effects = job.commit()
    published = [effect for effect in effects if isinstance(effect, Publish)]
    assert [effect.version for effect in published] == [1]
    assert published[0].model.tolist() == [7.0, 3.0]


def test_a_claim_of_many_examples_weighs_no_more_than_the_lease_allows(job: Job) -> None:
    """The cap is 10: (10 * 1 + 10 * 3) / 20 = 2."""
    first, second = job.ask("a"), job.ask("b")
    job.report("a", first, (1.0, 0.0), examples=1e9)
    job.commit()
    job.report("b", second, (3.0, 0.0), examples=10)
    job.commit()
    assert job.core.model.tolist() == [2.0, 0.0]


def test_with_uniform_weights_the_number_of_examples_does_not_matter() -> None:
    job = new_job(buffered, by_examples=False)
    first, second = job.ask("a"), job.ask("b")
    job.report("a", first, (1.0, 0.0), examples=9)
    job.commit()
    job.report("b", second, (3.0, 0.0), examples=1)
    job.commit()
    assert job.core.model.tolist() == [2.0, 0.0]


def test_a_stale_update_is_discounted_but_the_divisor_is_not() -> None:
    """Discounts 1/(1+s): b is one version old, so (1 * 2 + 1/2 * 4) / 2 = 2."""
    job = new_job(buffered, discount=lambda staleness: 1 / (1 + staleness))
    old = job.ask("b")
    advance(job, versions=1)
    before = job.core.model.copy()
    job.report("a", job.ask("a"), (2.0, 0.0))
    job.commit()
    job.report("b", old, (4.0, 0.0))
    job.commit()
    assert (job.core.model - before).tolist() == [2.0, 0.0]
    assert job.core.tally.staleness == {0: 3, 1: 1}


@covers("hole-16")
def test_a_late_result_counts_while_its_version_is_not_too_stale(job: Job) -> None:
    task = job.ask("a")
    job.now = LEASE_S + 1
    job.happens(Tick())
    answer = job.report("a", task)
    job.settle()
    told = answer()
    assert told is not None
    assert told.counted


def test_a_result_of_a_version_out_of_the_window_is_refused_with_the_reason(job: Job) -> None:
    task = job.ask("slow")
    advance(job, versions=4)
    told = job.report("slow", task)()
    assert told is not None
    assert (told.status, told.counted) == (Status.NO_TASK, False)
    assert told.message is not None
    assert "trained from model version 0, now it is 4" in told.message
    assert job.core.tally.refused == {"too_stale": 1}


def test_a_result_without_a_lease_is_refused(job: Job) -> None:
    told = job.report("a", TaskResponse(Status.OK, task_id="made up"))()
    assert told is not None
    assert (told.status, told.counted) == (Status.NO_TASK, False)
    assert job.core.tally.refused == {"not_leased": 1}


def test_a_result_under_another_devices_lease_is_refused(job: Job) -> None:
    told = job.report("b", job.ask("a"))()
    assert told is not None
    assert told.status is Status.NO_TASK
    assert job.core.tally.refused == {"other_device": 1}


@covers("hole-08")
def test_a_refused_update_changes_nothing_says_why_and_frees_its_place(job: Job) -> None:
    task = job.ask("a")
    told = job.report("a", task, (1.0, 2.0, 3.0))()
    assert told is not None
    assert (told.status, told.counted) == (Status.ERROR, False)
    assert told.message is not None
    assert "2 numbers are expected" in told.message
    assert job.core.parts.aggregator.count == 0
    assert len(job.core.parts.places.live) == 0


def test_a_device_whose_update_was_refused_gets_no_second_try_in_the_version(job: Job) -> None:
    job.report("a", job.ask("a"), (float("nan"), 0.0))
    assert job.ask("a").status is Status.RETRY


def test_a_device_that_reports_a_failure_is_not_counted(job: Job) -> None:
    from turnout.job.core.events import Result
    from turnout.messages import DeviceInfo, ResultReport

    task = job.ask("a")
    report = ResultReport(DeviceInfo("a"), "job-1", task.task_id or "", "train", memoryview(b""), status="ERROR")
    effect = job.happens(Result(job.ticket(), report))[0]
    assert isinstance(effect, Answer)
    assert effect.response.status is Status.ERROR
    assert job.core.tally.refused == {"device_failed": 1}


# --- duplicates ---------------------------------------------------------------------------------------------------


def test_a_duplicate_of_a_staged_result_is_answered_together_with_it(job: Job) -> None:
    task = job.ask("a")
    first = job.report("a", task)
    again = job.report("a", task)
    assert first() is None
    assert again() is None
    job.commit()
    told = again()
    assert told is not None
    assert (told.counted, told.duplicate) == (True, True)
    assert job.core.tally.counted == 1


def test_a_duplicate_of_a_counted_result_is_answered_at_once_and_the_first_body_wins(job: Job) -> None:
    task = job.ask("a")
    job.report("a", task, (1.0, 0.0))
    job.commit()
    told = job.report("a", task, (100.0, 0.0))()
    assert told is not None
    assert (told.counted, told.duplicate) == (True, True)
    assert job.core.parts.aggregator.vectors()[TOTAL].tolist() == [1.0, 0.0]


def test_a_duplicate_is_known_as_such_even_when_its_version_is_too_stale(job: Job) -> None:
    task = job.ask("a")
    job.report("a", task)
    advance(job, versions=5)
    told = job.report("a", task)()
    assert told is not None
    assert (told.counted, told.duplicate) == (True, True)


def test_beyond_the_resend_window_nobody_knows(job: Job) -> None:
    task = job.ask("a")
    job.report("a", task)
    advance(job, versions=5)
    job.now += LEASE_S + RESEND_S
    advance(job, versions=1)
    told = job.report("a", task)()
    assert told is not None
    assert told.counted is False
    assert job.core.tally.refused == {"too_old": 1}


# --- offers -------------------------------------------------------------------------------------------------------


def test_a_result_that_would_be_taken_is_asked_for(job: Job) -> None:
    told = job.offer("a", job.ask("a").task_id or "")
    assert told is not None
    assert (told.status, told.counted) == (Status.OK, False)


def test_a_result_that_would_be_refused_is_refused_unseen(job: Job) -> None:
    told = job.offer("a", "made up")
    assert told is not None
    assert told.status is Status.NO_TASK


def test_a_result_that_is_counted_already_need_not_be_sent_again(job: Job) -> None:
    task = job.ask("a")
    job.report("a", task)
    assert job.offer("a", task.task_id or "") is None, "not durable yet"
    job.commit()
    told = job.offer("a", task.task_id or "")
    assert told is not None
    assert (told.counted, told.duplicate) == (True, True)


# --- versions -----------------------------------------------------------------------------------------------------


def test_nobody_sees_a_version_before_its_commit(job: Job) -> None:
    job.report("a", job.ask("a"))
    job.commit()
    last = job.report("b", job.ask("b"))
    assert isinstance(job.committing, Commit)
    assert job.committing.snapshot.version == 1
    ticket = job.ticket()
    from turnout.job.core.events import TaskAsked
    from turnout.messages import DeviceInfo, TaskRequest

    assert job.happens(TaskAsked(ticket, TaskRequest(DeviceInfo("c"), "job-1"))) == [], "held"
    assert last() is None
    job.commit()
    held = job.answers[ticket]
    assert isinstance(held, TaskResponse)
    assert held.task_data is not None
    assert held.task_data.meta["model_version"] == 1


def test_results_beyond_the_goal_go_to_the_next_version_at_their_new_staleness(job: Job) -> None:
    tasks = {device: job.ask(device) for device in "abc"}
    job.report("a", tasks["a"])
    job.report("b", tasks["b"])
    third = job.report("c", tasks["c"])
    job.commit()
    assert third() is None, "a is durable; a and b close the version"
    job.commit()
    assert job.core.version == 1
    assert job.core.parts.aggregator.count == 1
    assert job.core.tally.staleness == {0: 2, 1: 1}


def test_the_model_of_an_old_version_lives_until_its_last_lease_has_ended_durably(job: Job) -> None:
    slow = job.ask("slow")
    advance(job, versions=1)
    assert not [effect for effect in job.effects if isinstance(effect, Retract)]
    again = job.ask("slow")
    assert again.task_id == slow.task_id
    job.report("slow", slow)
    assert not [effect for effect in job.effects if isinstance(effect, Retract)], "a restart may still need it"
    job.now += 1.0
    job.happens(Tick())
    job.settle()
    assert [effect.blob for effect in job.effects if isinstance(effect, Retract)] == [blob_of(0)]


def test_a_commit_waits_after_the_last_one_but_a_full_buffer_does_not(job: Job) -> None:
    tasks = {device: job.ask(device) for device in "ab"}
    job.report("a", tasks["a"])
    job.commit()
    job.report("b", tasks["b"])
    assert job.committing is not None, "two of two: at once"
    job.commit()
    job.between_s = 0.0
    job.report("c", job.ask("c"))
    assert job.committing is None, "one of two: not at once"
    assert tick(job) == pytest.approx(QUIET_S)
    assert job.committing is not None


@pytest.fixture
def busy() -> Job:
    """A job with places and a goal out of reach, just after its first commit."""
    job = new_job(lambda: Buffered(1000, 1000, 0))
    job.between_s = 0.0
    return job


def test_the_pause_after_a_commit_gathers_results_while_they_come_and_is_over_when_none_does(busy: Job) -> None:
    """The first, of a millisecond, is followed by 5 at most; it began with a result each half of one."""
    began = busy.now
    while busy.committing is None:
        busy.now += QUIET_S / 2
        busy.report(f"{busy.now}", busy.ask(f"{busy.now}"))
    assert busy.now - began == pytest.approx(INTERVAL_MIN_S)
    busy.commit(took_s=0.01)
    busy.report("a", busy.ask("a"))
    assert tick(busy) == pytest.approx(QUIET_MULTIPLE * 0.01), "half of what it took, though it is quiet before"
    busy.commit(took_s=0.01)
    busy.now += 0.02
    busy.report("b", busy.ask("b"))
    assert tick(busy) == pytest.approx(QUIET_S)


def test_after_a_long_commit_the_pause_is_never_cut_short(busy: Job) -> None:
    busy.report("a", busy.ask("a"))
    tick(busy)
    took_s = 2 * QUIET_WRITE_MAX_S
    busy.commit(took_s)
    busy.report("b", busy.ask("b"))
    assert tick(busy) == pytest.approx(INTERVAL_MULTIPLE * took_s)


def tick(job: Job) -> float:
    """Let the next tick come; returns how long that took."""
    due = job.core.next_tick(job.now)
    assert due is not None
    waited, job.now = due - job.now, due
    job.happens(Tick())
    return waited


def test_task_numbers_are_reserved_again_before_the_block_is_used_up(job: Job) -> None:
    reserved = job.core.parts.places.reserved_until
    assert reserved == TASK_BLOCK
    job.keeps_grants = False
    job.core.parts.places.next_task = reserved // 2 + 1
    job.now = 1.0
    job.happens(Tick())
    job.commit()
    assert job.core.parts.places.reserved_until == reserved // 2 + 1 + TASK_BLOCK


def test_no_task_is_given_under_a_number_that_is_not_durably_reserved(job: Job) -> None:
    job.core.parts.places.next_task = job.core.parts.places.reserved_until
    assert job.ask("a").message == "task numbers are being reserved"


def test_a_task_given_out_is_durable_within_a_second_though_no_result_comes(job: Job) -> None:
    job.keeps_grants = False
    job.now = 5.0
    job.ask("a")
    due = job.core.next_tick(job.now)
    assert due == 5.0 + SAVE_GRANTS_S
    assert job.committing is None, "not for each grant"
    job.now = due
    job.happens(Tick())
    assert job.committing is not None
    assert [*job.committing.snapshot.tables[LEASES].came] == [0]


# --- rounds -------------------------------------------------------------------------------------------------------


@covers("hole-17")
def test_a_round_refuses_the_results_that_came_after_it() -> None:
    job = new_job(lambda: Rounds(goal=2, over_selection=1.5, deadline_s=30.0, quorum=1.0, extensions_max=1))
    tasks = {device: job.ask(device) for device in "abc"}
    assert job.ask("d").status is Status.RETRY, "three were asked for two results"
    job.report("a", tasks["a"])
    job.commit()
    job.report("b", tasks["b"])
    job.commit()
    told = job.report("c", tasks["c"])()
    assert told is not None
    assert told.status is Status.NO_TASK
    assert job.core.version == 1


def test_a_device_of_a_closed_round_gets_a_task_of_the_next() -> None:
    job = new_job(lambda: Rounds(goal=1, over_selection=2.0, deadline_s=30.0, quorum=1.0, extensions_max=1))
    slow, fast = job.ask("slow"), job.ask("fast")
    job.report("fast", fast)
    job.commit()
    again = job.ask("slow")
    assert again.task_id != slow.task_id
    assert again.task_data is not None
    assert again.task_data.meta["model_version"] == 1


def test_a_paused_round_says_why() -> None:
    job = new_job(lambda: Rounds(goal=2, over_selection=1.0, deadline_s=30.0, quorum=1.0, extensions_max=0))
    job.now = 30.0
    job.happens(Tick())
    assert "0 of 2 updates" in job.core.warnings.newest[0]
    assert job.ask("a").status is Status.RETRY


# --- evaluation and the rest ------------------------------------------------------------------------------------


def test_only_the_newest_version_waits_for_a_running_evaluation() -> None:
    job = new_job(lambda: buffered(goal=1))
    job.core.parts.evaluation.every = 1
    for device in "abc":
        job.report(device, job.ask(device))
        job.commit()
    started = [effect.version for effect in job.effects if isinstance(effect, Evaluate)]
    assert started == [1]
    effects = job.happens(Evaluated(1, {}))
    assert [effect.version for effect in effects if isinstance(effect, Evaluate)] == [3]


def test_a_weight_cap_that_single_precision_cannot_say_is_kept_exactly() -> None:
    job = new_job(buffered, aggregator=MeanAggregator(2, weight_max=100.3))
    job.core.parts.places.weight_max = 100.3
    answer = job.report("a", job.ask("a"), examples=1e9)
    job.commit()
    told = answer()
    assert told is not None
    assert told.counted
    assert job.core.parts.aggregator.total_weight == 100.3


def test_a_device_that_sends_rubbish_again_and_again_does_not_set_the_lease_time() -> None:
    job = new_job(lambda: buffered(goal=1000))
    task = job.ask("rude")
    job.now = 500.0
    for _ in range(300):
        job.report("rude", task, (float("nan"), 0.0))
    assert len(job.core.parts.places.lease_time.durations()) <= 1
    assert job.core.parts.places.lease_time.lease_s == LEASE_S


def test_a_late_result_that_counts_tells_how_long_it_took() -> None:
    job = new_job(buffered)
    task = job.ask("slow")
    job.now = 500.0
    job.happens(Tick())
    job.report("slow", task)
    assert job.core.parts.places.lease_time.durations() == (2 * LEASE_S,), "500 s, counted as twice the lease"


def test_an_offer_during_the_commit_of_a_version_is_not_judged_by_that_version() -> None:
    job = new_job(lambda: Rounds(goal=1, over_selection=2.0, deadline_s=30.0, quorum=1.0, extensions_max=1))
    slow = job.ask("slow")
    job.report("fast", job.ask("fast"))
    told = job.offer("slow", slow.task_id or "")
    assert told is not None
    assert told.status is Status.OK, "version 1 may not come to be"
    job.commit()
    told = job.offer("slow", slow.task_id or "")
    assert told is not None
    assert told.status is Status.NO_TASK


def test_results_held_beyond_the_bound_in_bytes_are_to_be_sent_again(job: Job) -> None:
    job.core.held.bytes_max = 8
    tasks = {device: job.ask(device) for device in "abcd"}
    job.report("a", tasks["a"])
    job.report("b", tasks["b"])
    held, beyond = job.report("c", tasks["c"]), job.report("d", tasks["d"])
    assert held() is None
    told = beyond()
    assert told is not None
    assert (told.status, told.counted) == (Status.RETRY, False)
    job.settle()
    job.now += 1.0
    job.happens(Tick())
    job.settle()
    told = held()
    assert told is not None
    assert told.counted


# --- results that are the model after training ----------------------------------------------------------------------


def test_of_a_result_that_is_the_model_after_training_what_changed_is_counted() -> None:
    """Versions 0 and 1 are the numbers 0 and 3; a report of 5 from version 0 changes it by 5, from version 1 by 2."""
    bases = Bases(on=True)
    bases.publish(0, np.array([0.0], np.float32), oldest=0)
    bases.publish(1, np.array([3.0], np.float32), oldest=0)
    reported = np.array([5.0], np.float32)
    assert bases.difference(0, reported) == np.array([5.0])
    assert bases.difference(1, reported) == np.array([2.0])


def test_what_a_model_was_is_known_for_as_long_as_results_of_it_are_taken_and_over_a_restart() -> None:
    bases = Bases(on=True)
    for version in range(10):
        bases.publish(version, np.array([float(version)], np.float32), oldest=version - 2)
    again = Bases(on=True)
    again.load(bases.save())
    assert again.save().numbers == {7: 7.0, 8: 8.0, 9: 9.0}
    assert again.difference(6, np.array([1.0], np.float32)) is None


def test_a_job_that_takes_differences_refuses_a_whole_model(job: Job) -> None:
    told = job.report("a", job.ask("a"), absolute=True)()
    assert told is not None
    assert (told.status, told.counted) == (Status.ERROR, False)


# --- what the job's own code says -----------------------------------------------------------------------------------


def report_weighed(job: Job, device: str, examples: float, factor: float) -> ResultResponse:
    """Send a result of (1, 0) that counts ``factor`` times what it would."""
    ticket, task = job.ticket(), job.ask(device)
    update = memoryview(np.array([1.0, 0.0], "<f4").tobytes())
    result = ResultReport(DeviceInfo(device), "job-1", str(task.task_id), "train", update, num_examples=examples)
    job.now += 0.02
    job.happens(Result(ticket, result, factor))
    job.settle()
    answer = job.answers[ticket]
    assert isinstance(answer, ResultResponse)
    return answer


def test_a_result_counts_as_much_more_as_the_jobs_own_code_says_up_to_the_cap_of_its_lease(job: Job) -> None:
    """Weights 3 * 2 = 6 and 4 * 100, capped at 10."""
    assert report_weighed(job, "a", 3.0, 2.0).counted
    assert job.core.parts.aggregator.total_weight == 6.0
    job = new_job(lambda: buffered(goal=2))
    assert report_weighed(job, "b", 4.0, 100.0).counted
    assert job.core.parts.aggregator.total_weight == 10.0


def test_a_result_to_which_the_jobs_own_code_gives_no_weight_is_refused_for_good(job: Job) -> None:
    answer = report_weighed(job, "a", 3.0, 0.0)
    assert (answer.counted, answer.status) == (False, Status.NO_TASK)
    assert "no weight" in str(answer.message)
    assert job.core.tally.refused == {"weighed_nothing": 1}


def ask_with_chance(job: Job, device: str, chance: float) -> TaskResponse:
    ticket = job.ticket()
    job.happens(TaskAsked(ticket, TaskRequest(DeviceInfo(device), "job-1"), chance))
    answer = job.answers[ticket]
    assert isinstance(answer, TaskResponse)
    return answer


def test_a_kind_of_device_is_selected_as_often_as_the_jobs_own_code_says() -> None:
    job = new_job(lambda: buffered(goal=1000, concurrency=1000))
    given = sum(ask_with_chance(job, f"d{number}", 0.25).status is Status.OK for number in range(1000))
    assert 200 < given < 300
    assert ask_with_chance(job, "never", 0.0).message == "others were chosen this time"


def test_who_has_a_task_gets_it_again_whatever_its_chance_is_now(job: Job) -> None:
    assert ask_with_chance(job, "a", 1.0).task_id == ask_with_chance(job, "a", 0.0).task_id
