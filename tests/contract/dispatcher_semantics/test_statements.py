"""What an edge task dispatcher must do, statement by statement of facts/dispatcher-semantics.md.

Each test names its statement. Where we deviate, as the page allows, the docstring says how. Statements 11 and 15 speak
of FLARE's own context keys and channels.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.contract.flare.quirks import covers
from tests.unit.dispatcher.wires import DEVICE, World, result_report, task_request
from turnout.dispatcher.pending import DispatcherLimits
from turnout.messages import (
    DeviceInfo,
    Eligibility,
    FleetRange,
    JobCancelled,
    JobCompleted,
    JobFailed,
    JobLaunched,
    JobRequest,
    ResultOffer,
    ResultResponse,
    RunningJob,
    SelectionRequest,
    SelectionResponse,
    Status,
    TaskRequest,
    TaskResponse,
    Topic,
    UserInfo,
)

FORWARDED = [
    pytest.param(task_request, TaskResponse, id="task"),
    pytest.param(lambda job_id="job-1": SelectionRequest(DEVICE, job_id), SelectionResponse, id="selection"),
    pytest.param(result_report, ResultResponse, id="result"),
    pytest.param(lambda job_id="job-1": ResultOffer(DEVICE, job_id, "lease-1"), ResultResponse, id="offer"),
]


def job_request(name: str = "mnist", **fields: Any) -> JobRequest:
    return JobRequest(DEVICE, name, **fields)


@pytest.fixture
def world() -> World:
    return World()


# --- job registry ---------------------------------------------------------------------------------------------------


@covers("job/name")
@pytest.mark.parametrize("meta", [{"other": 1}, {"edge_method": ""}, {"edge_method": None}])
def test_a_job_without_edge_method_is_not_offered(world: World, meta: dict[str, Any]) -> None:
    """1."""
    world.launch(meta=meta, connect=False)

    assert world.answer_now(job_request()).status == Status.NO_JOB
    assert world.answer_now(task_request()).status == Status.NO_JOB


@covers("job/name")
@pytest.mark.parametrize(("name", "status"), [("Mnist", "OK"), ("mnist", "NO_JOB"), ("Mnist ", "NO_JOB")])
def test_a_job_is_offered_under_its_exact_name(world: World, name: str, status: str) -> None:
    """2."""
    world.launch(name="Mnist")

    assert world.answer_now(job_request(name)).status == status


def test_a_job_launched_twice_is_registered_once(world: World) -> None:
    """3. With us the second launch may bring what the first could not know, as the address of its process."""
    world.launch("job-1")
    world.launch("job-1")
    world.dispatcher.apply(JobCompleted("job-1"))

    assert world.answer_now(job_request()).status == Status.NO_JOB
    assert world.answer_now(task_request()).status == Status.NO_JOB


@covers("job/name")
def test_each_job_request_draws_one_of_the_namesakes_uniformly_whatever_the_device(world: World) -> None:
    """4."""
    world.launch("job-1")
    world.launch("job-2")

    drawn = Counter(world.answer_now(job_request()).job_id for _ in range(1000))

    assert set(drawn) == {"job-1", "job-2"}
    assert 400 < drawn["job-1"] < 600


@pytest.mark.parametrize("config", [{"components": [{"name": "trainer"}]}, None])
def test_a_job_is_offered_with_its_id_name_and_device_config(world: World, config: Any) -> None:
    """5."""
    world.launch(device_config=config)

    response = world.answer_now(job_request())

    assert response.status == Status.OK
    assert (response.job_id, response.job_name) == ("job-1", "mnist")
    assert response.job_data == {"config": config}


@covers("job/end")
@pytest.mark.parametrize("end", [JobCompleted, JobCancelled, JobFailed])
def test_an_ended_job_is_gone_for_name_and_id_and_others_stay(world: World, end: type[JobCompleted]) -> None:
    """6. With us the id always comes from the event: there is no current-job property here."""
    world.launch("job-1")
    world.launch("job-2")
    world.launch("job-3", "cifar")

    world.dispatcher.apply(end("job-1"))

    assert {world.answer_now(job_request()).job_id for _ in range(20)} == {"job-2"}
    assert world.answer_now(task_request("job-1")).status == Status.NO_JOB
    assert world.answer_now(job_request("cifar")).job_id == "job-3"


@pytest.mark.parametrize(
    "event",
    [
        JobCompleted("unknown"),
        JobCancelled(""),
        JobLaunched(RunningJob("", "mnist", {"edge_method": "cnn"})),
        JobLaunched(RunningJob("job-2", "mnist")),
    ],
)
def test_an_event_that_makes_no_sense_is_logged_as_an_error_and_changes_nothing(
    world: World, event: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """7."""
    world.launch("job-1")

    world.dispatcher.apply(event)

    assert [record.levelno for record in caplog.records if record.levelno > logging.INFO] == [logging.ERROR]
    assert {world.answer_now(job_request()).job_id for _ in range(20)} == {"job-1"}


def test_a_name_disappears_with_its_last_job(world: World) -> None:
    """8."""
    world.launch("job-1")
    world.launch("job-2")

    world.dispatcher.apply(JobCompleted("job-1"))
    assert world.answer_now(job_request()).status == Status.OK
    world.dispatcher.apply(JobCompleted("job-2"))
    assert world.answer_now(job_request()).status == Status.NO_JOB


@covers("job/launch")
@pytest.mark.parametrize(("request_of", "response_class"), FORWARDED)
def test_a_job_is_offered_before_its_process_answers_and_requests_in_between_get_retry(
    world: World, request_of: Any, response_class: type
) -> None:
    """9."""
    world.launch(connect=False)

    assert world.answer_now(job_request()).status == Status.OK
    response = world.answer_now(request_of())

    assert type(response) is response_class
    assert response.status == Status.RETRY
    assert response.retry_wait > 0


# --- job request ----------------------------------------------------------------------------------------------------


@covers("request/falsy")
@pytest.mark.parametrize(("name", "status"), [("", "INVALID_REQUEST"), ("unknown", "NO_JOB"), ("mnist", "OK")])
def test_a_job_request_is_answered_here_and_never_forwarded(world: World, name: str, status: str) -> None:
    """10."""
    world.launch()

    assert world.answer_now(job_request(name)).status == status
    assert world.wires.sent == []


def test_capabilities_device_and_user_play_no_part_in_matching(world: World) -> None:
    """12."""
    world.launch()
    device = DeviceInfo("d", platform="toaster", app_version="0.0.1")
    request = JobRequest(device, "mnist", {"methods": ["something else"]}, UserInfo(user_id="nobody"))

    assert world.answer_now(request).status == Status.OK


def test_a_job_that_declares_an_eligibility_is_offered_only_to_devices_it_takes(world: World) -> None:
    """12, our deviation: a job may declare an eligibility, and is then unknown to all other devices."""
    world.launch(eligibility=Eligibility(platforms=("android",)))

    assert world.answer_now(JobRequest(DeviceInfo("d", platform="android"), "mnist")).status == Status.OK
    assert world.answer_now(JobRequest(DeviceInfo("d", platform="ios"), "mnist")).status == Status.NO_JOB


# --- task, selection, result ----------------------------------------------------------------------------------------


@covers("request/falsy")
@pytest.mark.parametrize(("request_of", "response_class"), FORWARDED)
def test_a_request_without_job_id_is_invalid_in_its_own_class(
    world: World, request_of: Any, response_class: type
) -> None:
    """13. With us every refusal also has a message."""
    response = world.answer_now(request_of(""))

    assert type(response) is response_class
    assert response.status == Status.INVALID_REQUEST
    assert "job_id" in response.message


@pytest.mark.parametrize(("request_of", "response_class"), FORWARDED)
def test_an_unknown_or_finished_job_is_no_job_in_the_requests_own_class(
    world: World, request_of: Any, response_class: type
) -> None:
    """14."""
    world.launch("finished")
    world.dispatcher.apply(JobCompleted("finished"))

    for job_id in ("unknown", "finished"):
        response = world.answer_now(request_of(job_id))
        assert type(response) is response_class
        assert response.status == Status.NO_JOB
    assert world.wires.sent == []


@pytest.mark.parametrize(
    ("request_", "topic", "reply"),
    [
        (task_request(), Topic.TASK, TaskResponse(Status.DONE, "job-1", message="enough")),
        (SelectionRequest(DEVICE, "job-1"), Topic.SELECTION, SelectionResponse(Status.OK, selection={"*": 4})),
        (
            SelectionRequest(DeviceInfo("sim?3"), "job-1", fleet=FleetRange("sim", 3)),
            Topic.SELECTION,
            SelectionResponse(Status.OK, selection={"sim#1": 4}),
        ),
        (result_report(), Topic.RESULT, ResultResponse(Status.OK, True, "lease-1", "train")),
        (ResultOffer(DEVICE, "job-1", "lease-1"), Topic.OFFER, ResultResponse(Status.NO_TASK, False, "lease-1")),
    ],
)
def test_a_request_arrives_unchanged_and_the_jobs_reply_is_the_answer(
    world: World, request_: Any, topic: Topic, reply: Any
) -> None:
    """16, first half, with the sense of 15: one message, nothing changed on the way there or back."""
    world.launch()

    answers = world.submit(request_)
    ((job_id, _, sent_topic, payload),) = world.wires.sent
    world.wires.reply(reply)

    assert (job_id, sent_topic) == ("job-1", topic)
    assert msgspec.msgpack.decode(payload, type=type(request_)) == request_
    assert answers == [reply]


@covers("code/unreachable", "status/RETRY", "hole-01")
@pytest.mark.parametrize("trouble", ["timeout", "unreachable", "exception", "nonsense", "overrun"])
@pytest.mark.parametrize(("request_of", "response_class"), FORWARDED)
def test_anything_but_a_reply_is_a_retry_of_the_requests_own_class(
    world: World, request_of: Any, response_class: type, trouble: str
) -> None:
    """16, second half. With us every RETRY says how long to wait, and a result is never counted by it."""
    world.launch()
    world.wires.full = trouble == "overrun"
    answers = world.submit(request_of())
    if trouble == "timeout":
        world.tick(8.0)
    elif trouble == "unreachable":
        world.wires.lose("job-1")
    elif trouble == "exception":
        world.wires.inbox.failed(world.wires.sent[0][1], "KeyError")
    elif trouble == "nonsense":
        world.wires.reply({"status": "PERHAPS"})

    (response,) = answers
    assert type(response) is response_class
    assert response.status == Status.RETRY
    assert response.retry_wait > 0
    assert response.message
    assert not getattr(response, "counted", False)


@covers("device/timeouts", "hole-01")
def test_a_request_waits_five_seconds_and_a_result_eight(world: World) -> None:
    """16 with 15. Deviation: results, which wait for their commit, have a timeout of their own."""
    world.launch()
    task, result = world.submit(task_request()), world.submit(result_report())

    world.tick(4.9)
    assert (task, result) == ([], [])
    world.tick(5.0)
    assert [response.status for response in task] == [Status.RETRY]
    assert result == []
    world.tick(8.0)
    assert [response.status for response in result] == [Status.RETRY]


def test_the_dispatcher_sends_nothing_twice(world: World) -> None:
    """17: no retry by the dispatcher."""
    world.launch()
    world.submit(task_request())
    world.tick(100.0)
    world.wires.lose("job-1")
    world.wires.connect("job-1", incarnation=2)

    assert len(world.wires.sent) == 1


def test_requests_do_not_wait_for_one_another(world: World) -> None:
    """17: no ordering between requests, of one job or of several."""
    world.launch("job-1")
    world.launch("job-2")
    first, second, third = (world.submit(task_request(job_id)) for job_id in ("job-1", "job-1", "job-2"))
    reply = TaskResponse(Status.DONE)

    world.wires.reply(reply, at=2)
    assert (first, second, third) == ([], [], [reply])
    world.wires.reply(reply, at=1)
    assert (first, second, third) == ([], [reply], [reply])


def test_a_job_with_too_much_in_flight_does_not_hold_up_another() -> None:
    """17. With us what is in flight to one job is bounded, and beyond the bound it is RETRY at once."""
    world = World(DispatcherLimits(inflight_max=2))
    world.launch("hung")
    world.launch("lively")

    statuses = [[response.status for response in world.submit(task_request("hung"))] for _ in range(3)]
    lively = world.submit(task_request("lively"))
    world.wires.reply(TaskResponse(Status.DONE))

    assert statuses == [[], [], [Status.RETRY]]
    assert [response.status for response in lively] == [Status.DONE]


@covers("hole-11", "id/forever")
def test_nothing_is_kept_of_a_device_once_it_is_answered(world: World) -> None:
    """18. Compared as bytes: what the dispatcher holds does not grow with devices that were answered."""
    world.launch()

    def serve(first: int, count: int) -> None:
        for number in range(first, first + count):
            world.submit(TaskRequest(DeviceInfo(f"device-{number}"), "job-1"))
            world.wires.reply(TaskResponse(Status.DONE))
            assert world.dispatcher.room.reserve("job-1", 10**9, pytest.fail)
            assert not world.dispatcher.room.reserve("job-1", 1, lambda: world.dispatcher.room.release("job-1", 1))
            world.dispatcher.room.release("job-1", 10**9)
        world.wires.sent.clear()
        world.answers.all.clear()

    serve(0, 1)
    before = held_by(world.dispatcher)
    serve(1, 100)

    assert held_by(world.dispatcher) == before


@pytest.mark.parametrize(("request_of", "response_class"), FORWARDED)
def test_a_request_in_flight_when_its_job_ends_gets_the_jobs_own_answer_or_retry(
    world: World, request_of: Any, response_class: type
) -> None:
    """19. With us the connection of an ended job is kept until its last answers are in, at most their timeout."""
    world.launch()
    first, second = world.submit(request_of()), world.submit(request_of())
    reply = response_class(Status.OK, counted=True) if response_class is ResultResponse else response_class(Status.DONE)

    world.dispatcher.apply(JobCompleted("job-1"))
    assert (first, second) == ([], [])
    world.wires.reply(reply, at=0)
    world.wires.lose("job-1")

    assert first == [reply]
    assert [response.status for response in second] == [Status.RETRY]
    assert world.wires.opened == {}


@covers("hole-20")
@pytest.mark.parametrize(
    "request_", [job_request(""), job_request("unknown"), task_request(""), task_request("unknown"), result_report()]
)
def test_every_answer_of_the_dispatcher_is_immutable(world: World, request_: Any) -> None:
    """20, our deviation: no consumer can change an answer, so none can harm another."""
    world.launch(connect=False)

    response = world.answer_now(request_)

    with pytest.raises(AttributeError, match="immutable"):
        response.status = Status.OK


@pytest.mark.parametrize("container", [list, tuple, set, frozenset, deque, dict.fromkeys, lambda items: Box(items)])
def test_what_is_held_is_seen_in_every_container(container: Callable[[list[str]], object]) -> None:
    """18, of the measure itself."""
    assert held_by(container(["device-1", "device-2"])) > held_by(container(["device-1"]))


class Box:
    def __init__(self, content: object) -> None:
        self.content = content


def held_by(root: object) -> int:
    """How many containers and values hang on ``root``, counted through dicts, sequences and attributes."""
    seen: set[int] = set()
    todo = [root]
    while todo:
        here = todo.pop()
        if id(here) in seen or isinstance(here, type):
            continue
        seen.add(id(here))
        if isinstance(here, dict):
            todo += [*here.keys(), *here.values()]
        elif isinstance(here, list | tuple | set | frozenset | deque):
            todo += here
        elif type(here).__module__.startswith(("turnout", "collections", "tests")):
            todo += list(getattr(here, "__dict__", {}).values())
    return len(seen)
