"""The dispatcher beyond the statements: room for results, the ends of connections, odd requests."""

import msgspec
import pytest

from tests.unit.dispatcher.wires import DEVICE, SCHEMA, World, result_report, task_request
from turnout.dispatcher import service
from turnout.dispatcher.pending import DispatcherLimits
from turnout.errors import ServerError
from turnout.messages import (
    DeviceInfo,
    JobCompleted,
    JobLaunched,
    JobRequest,
    JobResponse,
    RefusedResult,
    RefusedResults,
    ResultResponse,
    RunningJob,
    Status,
    TableSnapshot,
    TaskRequest,
    TaskResponse,
    Topic,
)

EDGE = {"edge_method": "cnn"}


# --- refused results ------------------------------------------------------------------------------------------------


def refused(job_id: str = "job-1") -> RefusedResult:
    return RefusedResult(DeviceInfo("d1"), job_id, "t1", "shape", "no")


def test_a_job_is_told_of_refused_results_at_once_and_once() -> None:
    world = World()
    world.launch()
    world.dispatcher.refused(refused())
    ((job_id, _, topic, payload),) = world.wires.sent
    assert (job_id, topic) == ("job-1", Topic.REFUSED)
    assert msgspec.msgpack.decode(payload, type=RefusedResults).items == (refused(),)
    world.wires.inbox.replied(world.wires.sent[0][1], b"")
    world.tick(0.1)
    assert len(world.wires.sent) == 1


def test_a_job_that_is_down_is_told_when_it_is_up_again() -> None:
    world = World()
    world.launch(connect=False)
    world.dispatcher.refused(refused())
    world.tick(0.05)
    assert world.wires.sent == []
    world.wires.connect("job-1")
    world.tick(0.1)
    assert [topic for _, _, topic, _ in world.wires.sent] == [Topic.REFUSED]


def test_nothing_is_kept_for_a_job_that_does_not_run() -> None:
    world = World()
    world.dispatcher.refused(refused("gone"))
    world.launch("gone")
    world.tick(0.05)
    assert world.wires.sent == []


# --- room for results -----------------------------------------------------------------------------------------------


def world_with_room(results_bytes_max: int) -> World:
    world = World(DispatcherLimits(results_bytes_max=results_bytes_max))
    world.launch()
    return world


def test_room_is_taken_until_it_is_released() -> None:
    dispatcher = world_with_room(200).dispatcher

    assert dispatcher.room.reserve("job-1", 60, pytest.fail)
    assert dispatcher.room.reserve("job-1", 40, pytest.fail)
    resumed: list[str] = []
    assert not dispatcher.room.reserve("job-1", 1, lambda: resumed.append("third"))
    assert resumed == []

    dispatcher.room.release("job-1", 40)
    assert resumed == ["third"]


def test_a_job_whose_results_hang_does_not_hold_up_those_of_another() -> None:
    world = world_with_room(2000)
    world.launch("job-2")
    while not world.submit(result_report("job-1", bytes(100))):
        pass
    assert not world.dispatcher.room.reserve("job-1", 100, lambda: None)

    assert world.dispatcher.room.reserve("job-2", 100, pytest.fail)
    answers = world.submit(result_report("job-2", bytes(100)))
    world.wires.reply(ResultResponse(Status.OK, True))

    assert [response.status for response in answers] == [Status.OK]


@pytest.mark.parametrize("end", ["reply", "failure", "timeout", "loss"])
def test_a_result_in_flight_takes_room_until_it_is_answered(end: str) -> None:
    world = world_with_room(2000)
    resumed: list[str] = []
    world.submit(result_report(update=bytes(800)))
    assert not world.dispatcher.room.reserve("job-1", 300, lambda: resumed.append("go on"))

    if end == "reply":
        world.wires.reply(ResultResponse(Status.OK, True))
    elif end == "failure":
        world.wires.inbox.failed(world.wires.sent[0][1], "broken")
    elif end == "timeout":
        world.tick(8.0)
    else:
        world.wires.lose("job-1")

    assert resumed == ["go on"]


def test_a_result_with_room_goes_whatever_has_been_taken_meanwhile() -> None:
    world = world_with_room(2000)
    world.launch("job-2")
    assert world.dispatcher.room.reserve("job-1", 1000, pytest.fail)
    assert world.dispatcher.room.reserve("job-2", 500, pytest.fail)

    answers = world.answers.expect()
    world.dispatcher.submit(result_report(update=bytes(900)), answers, has_room=True)
    world.dispatcher.room.release("job-1", 1000)

    assert world.answers.all == [[]]


def test_a_result_beyond_the_bound_is_a_retry_that_says_so() -> None:
    world = world_with_room(2000)
    world.submit(result_report(update=bytes(800)))

    response = world.answer_now(result_report(update=bytes(240)))

    assert response.status == Status.RETRY
    assert not response.counted
    assert service.RETRY_BUSY_S <= response.retry_wait <= 2 * service.RETRY_BUSY_S


def test_a_result_takes_room_with_all_that_comes_with_its_update() -> None:
    world = world_with_room(2000)
    cookie = {"text": "x" * 900}
    world.submit(msgspec.structs.replace(result_report(), cookie=cookie))

    assert not world.dispatcher.room.reserve("job-1", 100, lambda: None)


# --- odd requests ---------------------------------------------------------------------------------------------------


def test_a_cookie_with_a_number_that_does_not_travel_is_invalid() -> None:
    world = World()
    world.launch()

    response = world.answer_now(TaskRequest(DEVICE, "job-1", {"model_version": 2**80}))

    assert response.status == Status.INVALID_REQUEST
    assert "cannot be passed on" in response.message


def test_a_refused_result_names_its_task() -> None:
    world = World()

    response = world.answer_now(result_report())

    assert (response.task_id, response.task_name) == ("lease-1", "train")


def test_a_request_that_the_job_does_not_take_is_answered_once_and_forgotten() -> None:
    world = World(DispatcherLimits(inflight_max=1))
    world.launch()
    world.wires.full = True
    answers = world.submit(task_request())
    world.wires.full = False

    assert world.submit(task_request()) == [], "the first takes no place in flight"
    world.tick(5.0)
    assert [response.status for response in answers] == [Status.RETRY]


def test_a_late_or_unknown_reply_changes_nothing() -> None:
    world = World()
    world.launch()
    answers = world.submit(task_request())
    world.tick(5.0)

    world.wires.reply(TaskResponse(Status.OK))
    world.wires.inbox.failed(world.wires.sent[0][1], "late")
    world.wires.inbox.replied(987654, b"")

    assert [response.status for response in answers] == [Status.RETRY]


def test_waits_are_spread_so_that_devices_do_not_return_all_at_once() -> None:
    world = World()
    world.launch(connect=False)

    waits = {world.answer_now(task_request()).retry_wait for _ in range(100)}

    assert len(waits) > 90
    assert all(service.RETRY_DOWN_S <= wait <= 2 * service.RETRY_DOWN_S + 0.2 for wait in waits)


def test_the_more_devices_are_told_to_wait_the_longer_they_wait() -> None:
    world = World(DispatcherLimits(returns_per_s=10.0, return_max_s=60.0))
    world.launch(connect=False)

    waits = [world.answer_now(task_request()).retry_wait for _ in range(1000)]

    assert 50.0 < waits[499] - waits[0] < 60.0 * 1.2
    assert max(waits) < 2 * service.RETRY_DOWN_S + 60.0 * 1.2
    assert world.answer_now(result_report()).retry_wait < 2 * service.RETRY_DOWN_S + 0.2


def test_an_answer_may_submit_the_next_request() -> None:
    world = World()
    world.launch()
    answers = []

    def next_one(response: object) -> None:
        answers.append(response)
        if len(answers) < 3:
            world.dispatcher.submit(task_request(), next_one)

    world.dispatcher.submit(task_request(), next_one)
    world.wires.reply(TaskResponse(Status.DONE))
    world.wires.lose("job-1")

    assert len(answers) == 3


# --- life cycle and connections -------------------------------------------------------------------------------------


def test_a_snapshot_opens_what_is_new_and_closes_what_is_gone() -> None:
    world = World()
    world.launch("old")
    world.launch("kept")

    world.dispatcher.apply(
        TableSnapshot(tuple(RunningJob(job_id, "mnist", EDGE, address=f"/run/{job_id}") for job_id in ("kept", "new")))
    )

    assert set(world.wires.opened) == {"kept", "new"}


def test_a_job_without_address_is_opened_once_it_has_one() -> None:
    world = World()
    world.launch(address="", connect=False)
    assert world.wires.opened == {}

    world.launch(address="/run/1")

    assert world.wires.opened["job-1"].address == "/run/1"


def test_an_ended_job_is_let_go_when_its_last_request_has_timed_out() -> None:
    world = World()
    world.launch()
    answers = world.submit(task_request())

    world.dispatcher.apply(JobCompleted("job-1"))
    world.tick(4.0)
    assert set(world.wires.opened) == {"job-1"}
    world.tick(5.0)

    assert world.wires.opened == {}
    assert [response.status for response in answers] == [Status.RETRY]


def test_a_job_launched_again_before_it_was_let_go_keeps_its_connection() -> None:
    world = World()
    world.launch()
    world.submit(task_request())
    world.dispatcher.apply(JobCompleted("job-1"))

    world.launch(connect=False)
    world.tick(100.0)

    assert set(world.wires.opened) == {"job-1"}
    assert world.dispatcher.schema("job-1") == SCHEMA
    assert world.submit(task_request()) == []


def test_the_schema_is_known_from_the_first_connection_to_the_end_of_the_job() -> None:
    world = World()
    world.launch(connect=False)
    assert world.dispatcher.schema("job-1") is None

    world.wires.connect("job-1")
    world.wires.lose("job-1")
    assert world.dispatcher.schema("job-1") == SCHEMA

    world.dispatcher.apply(JobCompleted("job-1"))
    assert world.dispatcher.schema("job-1") is None


def test_an_address_that_is_none_is_logged_and_harms_no_other_job(caplog: pytest.LogCaptureFixture) -> None:
    world = World()

    def refuse(job: RunningJob) -> None:
        raise ServerError(f'socket path "{job.address}" is too long')

    world.wires.open = refuse  # type: ignore[method-assign]
    world.launch(address="/" + "x" * 200, connect=False)

    assert 'job "job-1" cannot be reached: socket path' in caplog.text
    assert world.answer_now(task_request()).status == Status.RETRY


def test_a_job_launched_again_is_offered_as_it_is_then() -> None:
    world = World()
    offers = []
    for config in ({"epochs": 1}, {"epochs": 2}):
        world.launch(device_config=config)
        offers += [world.answer_now(JobRequest(DEVICE, "mnist")) for _ in range(2)]
    assert [offer.job_data for offer in offers] == [{"config": {"epochs": n}} for n in (1, 1, 2, 2)]


def test_each_platform_is_offered_its_own_config_and_all_others_the_general_one() -> None:
    world = World()
    world.launch(device_config="all", device_configs={"android": "its own"})

    def offered(platform: str) -> JobResponse:
        answer = world.answer_now(JobRequest(DeviceInfo("d", platform=platform), "mnist"))
        assert isinstance(answer, JobResponse)
        return answer

    told = [offered(platform).job_data for platform in ("Android", "ios", "")]
    assert told == [{"config": "its own"}, {"config": "all"}, {"config": "all"}]
    assert offered("android") is offered("ANDROID"), "made once"
    assert offered("ios") is offered("any other")


def test_launching_by_event_and_by_snapshot_is_the_same() -> None:
    job = RunningJob("job-1", "mnist", EDGE, address="/run/1")
    by_event, by_snapshot = World(), World()

    by_event.dispatcher.apply(JobLaunched(job))
    by_snapshot.dispatcher.apply(TableSnapshot((job,)))

    assert by_event.wires.opened == by_snapshot.wires.opened == {"job-1": job}
