"""The life of a job as control sees it: what is stored, ordered and told, in each turn it can take."""

from pathlib import Path

import msgspec
import pytest

from turnout.client.view import JobState
from turnout.control.jobs import Jobs, new_job_id
from turnout.control.store import Store
from turnout.messages import (
    JobCancelled,
    JobCompleted,
    JobFailed,
    JobLaunched,
    JobStatus,
    LifeCycleEvent,
    RunningJob,
)
from turnout.transport.orders import ForgetJob, JobProcess, JobReport, Order, Roster, StartJob, StopJob

ANNOUNCED = RunningJob("digits-1", "digits", {"edge_method": "numpy"})


class World:
    """Control's surroundings; ``restart`` gives a new control on the same store."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.store = Store(":memory:")
        self.orders: list[Order] = []
        self.events: list[LifeCycleEvent] = []
        self.jobs = self.restart()

    def restart(self) -> Jobs:
        self.orders.clear()
        self.events.clear()
        self.jobs = Jobs(
            self.store, self.data, Path("/run/turnout/1"), self.orders.append, self.events.append, lambda: 5.0
        )
        return self.jobs

    def write_final(self, state: str, finished: str) -> None:
        folder = self.jobs.folder("digits-1")
        folder.mkdir(parents=True)
        status = JobStatus("digits-1", "digits", state, "buffered", version=20, finished=finished)
        (folder / "final.json").write_bytes(msgspec.json.encode(status))

    def state(self) -> tuple[JobState, str]:
        job = self.store.get("digits-1")
        assert job is not None
        return job.state, job.reason

    @property
    def process(self) -> JobProcess:
        folder = self.data / "jobs" / "digits-1"
        return JobProcess("digits-1", str(folder / "folder"), "/run/turnout/1/job-digits-1", str(folder / "blobs"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_launched_job_is_stored_started_and_announced_with_its_address(world: World) -> None:
    job = world.jobs.launch(ANNOUNCED)
    assert (job.address, job.blobs) == (world.process.address, world.process.blobs)
    assert world.orders == [StartJob(world.process)]
    assert world.events == [JobLaunched(job)]
    assert world.state() == (JobState.RUNNING, "")
    assert world.jobs.running == {"digits-1": job}


def test_a_job_that_ends_well_is_completed(world: World) -> None:
    world.jobs.launch(ANNOUNCED)
    world.write_final("completed", "version 20 reached")
    world.jobs.heard(JobReport("digits-1", code=0))
    assert world.state() == (JobState.COMPLETED, "version 20 reached")
    assert world.events[1:] == [JobCompleted("digits-1")]
    assert world.orders[1:] == [ForgetJob("digits-1")]
    assert world.jobs.running == {}


def test_a_job_that_ends_badly_has_failed_for_its_own_reason(world: World) -> None:
    world.jobs.launch(ANNOUNCED)
    world.write_final("failed", "the model is not finite")
    world.jobs.heard(JobReport("digits-1", code=4))
    assert world.events[1:] == [JobFailed("digits-1", "the model is not finite")]


def test_a_job_that_the_supervisor_gives_up_has_failed_for_the_supervisors_reason(world: World) -> None:
    world.jobs.launch(ANNOUNCED)
    world.jobs.heard(JobReport("digits-1", code=1, reason="failed 5 times"))
    assert world.state() == (JobState.FAILED, "failed 5 times")


def test_a_process_that_exits_with_success_but_leaves_no_account_did_not_complete(world: World) -> None:
    world.jobs.launch(ANNOUNCED)
    world.jobs.heard(JobReport("digits-1", code=0))
    assert world.state() == (JobState.FAILED, "its process ended without saying why")


def test_a_job_that_a_person_ends_is_cancelled_once_its_process_has_ended(world: World) -> None:
    world.jobs.launch(ANNOUNCED)
    world.jobs.cancel("digits-1")
    assert world.state() == (JobState.CANCELLING, "")
    assert "digits-1" in world.jobs.running
    world.jobs.heard(JobReport("digits-1", code=3))
    assert world.state() == (JobState.CANCELLED, "cancelled by a person")
    assert world.events[1:] == [JobCancelled("digits-1")]


def test_a_cancelled_job_that_does_not_end_is_stopped_by_force(world: World) -> None:
    world.jobs.launch(ANNOUNCED)
    world.jobs.cancel("digits-1")
    world.jobs.force("digits-1", "ended by force, up to 3 results are in no version")
    assert world.orders[1:] == [StopJob("digits-1")]
    world.jobs.heard(JobReport("digits-1", code=143, reason="it was told to stop"))
    assert world.state() == (JobState.CANCELLED, "ended by force, up to 3 results are in no version")


def test_a_restarted_control_finds_a_job_that_still_runs(world: World) -> None:
    world.jobs.launch(ANNOUNCED)
    world.restart().heard(Roster((JobReport("digits-1"),)))
    assert world.orders == []
    assert [job.job_id for job in world.jobs.running.values()] == ["digits-1"]


def test_a_restarted_control_hears_of_a_job_that_ended_meanwhile(world: World) -> None:
    world.jobs.launch(ANNOUNCED)
    world.write_final("completed", "version 20 reached")
    world.restart().heard(Roster((JobReport("digits-1", code=0),)))
    assert world.events == [JobCompleted("digits-1")]
    assert world.orders == [ForgetJob("digits-1")]


def test_after_a_restart_of_the_whole_server_running_jobs_are_started_again(world: World) -> None:
    world.jobs.launch(ANNOUNCED)
    world.restart().heard(Roster())
    assert world.orders == [StartJob(world.process)]


def test_after_a_restart_of_the_whole_server_a_job_that_had_ended_is_not_started_again(world: World) -> None:
    world.jobs.launch(ANNOUNCED)
    world.write_final("completed", "version 20 reached")
    world.restart().heard(Roster())
    assert world.orders == []
    assert world.state() == (JobState.COMPLETED, "version 20 reached")


def test_a_job_that_cannot_run_for_now_still_runs_and_says_why(world: World) -> None:
    world.jobs.launch(ANNOUNCED)
    world.jobs.heard(JobReport("digits-1", reason="the disk is full"))
    assert world.jobs.delay("digits-1") == "the disk is full"
    assert world.state() == (JobState.RUNNING, "")
    assert world.orders == [StartJob(world.process)]
    world.restart().heard(Roster((JobReport("digits-1", reason="the disk is full"),)))
    assert world.jobs.delay("digits-1") == "the disk is full"
    world.jobs.heard(JobReport("digits-1"))
    assert world.jobs.delay("digits-1") == ""


def test_a_delay_is_forgotten_with_the_job(world: World) -> None:
    world.jobs.launch(ANNOUNCED)
    world.jobs.heard(JobReport("digits-1", reason="the disk is full"))
    world.jobs.heard(JobReport("digits-1", code=1, reason="given up"))
    assert world.jobs.delay("digits-1") == ""


def test_a_failed_job_is_started_again_and_its_last_account_is_not_taken_for_its_end(world: World) -> None:
    launched = world.jobs.launch(ANNOUNCED)
    world.write_final("failed", "the disk failed")
    world.jobs.heard(JobReport("digits-1", code=4))
    job = world.store.get("digits-1")
    assert job is not None
    world.jobs.start(job)
    assert world.orders[1:] == [ForgetJob("digits-1"), StartJob(world.process)]
    assert world.events[1:] == [JobFailed("digits-1", "the disk failed"), JobLaunched(launched)]
    assert world.state() == (JobState.RUNNING, "")
    world.restart().heard(Roster())
    assert world.orders == [StartJob(world.process)]


def test_the_process_of_a_job_that_was_being_cancelled_when_control_ended_is_kept(world: World) -> None:
    world.jobs.launch(ANNOUNCED)
    world.jobs.cancel("digits-1")
    world.restart().heard(Roster((JobReport("digits-1"),)))
    assert world.orders == []
    assert world.jobs.cancelling() == ["digits-1"]


def test_after_a_restart_of_the_whole_server_a_job_that_was_being_cancelled_is_started_to_be_ended(
    world: World,
) -> None:
    world.jobs.launch(ANNOUNCED)
    world.jobs.cancel("digits-1")
    world.restart().heard(Roster())
    assert world.orders == [StartJob(world.process)]
    assert world.state() == (JobState.CANCELLING, "")
    assert world.jobs.cancelling() == ["digits-1"]


def test_a_job_that_had_ended_by_itself_when_the_server_was_restarted_is_not_started_to_be_ended(world: World) -> None:
    world.jobs.launch(ANNOUNCED)
    world.jobs.cancel("digits-1")
    world.write_final("cancelled", "cancelled by a person")
    world.restart().heard(Roster())
    assert world.orders == []
    assert world.state() == (JobState.CANCELLED, "cancelled by a person")
    assert world.jobs.cancelling() == []


def test_a_job_that_fails_for_good_while_a_person_ends_it_is_cancelled_with_the_reason(world: World) -> None:
    world.jobs.launch(ANNOUNCED)
    world.jobs.cancel("digits-1")
    world.jobs.heard(JobReport("digits-1", code=1, reason="failed 5 times"))
    assert world.state() == (JobState.CANCELLED, "failed 5 times")


def test_a_process_of_a_job_that_control_does_not_know_is_stopped(world: World) -> None:
    world.jobs.heard(Roster((JobReport("stranger"),)))
    assert world.orders == [StopJob("stranger")]


def test_an_end_heard_twice_is_told_once(world: World) -> None:
    world.jobs.launch(ANNOUNCED)
    world.write_final("completed", "done")
    world.jobs.heard(JobReport("digits-1", code=0))
    world.jobs.heard(JobReport("digits-1", code=0))
    assert world.events[1:] == [JobCompleted("digits-1")]


@pytest.mark.parametrize(
    ("name", "job_id"),
    [
        ("digits", "digits-7f"),
        ("My Job! (v2)", "my-job-v2-7f"),
        ("../../etc", "etc-7f"),
        ("数字", "job-7f"),
        ("x" * 100, "x" * 24 + "-7f"),
    ],
)
def test_a_job_id_is_readable_and_fits_a_file_name(name: str, job_id: str) -> None:
    assert new_job_id(name, "7f") == job_id
