"""What a device does next, and what every status of every response means to it."""

from collections.abc import Callable
from random import Random

import msgspec
import pytest

from turnout.device.meanings import JOB_MEANING, RESULT_MEANING, TASK_MEANING, Then, meaning
from turnout.device.session import (
    REASONS_MAX,
    Ended,
    SatOut,
    Saved,
    Send,
    Session,
    SessionCounters,
    SessionPolicy,
    Sleep,
    Train,
    TrainedUpdate,
    TrainingFailed,
    refusal,
)
from turnout.messages import (
    DeviceInfo,
    JobRequest,
    JobResponse,
    ModelRef,
    ResultReport,
    ResultResponse,
    Status,
    TaskRequest,
    TaskResponse,
)

DEVICE = DeviceInfo("a3f")
UPDATE = memoryview(b"\0\0\x80?")
POLICY = SessionPolicy(backoff_base_s=1.0, backoff_max_s=8.0, resend_window_s=100.0, retry_wait_spread=0.0)


class Always(Random):
    """Draws the upper end of every range, so that waits can be checked by hand."""

    def uniform(self, a: float, b: float) -> float:
        return b


def job(status: Status = Status.OK, **fields: object) -> JobResponse:
    return JobResponse(status, job_id="j1" if status is Status.OK else None, **fields)  # type: ignore[arg-type]


def task(status: Status = Status.OK, number: int = 1, **fields: object) -> TaskResponse:
    if status is not Status.OK:
        return TaskResponse(status, **fields)  # type: ignore[arg-type]
    model = ModelRef("ab" * 32, 4, {"model_version": 3})
    cookie = {"device_selection_id": number}
    return TaskResponse(status, "j1", f"t{number}", "train", model, cookie, lease_s=10.0, retry_wait=0.0)


def result(status: Status = Status.OK, counted: bool = False, **fields: object) -> ResultResponse:
    return ResultResponse(status, counted, **fields)  # type: ignore[arg-type]


def session(policy: SessionPolicy = POLICY) -> Session:
    return Session(DEVICE, "digits", Always(), policy)


def with_job(policy: SessionPolicy = POLICY) -> Session:
    """A session that has a job at time 0."""
    device = session(policy)
    device.next(0.0)
    device.received(job(), 0.0)
    return device


def with_task(policy: SessionPolicy = POLICY) -> Session:
    device = with_job(policy)
    device.next(0.0)
    device.received(task(), 0.0)
    return device


def with_result_sent(policy: SessionPolicy = POLICY) -> Session:
    """A session whose result was sent at time 5 and is not answered."""
    device = with_task(policy)
    device.next(0.0)
    device.trained(TrainedUpdate(UPDATE), 5.0)
    device.next(5.0)
    return device


def request(device: Session, now: float) -> object:
    action = device.next(now)
    assert isinstance(action, Send), action
    return action.request


# --- the walk -----------------------------------------------------------------------------------------------------


def test_a_device_gets_a_job_then_a_task_then_trains_then_reports_and_asks_again() -> None:
    device = session()
    assert request(device, 0.0) == JobRequest(DEVICE, "digits")
    device.received(job(), 1.0)
    assert request(device, 1.0) == TaskRequest(DEVICE, "j1", None, ("safetensors",))
    device.received(task(), 2.0)
    assert device.next(2.0) == Train(task())
    device.trained(TrainedUpdate(UPDATE, 20.0, {"loss": 0.5}), 3.0)
    cookie = {"device_selection_id": 1}
    assert request(device, 3.0) == ResultReport(DEVICE, "j1", "t1", "train", UPDATE, 20.0, {"loss": 0.5}, cookie=cookie)
    device.received(result(counted=True, task_id="t1"), 4.0)
    assert request(device, 4.0) == TaskRequest(DEVICE, "j1", cookie, ("safetensors",))
    assert (device.counters.tasks, device.counters.counted) == (1, 1)


def test_a_cookie_is_kept_until_another_comes() -> None:
    device = with_result_sent()
    device.received(result(counted=True), 5.0)
    device.next(5.0)
    device.received(task(Status.RETRY, retry_wait=1.0), 5.0)
    again = request(device, 6.0)
    assert isinstance(again, TaskRequest)
    assert again.cookie == {"device_selection_id": 1}


def test_nothing_else_is_asked_before_the_last_request_came_to_an_end() -> None:
    device = session()
    device.next(0.0)
    with pytest.raises(AssertionError):
        device.next(0.0)


# --- what every status means --------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", [JOB_MEANING, TASK_MEANING, RESULT_MEANING])
def test_every_status_has_a_meaning(table: dict[Status, Then]) -> None:
    assert set(table) == set(Status)


@pytest.mark.parametrize(
    ("status", "then"),
    [
        (Status.OK, TaskRequest),
        (Status.RETRY, Sleep(2.0)),
        (Status.NO_JOB, Sleep(2.0)),
        (Status.NO_TASK, Sleep(2.0)),
        (Status.ERROR, Sleep(2.0)),
        (Status.DONE, Ended("the job is done")),
        (Status.INVALID_REQUEST, Ended("not understood by the server: why")),
    ],
)
def test_what_each_status_of_a_job_response_means(status: Status, then: object) -> None:
    device = session()
    device.next(1.0)
    device.received(job(status, message="why"), 1.0)
    after(device, then, JobRequest)


@pytest.mark.parametrize(
    ("status", "then", "later"),
    [
        (Status.OK, Train(task()), None),
        (Status.RETRY, Sleep(2.0), TaskRequest),
        (Status.NO_TASK, Sleep(2.0), TaskRequest),
        (Status.ERROR, Sleep(2.0), TaskRequest),
        (Status.NO_JOB, Sleep(2.0), JobRequest),
        (Status.DONE, Ended("the job is done"), None),
        (Status.INVALID_REQUEST, Ended("not understood by the server: why"), None),
    ],
)
def test_what_each_status_of_a_task_response_means(status: Status, then: object, later: type | None) -> None:
    device = with_job()
    device.next(1.0)
    device.received(task(status, message="why"), 1.0)
    after(device, then, later)


@pytest.mark.parametrize(
    ("status", "then", "later"),
    [
        (Status.OK, TaskRequest, None),
        (Status.RETRY, TaskRequest, None),
        (Status.NO_TASK, TaskRequest, None),
        (Status.ERROR, TaskRequest, None),
        (Status.INVALID_REQUEST, TaskRequest, None),
        (Status.NO_JOB, Sleep(2.0), JobRequest),
        (Status.DONE, Ended("the job is done"), None),
    ],
)
def test_what_each_status_of_a_counted_result_means(status: Status, then: object, later: type | None) -> None:
    device = with_result_sent()
    device.received(result(status, counted=True), 1.0)
    assert device.counters.counted == 1
    assert device.unacknowledged is None
    after(device, then, later)


@pytest.mark.parametrize(
    ("status", "then", "later"),
    [
        (Status.OK, Sleep(2.0), TaskRequest),
        (Status.NO_TASK, Sleep(2.0), TaskRequest),
        (Status.ERROR, Sleep(2.0), TaskRequest),
        (Status.INVALID_REQUEST, Sleep(2.0), TaskRequest),
        (Status.NO_JOB, Sleep(2.0), JobRequest),
        (Status.DONE, Ended("the job is done"), None),
    ],
)
def test_what_each_status_of_a_refused_result_means(status: Status, then: object, later: type | None) -> None:
    device = with_result_sent()
    device.received(result(status, message="too late"), 1.0)
    assert device.counters.refused == {f"{status}: too late": 1}
    assert device.unacknowledged is None
    after(device, then, later)


@pytest.mark.parametrize("answer", [result(Status.RETRY, retry_wait=7.0), result(Status.OK, retry_wait=7.0)])
def test_a_result_that_shall_be_sent_again_is_kept_and_sent_again(answer: ResultResponse) -> None:
    device = with_result_sent()
    kept = device.unacknowledged
    device.received(answer, 5.0)
    assert device.next(11.9) == Sleep(12.0)
    assert request(device, 12.0) is kept


def test_an_ok_that_lacks_what_it_promises_is_asked_for_again() -> None:
    assert meaning(JobResponse(Status.OK)) is Then.AGAIN
    assert meaning(TaskResponse(Status.OK, task_id="t1")) is Then.AGAIN


def after(device: Session, then: object, later: type | None) -> None:
    """At time 1 the session does ``then``; when that is to sleep, it does ``later`` afterwards."""
    action = device.next(1.0)
    if isinstance(then, type):
        assert isinstance(action, Send)
        assert isinstance(action.request, then)
        return
    assert action == then
    if isinstance(then, Sleep):
        assert later is not None
        assert isinstance(request(device, then.until), later)


# --- waiting ------------------------------------------------------------------------------------------------------


def test_the_wait_that_a_server_names_is_kept_to() -> None:
    device = with_job()
    device.next(0.0)
    device.received(task(Status.RETRY, retry_wait=30.0), 0.0)
    assert device.next(29.0) == Sleep(30.0)
    assert isinstance(request(device, 30.0), TaskRequest)


def test_devices_that_are_told_the_same_wait_come_one_after_the_other_and_none_too_early() -> None:
    waits = []
    for seed in range(200):
        device = Session(DEVICE, "digits", Random(seed), SessionPolicy(retry_wait_spread=0.2))
        device.next(0.0)
        device.received(job(Status.RETRY, retry_wait=30.0), 0.0)
        action = device.next(0.0)
        waits.append(action.until if isinstance(action, Sleep) else 0.0)
    assert 30.0 <= min(waits) < 30.5
    assert 35.5 < max(waits) <= 36.0


def test_a_wait_beyond_all_reason_is_cut() -> None:
    device = with_job()
    device.next(0.0)
    device.received(task(Status.RETRY, retry_wait=1e12), 0.0)
    assert device.next(0.0) == Sleep(86_400.0)


def test_without_an_answer_the_bound_of_the_wait_doubles_up_to_its_maximum() -> None:
    device = session()
    now = 0.0
    waits = []
    for _ in range(6):
        device.next(now)
        device.failed("connect", now)
        action = device.next(now)
        assert isinstance(action, Sleep)
        waits.append(action.until - now)
        now = action.until
    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert device.counters.unanswered == {"connect": 6}


def test_waits_without_an_answer_are_spread_over_all_of_the_range() -> None:
    waits = []
    for seed in range(200):
        device = Session(DEVICE, "digits", Random(seed), POLICY)
        device.next(0.0)
        device.failed("connect", 0.0)
        action = device.next(0.0)
        waits.append(action.until if isinstance(action, Sleep) else 0.0)
    assert min(waits) < 0.1
    assert max(waits) > 0.9
    assert 0.4 < sum(waits) / 200 < 0.6


def test_an_answer_starts_the_backoff_anew() -> None:
    device = session()
    for now in (0.0, 10.0):
        device.next(now)
        device.failed("connect", now)
    device.next(20.0)
    device.received(job(), 20.0)
    device.next(20.0)
    device.failed("connect", 20.0)
    assert device.next(20.0) == Sleep(21.0)


def test_retry_after_of_a_busy_server_is_honoured() -> None:
    device = session()
    device.next(0.0)
    device.failed("429", 0.0, retry_wait=33.0)
    assert device.next(0.0) == Sleep(34.0)


def test_a_server_that_stays_busy_is_asked_more_and_more_seldom_whatever_its_retry_after() -> None:
    device = session()
    now, waits = 0.0, []
    for _ in range(4):
        device.next(now)
        device.failed("503", now, retry_wait=5.0)
        action = device.next(now)
        assert isinstance(action, Sleep)
        waits.append(action.until - now)
        now = action.until
    assert waits == [5.0 + 1.0, 5.0 + 2.0, 5.0 + 4.0, 5.0 + 8.0]


# --- an unacknowledged result -------------------------------------------------------------------------------------


def test_an_unanswered_result_is_sent_again_until_it_is_answered() -> None:
    device = with_result_sent()
    kept = device.unacknowledged
    device.failed("timeout", 6.0)
    assert device.next(6.0) == Sleep(7.0)
    assert request(device, 7.0) is kept
    device.received(result(counted=True, duplicate=True), 8.0)
    assert (device.counters.counted, device.counters.duplicates) == (1, 1)
    assert device.unacknowledged is None


def test_a_result_is_given_up_when_lease_and_resend_window_have_passed() -> None:
    device = with_result_sent()  # lease until 10, window 100
    device.failed("timeout", 109.0)
    assert isinstance(request(device, 110.0), ResultReport)
    device.failed("timeout", 110.0)
    assert device.next(112.0) == Sleep(113.0)  # a pause, as after any task that came to nothing
    assert device.counters.given_up == 1
    assert isinstance(request(device, 113.0), TaskRequest)


@pytest.mark.parametrize("wait", [95.0, 3600.0])
def test_a_result_is_sent_once_more_at_the_end_of_its_time_before_it_is_given_up(wait: float) -> None:
    device = with_result_sent()  # until 110
    device.received(result(Status.RETRY, retry_wait=wait), 20.0)
    assert device.next(20.0) == Sleep(110.0)
    assert isinstance(request(device, 110.0), ResultReport)
    device.received(result(Status.RETRY, retry_wait=wait), 110.0)
    assert isinstance(device.next(110.0), Sleep)
    assert device.counters.given_up == 1


def test_a_result_that_took_longer_than_its_lease_is_sent_all_the_same() -> None:
    device = with_task()
    device.next(0.0)
    device.trained(TrainedUpdate(UPDATE), 1000.0)
    assert isinstance(request(device, 1000.0), ResultReport)
    device.failed("timeout", 1000.0)
    assert isinstance(request(device, 1001.0), ResultReport)


def test_the_answer_to_another_task_s_result_changes_nothing() -> None:
    device = with_result_sent()
    device.received(result(counted=True, task_id="t0"), 6.0)
    assert device.counters.counted == 0
    device.received(result(counted=True, task_id="t1"), 6.0)
    assert device.counters.counted == 1


def test_an_answer_that_comes_twice_changes_nothing_the_second_time() -> None:
    device = with_result_sent()
    for _ in range(2):
        device.received(result(counted=True, task_id="t1"), 6.0)
    assert device.counters.counted == 1


def test_a_result_survives_a_restart_of_the_app_and_its_time_goes_on() -> None:
    before = with_result_sent()  # until 110
    before.failed("connect", 20.0)
    saved = before.saved(20.0)
    assert saved is not None
    assert saved.left_s == 90.0
    after_restart = session()
    after_restart.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(saved), type=Saved), 1000.0)
    report = request(after_restart, 1000.0)
    assert isinstance(report, ResultReport)
    assert (report.task_id, bytes(report.update)) == ("t1", bytes(UPDATE))
    after_restart.failed("connect", 1000.0)
    assert isinstance(request(after_restart, 1060.0), ResultReport)
    after_restart.received(result(counted=True, duplicate=True), 1060.0)
    assert after_restart.counters.counted == 1
    assert isinstance(request(after_restart, 1060.0), TaskRequest)
    assert after_restart.saved(1060.0) is None


def test_a_restored_result_is_given_up_when_the_rest_of_its_time_has_passed() -> None:
    saved = with_result_sent().saved(20.0)
    assert saved is not None
    device = session()
    device.restore(saved, 5.0)
    assert isinstance(request(device, 95.0), ResultReport)
    device.failed("connect", 95.0)
    assert isinstance(device.next(95.1), Sleep)
    assert device.counters.given_up == 1


# --- failure, stop, resume ----------------------------------------------------------------------------------------


def test_a_training_that_failed_is_reported_without_an_update_and_the_pause_grows() -> None:
    device = with_task()
    now = 0.0
    for pause in (1.0, 2.0, 4.0):
        device.next(now)
        device.trained(TrainingFailed("out of memory"), now)
        report = request(device, now)
        assert isinstance(report, ResultReport)
        assert (report.task_id, report.status, bytes(report.update)) == ("t1", "ERROR", b"")
        device.received(result(Status.ERROR, message="the device reports 'ERROR'"), now)
        assert device.next(now) == Sleep(now + pause)
        now += pause
        assert isinstance(request(device, now), TaskRequest)
        device.received(task(), now)
    assert device.counters.trainings_failed == {"out of memory": 3}
    assert device.counters.refused == {}


def test_a_measurement_is_reported_and_sent_again_as_an_update_is() -> None:
    device = with_task()
    device.next(0.0)
    device.trained(TrainedUpdate(memoryview(b""), 7.0, {"loss": 0.5}, measured=True), 9.0)
    sent = request(device, 9.0)
    assert isinstance(sent, ResultReport)
    assert (sent.status, sent.num_examples, sent.metrics, len(sent.update)) == ("VALIDATED", 7.0, {"loss": 0.5}, 0)
    device.failed("timeout", 9.0)
    assert isinstance(request(device, 13.0), ResultReport), "though its lease has ended"


def test_a_failure_is_reported_until_the_lease_has_ended_and_its_loss_is_no_lost_result() -> None:
    device = with_task()
    device.next(0.0)
    device.trained(TrainingFailed("out of memory"), 9.0)
    device.next(9.0)
    device.failed("timeout", 9.0)
    assert isinstance(request(device, 10.0), ResultReport)
    device.failed("timeout", 10.0)
    assert device.next(11.0) == Sleep(12.0)
    assert isinstance(request(device, 12.0), TaskRequest)
    assert device.counters.given_up == 0


def test_a_training_that_may_do_better_is_not_reported_and_the_task_asked_for_again() -> None:
    device = with_task()
    device.next(0.0)
    device.trained(TrainingFailed("no model", again=True), 0.0)
    assert device.next(0.0) == Sleep(1.0)
    assert isinstance(request(device, 1.0), TaskRequest)


def test_a_device_without_examples_gives_its_place_back_and_sits_out() -> None:
    device = with_task()
    device.next(0.0)
    device.trained(SatOut(), 3.0)
    report = request(device, 3.0)
    assert isinstance(report, ResultReport)
    assert (report.task_id, report.status, bytes(report.update)) == ("t1", "NO_EXAMPLES", b"")
    device.received(result(Status.NO_TASK, message="the device has no examples; its place is free"), 3.0)
    assert device.next(3.0) == Ended("the device has no examples")
    assert device.counters.sat_out == 1
    assert not device.counters.trainings_failed
    device.resume(4.0)  # it may have some by now
    assert isinstance(request(device, 4.0), JobRequest)


def test_a_device_may_end_after_its_counted_results() -> None:
    device = with_result_sent(SessionPolicy(counted_max=1))
    device.received(result(counted=True), 6.0)
    assert device.next(6.0) == Ended("enough results counted")


def test_a_device_that_stays_looks_for_a_job_again_when_one_is_done() -> None:
    device = with_job(SessionPolicy(stay=True, stay_wait_s=50.0, retry_wait_spread=0.2))
    device.next(1.0)
    device.received(task(Status.DONE), 1.0)
    assert device.next(1.0) == Sleep(61.0)
    assert isinstance(request(device, 61.0), JobRequest)


def test_a_stopped_device_takes_no_more_tasks() -> None:
    device = with_job()
    device.stop()
    assert device.next(1.0) == Ended("stopped")
    device.resume(2.0)
    assert isinstance(request(device, 2.0), TaskRequest)


def test_a_stopped_device_still_reports_what_it_trained() -> None:
    device = with_task()
    device.next(0.0)
    device.stop()
    device.trained(TrainedUpdate(UPDATE), 1.0)
    assert isinstance(request(device, 1.0), ResultReport)
    device.received(result(counted=True), 1.0)
    assert device.next(1.0) == Ended("stopped")


def test_an_ended_device_may_begin_again() -> None:
    device = with_job()
    device.next(1.0)
    device.received(task(Status.DONE), 1.0)
    device.resume(5.0)
    assert isinstance(request(device, 5.0), JobRequest)


@pytest.mark.parametrize("begin", [with_task, with_result_sent])
def test_an_abandoned_task_is_forgotten_and_the_device_comes_back_later(begin: Callable[[], Session]) -> None:
    device = begin()
    device.abandon(70.0)
    assert device.next(6.0) == Sleep(70.0)
    assert isinstance(request(device, 70.0), TaskRequest)


def test_reasons_differ_by_their_words_not_by_their_numbers() -> None:
    counters = SessionCounters()
    for version in (3, 4):
        device = Session(DEVICE, "digits", Always(), POLICY, counters)
        device.next(0.0)
        device.received(job(), 0.0)
        device.next(0.0)
        device.received(task(), 0.0)
        device.next(0.0)
        device.trained(TrainedUpdate(UPDATE), 0.0)
        device.next(0.0)
        device.received(result(Status.NO_TASK, message=f"trained from model version {version}, now it is 9.5"), 0.0)
    assert counters.refused == {"NO_TASK: trained from model version #, now it is #": 2}


def test_only_so_many_reasons_are_told_apart() -> None:
    device = session()
    for number in range(REASONS_MAX + 5):
        device.next(1e6 * number)
        device.failed(f"reason {'x' * number}", 1e6 * number)
    assert len(device.counters.unanswered) == REASONS_MAX + 1
    assert device.counters.unanswered["other"] == 5


def test_refusals_are_counted_together_by_their_numbers_but_never_by_those_in_a_name() -> None:
    late = ResultResponse(Status.NO_TASK, False, message="job my-job-cf0b: 12.5 is 3 versions behind, and 1e+09 v2")
    assert refusal(late) == "NO_TASK: job my-job-cf0b: # is # versions behind, and # v2"
