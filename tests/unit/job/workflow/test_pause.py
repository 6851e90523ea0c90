"""A person pauses a job: nobody begins, whoever trains is counted, and no deadline runs out meanwhile."""

from tests.unit.job.a_job import Job, new_job
from turnout.job.core.events import Cancelled, Finish, Paused, Resumed, Tick
from turnout.job.core.status import status_of
from turnout.job.core.tasks import PAUSED_WAIT_S
from turnout.job.workflow.buffered import Buffered
from turnout.job.workflow.pause import Pause
from turnout.job.workflow.rounds import Rounds
from turnout.messages import PausedBy, Status


def rounds() -> Rounds:
    return Rounds(goal=2, over_selection=1.0, deadline_s=30.0, quorum=0.5, extensions_max=0)


def test_a_paused_job_gives_no_task_and_tells_a_fitting_wait(job: Job) -> None:
    job.happens(Paused())
    answer = job.ask("a")
    assert (answer.status, answer.message) == (Status.RETRY, "the job is paused")
    assert answer.retry_wait is not None
    assert answer.retry_wait >= PAUSED_WAIT_S
    job.happens(Resumed())
    assert job.ask("a").status is Status.OK


def test_who_trains_when_a_job_is_paused_keeps_its_lease_and_is_counted(job: Job) -> None:
    task = job.ask("a")
    job.happens(Paused())
    assert job.ask("a").task_id == task.task_id
    told = job.report("a", task)
    job.commit()
    answer = told()
    assert answer is not None
    assert answer.counted


def test_a_full_buffer_makes_its_version_while_the_job_is_paused(job: Job) -> None:
    tasks = {device: job.ask(device) for device in "ab"}
    job.happens(Paused())
    for device, task in tasks.items():
        job.report(device, task)
    job.settle()
    assert job.core.version == 1
    assert job.core.word == "PAUSED"


def test_a_pause_is_durable(job: Job) -> None:
    job.now = 3.0
    job.happens(Paused())
    again = job.restart()
    assert again.core.word == "PAUSED"
    assert again.ask("a").status is Status.RETRY
    again.now = 5.0
    again.happens(Resumed())
    assert again.restart().core.pause == Pause(since=None, total_s=2.0)


def test_a_pause_that_could_not_be_saved_holds_all_the_same(job: Job) -> None:
    job.keeps_grants, job.now = False, 1.0
    job.happens(Paused())
    job.fail_commit()
    assert job.core.pause.on


def test_the_selection_of_a_paused_job_is_empty(job: Job) -> None:
    job.happens(Paused())
    assert status_of(job.core, job.now).places == 0


def test_the_deadline_of_a_round_does_not_run_out_while_the_job_is_paused() -> None:
    """10 of 30 s have passed; after a pause of 1000 s there are 20 left."""
    job = new_job(rounds)
    job.now = 10.0
    job.happens(Paused())
    assert job.core.next_tick(job.now) is None
    job.now = 1010.0
    job.happens(Tick())
    assert job.core.warnings.newest == []
    job.happens(Resumed())
    assert job.core.next_tick(job.now) == 1030.0
    job.now = 1030.0
    job.happens(Tick())
    assert "0 of 2 updates" in job.core.warnings.newest[0]


def test_a_quorum_does_not_close_a_round_while_the_job_is_paused() -> None:
    job = new_job(rounds)
    task = job.ask("a")
    job.happens(Paused())
    job.now = 40.0
    job.report("a", task)
    job.settle()
    assert job.core.version == 0


def test_the_time_of_a_pause_is_not_time_of_running() -> None:
    job = new_job(lambda: Buffered(4, 2, 3), time_max_s=100.0)
    job.now = 50.0
    job.happens(Paused())
    job.now = 500.0
    assert not any(isinstance(effect, Finish) for effect in job.happens(Resumed()))
    assert job.core.next_tick(job.now) == 550.0
    job.now = 550.0
    job.happens(Tick())
    job.settle()
    assert isinstance(job.effects[-1], Finish)


def test_resuming_twice_or_pausing_twice_changes_nothing() -> None:
    pause = Pause()
    pause.begin(1.0)
    pause.begin(2.0)
    assert pause.since == 1.0
    pause.end(4.0)
    pause.end(9.0)
    assert pause.total_s == 3.0


def test_a_round_that_waits_for_a_person_is_paused_too() -> None:
    job = new_job(rounds)
    job.now = 30.0
    job.happens(Tick())
    assert job.core.word == "PAUSED"
    assert status_of(job.core, job.now).paused_by is PausedBy.ROUNDS
    job.happens(Resumed())
    assert job.core.word == "OPEN"
    assert status_of(job.core, job.now).paused_by is None


def test_the_status_says_who_paused_the_job_and_how_old_the_oldest_lease_is(job: Job) -> None:
    job.ask("a")
    job.now = 41.0
    job.happens(Paused())
    job.now = 261.0
    status = status_of(job.core, job.now)
    assert status.waiting_for == (
        "a person, who paused it 4 min ago and may resume it; "
        "0 of 2 updates for version 1; 1 tasks are out; oldest lease 4 min"
    )
    assert (status.state, status.oldest_lease_s) == ("PAUSED", 261.0)
    assert status.paused_by is PausedBy.PERSON


def test_nobody_has_paused_a_job_that_ends(job: Job) -> None:
    job.happens(Paused())
    job.happens(Cancelled("cancelled by a person"))
    assert status_of(job.core, job.now).paused_by is None


def test_at_the_moment_that_is_told_the_clock_says_what_it_was_asked_for() -> None:
    pause = Pause(total_s=56.339148029166054)
    at = pause.when(62.6664261985)
    assert at is not None
    assert pause.clock(at) >= 62.6664261985
