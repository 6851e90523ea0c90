"""What each client does at every answer, bugs included, and that ours lead it to the end of its job all the same."""

from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.contract.flare.jobs import CONFIG, android, folder, ios, no_time, python_device
from tests.contract.flare.players.android import Crash
from tests.contract.flare.players.ios import TURNS_MAX
from tests.contract.flare.players.python import Sleep
from tests.contract.flare.quirks import covers
from tests.contract.flare.test_whole_jobs import learned
from tests.contract.flare.told import Told
from tests.end_to_end.site import site
from turnout.messages import (
    EdgeResponse,
    JobRequest,
    JobResponse,
    ResultReport,
    ResultResponse,
    Status,
    TaskRequest,
    TaskResponse,
)

pytestmark = pytest.mark.anyio

RETRY_JOB = JobResponse(Status.RETRY, retry_wait=2.5)
RETRY_TASK = TaskResponse(Status.RETRY, retry_wait=2.5)
NO_JOB_FOR_TASK = TaskResponse(Status.NO_JOB)
IN_TIME_MS = 60_000  #: How long Android asks a job that gives it no task.


class Enough(Exception):
    """The test has seen what it came for."""


def until(done: Callable[[], object]) -> Sleep:
    """Sleep until something is so, and then end the test's interest. A model may have to be exported first."""

    async def sleep(wait: float) -> None:
        if done():
            raise Enough
        await no_time(wait)

    return sleep


async def enough(wait: float) -> None:
    raise Enough


def not_counted(status: Status) -> ResultResponse:
    return ResultResponse(status, False, "t", "train", "the reason", 1.0 if status is Status.RETRY else None)


# --- jobs and tasks -----------------------------------------------------------------------------------------------


@covers("device/job-RETRY", "device/job-NO_JOB", "device/task-RETRY", "device/task-NO_TASK", "wait/seconds")
@pytest.mark.parametrize(
    ("kind", "answer", "wait_s"),
    [
        (JobRequest, RETRY_JOB, 3),
        (JobRequest, JobResponse(Status.NO_JOB), 5),
        (JobRequest, JobResponse(Status.ERROR), 5),
        (TaskRequest, RETRY_TASK, 3),
        (TaskRequest, TaskResponse(Status.NO_TASK), 5),
        (TaskRequest, TaskResponse(Status.INVALID_REQUEST), 5),
    ],
)
async def test_ios_sleeps_seconds_and_goes_on(tmp_path: Path, kind: type, answer: EdgeResponse, wait_s: int) -> None:
    told = Told().say(kind, answer)
    async with site(folder(tmp_path / "job", "executorch", versions=1), between=told.before) as served:
        device = ios(served.url)
        assert await device.run() == "task: DONE"
        assert learned(served) == 1
    assert device.waits_s[0] == wait_s


@covers("device/job-RETRY", "device/job-NO_JOB", "device/job-DONE", "device/task-RETRY", "device/task-NO_TASK")
@covers("wait/milliseconds", "device/task-NO_JOB", "device/task-DONE", "device/task-ERROR", "status/INVALID_REQUEST")
@pytest.mark.parametrize(
    ("kind", "answer", "wait_ms"),
    [
        (JobRequest, RETRY_JOB, 2500),
        (JobRequest, JobResponse(Status.NO_JOB), 5000),
        (JobRequest, JobResponse(Status.DONE), 5000),
        (TaskRequest, RETRY_TASK, 2500),
        (TaskRequest, TaskResponse(Status.NO_TASK), 5000),
        (TaskRequest, NO_JOB_FOR_TASK, 5000),
        (TaskRequest, TaskResponse(Status.DONE), 5000),
        (TaskRequest, TaskResponse(Status.ERROR), 5000),
        (TaskRequest, TaskResponse(Status.INVALID_REQUEST), 5000),
    ],
)
async def test_android_sleeps_milliseconds_and_goes_on(
    tmp_path: Path, kind: type, answer: EdgeResponse, wait_ms: int
) -> None:
    told = Told().say(kind, answer)
    async with site(folder(tmp_path / "job", "executorch", versions=1), between=told.before) as served:
        device = android(served.url)
        assert await device.run() == "no task in time"
        assert learned(served) == 1
    assert device.waits_ms[0] == wait_ms


@covers("device/job-DONE", "device/task-DONE", "device/task-ERROR", "status/DONE")
@pytest.mark.parametrize(
    ("kind", "answer", "ended"),
    [
        (JobRequest, JobResponse(Status.DONE), "job: DONE"),
        (TaskRequest, TaskResponse(Status.DONE), "task: DONE"),
        (TaskRequest, TaskResponse(Status.ERROR), "task: ERROR"),
    ],
)
async def test_ios_ends_when_it_is_told_so(tmp_path: Path, kind: type, answer: EdgeResponse, ended: str) -> None:
    told = Told().say(kind, answer)
    async with site(folder(tmp_path / "job", "executorch"), between=told.before) as served:
        device = ios(served.url)
        assert await device.run() == ended
    assert (device.waits_s, device.trained) == ([], [])


@covers("device/task-NO_JOB", "status/NO_JOB")
async def test_ios_looks_for_a_job_again_when_its_own_is_gone(tmp_path: Path) -> None:
    told = Told().say(TaskRequest, NO_JOB_FOR_TASK)
    async with site(folder(tmp_path / "job", "executorch", versions=1), between=told.before) as served:
        assert await ios(served.url).run() == "task: DONE"
        assert learned(served) == 1
    assert sum(isinstance(request, JobRequest) for request in told.requests) == 2


@covers("device/task-NO_JOB", "device/task-DONE")
async def test_android_asks_a_job_that_is_over_every_five_seconds_and_then_ends(tmp_path: Path) -> None:
    async with site(folder(tmp_path / "job", "executorch", versions=1)) as served:
        device = android(served.url)
        assert await device.run() == "no task in time"
    last_ms = device.waits_ms[-(IN_TIME_MS // 5000) :]
    assert last_ms == [5000] * (IN_TIME_MS // 5000)


@covers("device/task-NO_JOB", "device/job-NO_JOB", "request/falsy", "wait/python")
async def test_python_waits_for_its_job_and_ends_with_it(tmp_path: Path) -> None:
    told = Told().say(JobRequest, JobResponse(Status.NO_JOB), RETRY_JOB)
    told.say(TaskRequest, RETRY_TASK, NO_JOB_FOR_TASK)
    async with site(folder(tmp_path / "job", "weights"), between=told.before) as served:
        device = python_device(served.url)
        assert await device.run() == "the job is gone"
        assert device.slept_s == 1.0 + 1.0 + 0.5, "it reads no retry_wait"
        device.job_name = ""
        assert await device.run() == "stopped by INVALID_REQUEST"


# --- results ------------------------------------------------------------------------------------------------------


@covers("device/result-RETRY", "device/result-NO_TASK", "device/result-ERROR", "hole-07")
@pytest.mark.parametrize("status", [Status.RETRY, Status.NO_TASK, Status.ERROR])
async def test_no_refusal_of_a_result_ends_a_mobile_session_and_its_work_is_done_again(
    tmp_path: Path, status: Status
) -> None:
    """It keeps its lease, for the job has not seen its result: so it is given the same task again."""
    for player, ended in ((android, "no task in time"), (ios, "task: DONE")):
        told = Told().say(ResultReport, not_counted(status))
        path = tmp_path / player.__name__
        path.mkdir()
        async with site(folder(path / "job", "executorch", versions=1), between=told.before) as served:
            device: Any = player(served.url)
            assert await device.run() == ended
            assert learned(served) == 1
        assert [answer["counted"] for answer in device.results] == [False, True]
        assert device.trained[0] == device.trained[1]


@covers("device/result-NO_TASK")
async def test_a_job_that_is_over_ends_android_and_sends_ios_to_look_for_another(tmp_path: Path) -> None:
    """Android would otherwise ask the dead job for a minute; its session ends either way."""
    told = Told().say(ResultReport, not_counted(Status.NO_JOB), not_counted(Status.NO_JOB))
    async with site(folder(tmp_path / "job", "executorch", versions=1, concurrency=2), between=told.before) as served:
        first = android(served.url)
        assert await first.run() == "result: the reason"
        assert await ios(served.url).run() == "task: DONE"
    assert sum(isinstance(request, JobRequest) for request in told.requests) == 1 + 2


@covers("data/ios-error", "device/result-ERROR")
async def test_an_iphone_that_cannot_train_says_so_and_its_place_goes_to_another(tmp_path: Path) -> None:
    def fails(pte: bytes, meta: Any) -> dict[str, Any]:
        raise ValueError("corrupt model")

    async with site(folder(tmp_path / "job", "executorch", versions=1)) as served:
        broken = ios(served.url, until(lambda: broken.results), train=fails)
        with pytest.raises(Enough):
            await broken.run()
        assert [(answer["status"], answer["counted"]) for answer in broken.results] == [("NO_TASK", False)]
        assert await ios(served.url, device_id="another").run() == "task: DONE"
        assert learned(served) == 1


@covers("data/ios-error")
async def test_a_simulated_device_that_cannot_train_says_so_and_its_place_goes_to_another(tmp_path: Path) -> None:
    def fails(task_data: Any) -> dict[str, Any]:
        raise ValueError("no data")

    async with site(folder(tmp_path / "job", "weights", versions=1)) as served:
        broken = python_device(served.url, enough, train=fails)
        with pytest.raises(Enough):
            await broken.run()
        assert [(answer["status"], answer["counted"]) for answer in broken.results] == [("ERROR", False)]
        assert await python_device(served.url, device_id="another").run() == "idle"


@covers("data/android-text")
async def test_android_has_no_word_for_a_failed_training_and_its_app_crashes(tmp_path: Path) -> None:
    """Its place is free again when its lease ends."""

    def fails(pte: bytes, meta: Any) -> dict[str, Any]:
        raise ValueError("corrupt model")

    async with site(folder(tmp_path / "job", "executorch")) as served:
        with pytest.raises(Crash, match="Training failed"):
            await android(served.url, train=fails).run()


# --- waiting for a place ------------------------------------------------------------------------------------------


@covers("wait/milliseconds", "wait/seconds", "wait/who", "cookie/android", "cookie/ios")
@pytest.mark.parametrize("player", [android, ios])
async def test_a_device_that_waits_for_a_place_sleeps_some_seconds_and_then_gets_it(
    tmp_path: Path, player: Any
) -> None:
    """One place, two devices: while the second sleeps, the first brings its result."""
    async with site(folder(tmp_path / "job", "executorch", versions=2)) as served:
        first = android(served.url, device_id="NVFlare_Android-first")
        job = await first.fetch_job()
        task = await first.fetch_task(job["job_id"])

        async def first_reports(wait: float) -> None:
            if not first.results:
                result = {"kind": "number", "data": first.train(*_model_of(task)), "meta": {}}
                await first.send_result(job["job_id"], task["task_id"], task["task_name"], result)

        second = player(served.url, first_reports)
        await second.run()
        first.line.hang_up()
        assert learned(served) == 2
    wait_s = second.waits_ms[0] / 1000 if player is android else second.waits_s[0]
    assert 2 <= wait_s <= 4, "the job's pacing says 2 to 3 seconds"


def _model_of(task: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    return b64decode(task["task_data"]["data"]), task["task_data"]["meta"]


@covers("cookie/ios", "cookie/task", "cookie/android")
@pytest.mark.parametrize("player", [android, ios])
async def test_a_device_with_or_without_its_cookie_trains_a_version_once(tmp_path: Path, player: Any) -> None:
    """Two results close a version: the first device asks again and again until a second has reported, too."""
    async with site(folder(tmp_path / "job", "executorch", versions=1, goal=2, concurrency=2)) as served:
        cookies: list[Any] = []

        async def another_comes_in_the_end(wait: float) -> None:
            if first.results:
                cookies.append(first.cookie)
            if len(cookies) == 3:
                another = player(served.url, until(lambda: another.results), device_id="NVFlare_Android-another")
                with suppress(Enough):  # it may hear DONE first
                    await another.run()
            await no_time(wait)

        first = player(served.url, another_comes_in_the_end)
        await first.run()
        assert learned(served) == 1
    assert len(first.trained) == 1
    assert (cookies[2] is None) == (player is ios)


# --- what is not 200, or not to be read ---------------------------------------------------------------------------


@covers("header/mismatch-ios", "device/code")
async def test_an_ios_app_with_an_id_of_its_own_is_refused_the_job_every_five_seconds(tmp_path: Path) -> None:
    async with site(folder(tmp_path / "job", "executorch")) as served:
        device = ios(served.url, info={"device_id": "mine", "platform": "ios"})
        assert await device.run() == "no job in time"
    assert device.waits_s == [5] * 12
    assert {answer.status for answer in device.line.answers} == {400}
    assert "leave it out there" in device.line.answers[0].json["message"]


@covers("device/code", "code/fegapi", "reply/error", "hole-27")
async def test_pythons_client_can_read_why_it_was_refused(tmp_path: Path) -> None:
    async with site(folder(tmp_path / "job", "weights")) as served:
        device = python_device(served.url, enough, device_id="not an id")
        with pytest.raises(Enough):
            await device.run()
        answer = device.line.answers[0]
    assert answer.status == 400
    assert answer.json.keys() == {"status", "message"}


@covers("device/code")
@pytest.mark.parametrize(("player", "status"), [(android, "OK"), (ios, "NO_TASK")])
async def test_a_result_of_another_model_ends_no_mobile_session_and_its_place_goes_to_another(
    tmp_path: Path, player: Any, status: str
) -> None:
    def of_another_model(pte: bytes, meta: Any) -> dict[str, Any]:
        return {"other": {"data": [1.0], "sizes": [1]}}

    async with site(folder(tmp_path / "job", "executorch", versions=1)) as served:
        broken = player(served.url, until(lambda: broken.results), train=of_another_model)
        with pytest.raises(Enough):
            await broken.run()
        assert [(answer["status"], answer["counted"]) for answer in broken.results] == [(status, False)]
        assert "other" in broken.results[0]["message"]
        assert await ios(served.url, device_id="another").run() == "task: DONE"
        assert learned(served) == 1


@covers("data/ios-text", "data/weights")
async def test_ios_cannot_read_a_job_of_weights_and_asks_again_every_five_seconds(tmp_path: Path) -> None:
    async with site(folder(tmp_path / "job", "weights")) as served:
        device = ios(served.url, enough)
        with pytest.raises(Enough):
            await device.run()
    assert device.line.answers[-1].json["task_data"]["kind"] == "WEIGHTS"
    assert (device.waits_s, device.trained) == ([5], [])


@covers("reply/no-config", "config/delivered")
async def test_without_a_device_config_both_mobile_sdks_refuse_the_job(tmp_path: Path) -> None:
    async with site(folder(tmp_path / "job", "weights", config=None)) as served:
        assert await ios(served.url).run() == "job: missing components"
        with pytest.raises(Crash, match="missing components"):
            await android(served.url).run()


@covers("config/executors", "config/trainer")
async def test_ios_asks_without_a_pause_where_no_executor_is_found_for_the_task(tmp_path: Path) -> None:
    """What turnout check warns of. Each answer is the same task, so nobody else's place is taken."""
    config = {"components": [{**CONFIG["components"][0], "name": "mine"}], "executors": {"*": "@mine"}}
    async with site(folder(tmp_path / "job", "executorch", config=config)) as served:
        device = ios(served.url)
        assert await device.run() == "asks without a pause"
        given = [answer.json for answer in device.line.answers[1:] if answer.json["status"] == "OK"]
    assert (len(given), len({task["task_id"] for task in given})) == (TURNS_MAX, 1)
