"""A job that a person cancels: told until it has ended, and forced only after it has had its time."""

import asyncio
from collections.abc import Callable

import pytest

from tests.unit.control.world import SCHEMA, Job, World, submitted
from turnout.client.view import JobState
from turnout.control.cancelling import Cancelling, unsaved
from turnout.control.known import KnownJobs
from turnout.messages import JobStatus, Topic
from turnout.transport.orders import JobReport, StopJob

pytestmark = pytest.mark.anyio

AGAIN_S = 0.001


def status(version: int = 2, buffered: int = 0, counted: int = 0, state: str = "OPEN") -> JobStatus:
    return JobStatus("digits-1", "digits", state, "buffered", version=version, buffered=buffered, counted=counted)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(AGAIN_S)


async def cancelled(world: World, grace_s: float) -> str:
    """A job that is to end, and whose process does not answer."""
    job_id = await submitted(world)
    world.jobs.cancel(job_id)
    Cancelling(KnownJobs(world.store, world.jobs, world.questions), grace_s, AGAIN_S).resume()
    return job_id


def serve(world: World, job_id: str, generation: int, job: Job) -> Job:
    world.processes.serve(world.jobs.running[job_id].address, job_id, generation, SCHEMA, job)
    return job


def told(job: Job, times: int = 1) -> Callable[[], bool]:
    return lambda: job.asked.count(Topic.CANCEL) >= times


async def test_a_job_that_does_not_answer_keeps_its_process_and_is_told_when_it_does(world: World) -> None:
    job_id = await cancelled(world, grace_s=3600)
    await asyncio.sleep(20 * AGAIN_S)
    await until(told(serve(world, job_id, 1, Job(status(), []))))
    assert StopJob(job_id) not in world.orders


async def test_the_process_after_one_that_was_told_is_told_again(world: World) -> None:
    job_id = await cancelled(world, grace_s=3600)
    await until(told(serve(world, job_id, 1, Job(status(), []))))
    world.processes.stop(world.jobs.running[job_id].address)
    await until(told(serve(world, job_id, 2, Job(status(), []))))
    assert StopJob(job_id) not in world.orders


async def test_a_job_that_has_ended_is_told_no_more(world: World) -> None:
    job_id = await cancelled(world, grace_s=3600)
    job = serve(world, job_id, 1, Job(status(), []))
    await until(told(job))
    world.jobs.heard(JobReport(job_id, code=3))
    await asyncio.sleep(5 * AGAIN_S)
    asked = len(job.asked)
    await asyncio.sleep(10 * AGAIN_S)
    assert len(job.asked) == asked


async def test_a_job_that_has_ended_and_runs_again_is_not_told(world: World) -> None:
    job_id = await cancelled(world, grace_s=3600)
    await until(told(serve(world, job_id, 1, Job(status(), []))))
    world.jobs.heard(JobReport(job_id, code=3))
    job = world.store.get(job_id)
    assert job is not None
    world.jobs.revive(job)
    again = serve(world, job_id, 2, Job(status(), []))
    await asyncio.sleep(20 * AGAIN_S)
    assert Topic.CANCEL not in again.asked


async def test_a_job_that_does_not_end_is_forced_and_the_reason_says_what_is_in_no_version(world: World) -> None:
    job_id = await cancelled(world, grace_s=10 * AGAIN_S)
    serve(world, job_id, 1, Job(status(buffered=3, counted=7), []))
    await until(lambda: StopJob(job_id) in world.orders)
    world.jobs.heard(JobReport(job_id, code=143, reason="it was told to stop"))
    job = world.store.get(job_id)
    assert job is not None
    assert job.state is JobState.CANCELLED
    assert job.reason == (
        "cancelled by a person, and by force: it was not done within 0.01 s; "
        "up to 3 counted results are in no version of its model"
    )


async def test_a_job_whose_process_cannot_run_ends_all_the_same_and_says_why(world: World) -> None:
    job_id = await cancelled(world, grace_s=10 * AGAIN_S)
    await asyncio.sleep(30 * AGAIN_S)
    assert StopJob(job_id) not in world.orders
    world.jobs.heard(JobReport(job_id, reason="the disk is full"))
    await until(lambda: StopJob(job_id) in world.orders)
    world.jobs.heard(JobReport(job_id, code=0, reason="it was told to stop"))
    job = world.store.get(job_id)
    assert job is not None
    assert job.state is JobState.CANCELLED
    assert job.reason == (
        "cancelled by a person, and by force: its process could not run: the disk is full; "
        "it is not known how many counted results are in no version of its model"
    )


async def test_a_job_whose_process_can_run_again_has_its_time(world: World) -> None:
    job_id = await cancelled(world, grace_s=0.2)
    for _ in range(4):
        world.jobs.heard(JobReport(job_id, reason="the disk is full"))
        await asyncio.sleep(0.1)
        world.jobs.heard(JobReport(job_id))
        await asyncio.sleep(0.1)
    assert StopJob(job_id) not in world.orders


async def test_the_time_that_a_job_has_begins_with_each_process(world: World) -> None:
    job_id = await cancelled(world, grace_s=0.3)
    for generation in range(1, 8):
        await until(told(serve(world, job_id, generation, Job(status(), [])), 3))
        await asyncio.sleep(0.06)
        world.processes.stop(world.jobs.running[job_id].address)
    assert StopJob(job_id) not in world.orders


@pytest.mark.parametrize(
    ("before", "now", "left"),
    [
        (None, status(), None),
        (status(state="ENDING"), status(), None),
        (status(buffered=3), None, 3),
        (status(2, buffered=3, counted=7), status(2, buffered=0, counted=9), 5),
        (status(2, buffered=3, counted=7), status(3, buffered=0, counted=9), 0),
    ],
)
def test_what_is_in_no_version_is_not_what_the_buffer_shows_while_it_is_being_saved(
    before: JobStatus | None, now: JobStatus | None, left: int | None
) -> None:
    assert unsaved(before, now) == left
