"""Many devices at once, played by hand: no network, no clock."""

import math

from turnout.device.session import SatOut, SessionPolicy, TrainedUpdate, TrainingFailed
from turnout.fleet.core import Doing, Fleet, SimDevice
from turnout.fleet.spec import FleetSpec
from turnout.messages import (
    EdgeRequest,
    JobRequest,
    JobResponse,
    ModelRef,
    ResultReport,
    ResultResponse,
    Status,
    TaskRequest,
    TaskResponse,
)

UPDATE = TrainedUpdate(memoryview(b"\0\0\x80?"))
TASK = TaskResponse(Status.OK, "j1", "t1", "train", ModelRef("ab" * 32, 4, {}), lease_s=60.0)
JOB = JobResponse(Status.OK, job_id="j1")
COUNTED = ResultResponse(Status.OK, counted=True)


class Played:
    """A fleet whose requests and tasks are kept for the test to answer."""

    def __init__(self, **spec: object) -> None:
        self.sent: list[tuple[SimDevice, EdgeRequest]] = []
        self.training: list[SimDevice] = []
        once = SessionPolicy(counted_max=1 if spec.get("each_once") else None)
        self.fleet = Fleet(
            FleetSpec(**{"devices": 1, "start_s": 0.0, "training_s": 5.0, **spec}),  # type: ignore[arg-type]
            "digits",
            once,
            lambda device, request: self.sent.append((device, request)),
            lambda device, task: self.training.append(device),
            now=0.0,
        )

    def doing(self) -> dict[str, int]:
        return {doing.name: count for doing, count in zip(Doing, self.fleet.doing, strict=True) if count}

    def last(self, kind: type) -> SimDevice:
        """The device whose request, of this kind, was sent last."""
        device, request = self.sent[-1]
        assert isinstance(request, kind)
        return device

    def until_training(self, now: float = 0.0) -> SimDevice:
        """One device gets a job and a task."""
        self.fleet.tick(now)
        self.fleet.answered(self.last(JobRequest), JOB, now)
        device = self.last(TaskRequest)
        self.fleet.answered(device, TASK, now)
        return device


def test_every_device_asks_for_the_job_as_itself() -> None:
    played = Played(devices=3)
    assert played.doing() == {"WAITING": 3}
    played.fleet.tick(0.0)
    assert {request.device.device_id for _, request in played.sent} == {"sim-000000", "sim-000001", "sim-000002"}
    assert played.fleet.requests == {"job": 3, "task": 0, "result": 0}


def test_devices_arrive_one_after_the_other() -> None:
    played = Played(devices=100, start_s=10.0)
    played.fleet.tick(5.0)
    assert [device.index for device, _ in played.sent] == list(range(50))
    played.fleet.tick(10.0)
    assert len(played.sent) == 100


def test_where_two_may_take_part_at_once_the_third_arrives_when_one_has_ended() -> None:
    played = Played(devices=3, at_once=2, each_once=True)
    played.fleet.tick(0.0)
    assert [device.index for device, _ in played.sent] == [0, 1]
    assert played.fleet.next_due == math.inf
    first = played.sent[0][0]
    played.fleet.answered(first, JOB, 0.0)
    played.fleet.answered(first, TASK, 0.0)
    played.fleet.trained(first, UPDATE, 9.0)
    played.fleet.answered(first, COUNTED, 9.5)
    assert played.last(JobRequest).index == 2
    assert played.doing() == {"WAITING": 2, "ENDED": 1}


def test_a_result_is_sent_when_the_simulated_training_ends() -> None:
    played = Played()
    device = played.until_training()
    assert played.doing() == {"TRAINING": 1}
    played.fleet.trained(device, UPDATE, 1.0)
    assert played.doing() == {"TRAINING": 1}
    assert played.fleet.next_due == 5.0
    played.fleet.tick(5.0)
    played.last(ResultReport)
    assert played.doing() == {"WAITING": 1}


def test_a_result_is_not_sent_before_the_real_training_ends() -> None:
    played = Played()
    device = played.until_training()
    played.fleet.tick(6.0)
    played.last(TaskRequest)
    played.fleet.trained(device, UPDATE, 7.0)
    played.last(ResultReport)


def test_after_its_result_a_device_asks_for_the_next_task() -> None:
    played = Played()
    played.fleet.trained(played.until_training(), UPDATE, 9.0)
    played.fleet.answered(played.last(ResultReport), COUNTED, 9.5)
    played.last(TaskRequest)
    assert played.fleet.counters.counted == 1


def test_a_training_that_failed_is_over_at_once_and_its_failure_reported() -> None:
    played = Played()
    played.fleet.trained(played.until_training(), TrainingFailed("no battery"), 1.0)
    assert played.doing() == {"WAITING": 1}
    played.last(ResultReport)
    assert played.fleet.counters.trainings_failed == {"no battery": 1}


def test_each_device_may_end_after_one_counted_result() -> None:
    played = Played(each_once=True)
    played.fleet.trained(played.until_training(), UPDATE, 9.0)
    assert not played.fleet.ended
    played.fleet.answered(played.last(ResultReport), COUNTED, 9.5)
    assert played.fleet.ended
    assert played.doing() == {"ENDED": 1}
    assert played.fleet.next_due == math.inf


def test_a_device_that_drops_its_task_says_nothing_and_comes_back_later() -> None:
    played = Played(dropout=0.999999, recovery_s=10.0)
    played.until_training()
    assert played.doing() == {"LOST": 1}
    assert (played.training, played.fleet.dropped) == ([], 1)
    back_at = played.fleet.next_due
    assert 0 < back_at < math.inf
    sent = len(played.sent)
    played.fleet.tick(back_at)
    assert len(played.sent) == sent + 1
    played.last(TaskRequest)
    assert played.doing() == {"WAITING": 1}


def test_a_device_without_network_reports_when_it_has_it_again() -> None:
    played = Played(availability=0.5, online_s=100.0, seed=next(s for s in range(99) if online_at_first(s)))
    device = played.until_training()
    off_at = device.phase_ends
    played.fleet.trained(device, UPDATE, off_at + 0.01)
    assert played.doing() == {"OFFLINE": 1}
    played.last(TaskRequest)
    on_at = played.fleet.next_due
    assert on_at == device.phase_ends > off_at
    played.fleet.tick(on_at)
    played.last(ResultReport)
    assert played.doing() == {"WAITING": 1}


def online_at_first(seed: int) -> bool:
    return FleetSpec(1, seed=seed, availability=0.5).is_first_online(0)


def test_a_slow_network_delays_each_request() -> None:
    played = Played(delay_s=0.5)
    played.fleet.tick(0.0)
    assert played.sent == []
    assert played.fleet.next_due == 0.5
    played.fleet.tick(0.5)
    played.last(JobRequest)


def test_a_device_without_an_answer_tries_again() -> None:
    played = Played()
    played.fleet.tick(0.0)
    played.fleet.failed(played.last(JobRequest), "timeout", 20.0)
    played.fleet.tick(played.fleet.next_due)
    assert len(played.sent) == 2
    assert played.fleet.counters.unanswered == {"timeout": 1}


def test_a_fleet_knows_since_when_nobody_answers() -> None:
    played = Played()
    played.fleet.tick(0.0)
    device = played.last(JobRequest)
    played.fleet.failed(device, "connect", 1.0)
    played.fleet.tick(10.0)
    played.fleet.failed(device, "connect", 11.0)
    assert played.fleet.silent_since == 1.0
    played.fleet.tick(20.0)
    played.fleet.answered(device, JobResponse(Status.NO_JOB), 21.0)
    assert played.fleet.silent_since is None


def test_a_fleet_knows_since_when_its_job_is_over() -> None:
    played = Played(devices=2)
    device = played.until_training()
    assert (played.fleet.had_job, played.fleet.over_since) == (True, None)
    other = next(one for one, _ in played.sent if one is not device)
    played.fleet.answered(other, JobResponse(Status.NO_JOB, retry_wait=1.0), 3.0)
    assert played.fleet.over_since == 3.0
    played.fleet.trained(device, UPDATE, 9.0)
    played.fleet.answered(device, COUNTED, 9.0)
    assert played.fleet.over_since is None
    played.fleet.answered(device, TaskResponse(Status.DONE), 10.0)
    assert played.fleet.over_since == 10.0
    assert played.doing() == {"WAITING": 1, "ENDED": 1}


def test_a_device_that_fails_again_and_again_has_failed_once() -> None:
    played = Played()
    device = played.until_training()
    for now in (1.0, 101.0):
        played.fleet.trained(device, TrainingFailed("no data"), now)
        played.fleet.answered(played.last(ResultReport), COUNTED, now)
        played.fleet.tick(now + 99.0)  # it pauses after what came to nothing
        played.fleet.answered(played.last(TaskRequest), TASK, now + 99.0)
    assert (played.fleet.devices_failed, played.fleet.trained_tasks) == (1, 0)
    assert played.fleet.counters.trainings_failed == {"no data": 2}
    played.fleet.trained(device, UPDATE, 300.0)
    assert (played.fleet.devices_failed, played.fleet.trained_tasks) == (1, 1)


def test_a_device_has_failed_whose_result_is_refused_for_what_it_is_and_not_for_when_it_came() -> None:
    bad, late = (ResultResponse(status, counted=False, task_id="t1") for status in (Status.ERROR, Status.NO_TASK))
    for refusal, failed in ((bad, 1), (late, 0)):
        played = Played()
        device = played.until_training()
        played.fleet.trained(device, UPDATE, 9.0)
        played.fleet.answered(played.last(ResultReport), refusal, 9.0)
        assert played.fleet.devices_failed == failed


def test_a_device_without_examples_has_not_failed_whatever_it_is_told() -> None:
    played = Played()
    played.fleet.trained(played.until_training(), SatOut(), 1.0)
    played.fleet.answered(played.last(ResultReport), ResultResponse(Status.ERROR, counted=False), 1.0)
    assert (played.fleet.devices_failed, played.fleet.counters.sat_out) == (0, 1)


def test_a_model_that_cannot_be_had_is_no_failure_of_the_device() -> None:
    played = Played()
    played.fleet.trained(played.until_training(), TrainingFailed("no model", again=True), 1.0)
    assert played.fleet.devices_failed == 0
