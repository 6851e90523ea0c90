"""What a job does when a commit fails, and when its process was killed."""

import pytest

from tests.unit.job.a_job import Job, new_job
from turnout.aggregator.mean import TOTAL
from turnout.job.core.commits import RETRY_COMMIT_S
from turnout.job.core.events import CommitDoubtful, Resumed, Tick
from turnout.job.core.status import status_of
from turnout.job.journal.journal import Snapshot
from turnout.job.places.counted import COUNTED
from turnout.job.places.leases import LEASES
from turnout.job.places.places import TAKEN, TASK_BLOCK
from turnout.job.workflow.buffered import Buffered
from turnout.job.workflow.rounds import Rounds
from turnout.messages import Status


def test_nobody_is_told_counted_when_the_commit_failed(job: Job) -> None:
    answer = job.report("a", job.ask("a"))
    job.fail_commit()
    told = answer()
    assert told is not None
    assert (told.status, told.counted) == (Status.RETRY, False)
    assert job.core.parts.aggregator.count == 0
    assert "disk full" in job.core.warnings.newest[0]


def test_a_commit_under_way_is_no_state_for_people(job: Job) -> None:
    job.report("a", job.ask("a"))
    assert (job.core.word, status_of(job.core, job.now).state) == ("OPEN", "OPEN")


def test_a_snapshot_has_whole_tables_only_after_a_commit_that_failed() -> None:
    """What came and went before that commit is then in no list of changes."""
    job = new_job(lambda: Buffered(4, 2, 1))
    job.report("a", job.ask("a"))
    job.ask("b")
    first = snapshot_under_way(job)
    assert not any(rows.whole for rows in first.tables.values())
    assert (len(first.tables[LEASES].came), len(first.tables[LEASES].went)) == (0, 1), "a has reported"
    job.fail_commit()
    job.now += RETRY_COMMIT_S
    job.happens(Tick())
    second = snapshot_under_way(job)
    assert len(second.rows(LEASES)) == 1, "that of b"
    assert len(second.rows(TAKEN)) == 2
    assert len(second.rows(COUNTED)) == 1


def snapshot_under_way(job: Job) -> Snapshot:
    assert job.committing is not None
    return job.committing.snapshot


def test_a_result_sent_again_after_a_failed_commit_counts_once(job: Job) -> None:
    task = job.ask("a")
    job.report("a", task)
    job.fail_commit()
    job.now = 2.0
    again = job.report("a", task)
    job.commit()
    told = again()
    assert told is not None
    assert (told.counted, told.duplicate) == (True, False)
    assert job.core.parts.aggregator.vectors()[TOTAL].tolist() == [1.0, 0.0]


def test_results_staged_while_the_commit_failed_are_not_lost_silently(job: Job) -> None:
    first, second = job.ask("a"), job.ask("b")
    job.core.parts.workflow = Buffered(4, 8, 3)
    job.report("a", first)
    staged_meanwhile = job.report("b", second)
    job.fail_commit()
    told = staged_meanwhile()
    assert told is not None
    assert told.status is Status.RETRY


def test_a_commit_that_failed_but_happened_counts(job: Job) -> None:
    answer = job.report("a", job.ask("a"))
    job.fail_commit(but_it_happened=True)
    told = answer()
    assert told is not None
    assert told.counted


def test_a_version_whose_commit_failed_was_never_there(job: Job) -> None:
    tasks = {device: job.ask(device) for device in "ab"}
    job.report("a", tasks["a"])
    job.commit()
    job.report("b", tasks["b"])
    job.fail_commit()
    assert job.core.version == 0
    assert job.core.model.tolist() == [0.0, 0.0]
    assert job.core.parts.aggregator.count == 1, "a is durable"
    job.now += RETRY_COMMIT_S
    job.happens(Tick())
    job.commit()
    given = job.ask("c").task_data
    assert given is not None
    assert given.meta["model_version"] == 0


def test_after_a_failed_commit_the_next_try_waits(job: Job) -> None:
    tasks = {device: job.ask(device) for device in "ab"}
    job.report("a", tasks["a"])
    job.fail_commit()
    job.report("b", tasks["b"])
    assert job.committing is None
    due = job.core.next_tick(job.now)
    assert due == 0.02 + RETRY_COMMIT_S
    job.now = due
    job.happens(Tick())
    assert job.committing is not None


def test_while_nothing_can_be_saved_the_job_is_full_and_gives_no_work(job: Job) -> None:
    tasks = {device: job.ask(device) for device in "ab"}
    job.report("a", tasks["a"])
    job.fail_commit()
    assert job.core.word == "FULL"
    refused = job.ask("c")
    assert refused.status is Status.RETRY
    assert refused.message == "the job cannot save results now"
    assert refused.retry_wait is not None


def test_a_full_job_tries_again_by_itself_and_goes_on_when_there_is_space(job: Job) -> None:
    job.report("a", job.ask("a"))
    for _ in range(3):
        job.fail_commit()
        due = job.core.next_tick(job.now)
        assert due == job.now + RETRY_COMMIT_S
        job.now = due
        job.happens(Tick())
    job.commit()
    assert job.core.word == "OPEN"
    assert job.ask("c").status is Status.OK
    assert len(job.core.warnings.newest) == 1, "said once, not once a try"


def test_a_disk_that_takes_small_commits_but_no_version_is_shown_as_full_all_the_time(job: Job) -> None:
    """The second result closes the version, and its model does not fit; the retry without it does, again and again."""
    shown = set()
    for number in range(6):
        job.now += 2.0
        job.happens(Tick())
        if job.committing is not None and job.committing.snapshot.version > 0:
            job.fail_commit()
        job.settle()
        answer = job.report(f"d{number}", job.ask(f"d{number}"))
        if job.committing is not None and job.committing.snapshot.version > 0:
            job.fail_commit()
            job.now += 2.0
            job.happens(Tick())
        job.settle()
        shown.add(job.core.word)
        assert answer() is not None
    assert shown == {"OPEN", "FULL"}
    assert job.core.word == "FULL"
    assert len(job.core.warnings.newest) == 1


def test_while_nobody_knows_whether_a_commit_happened_devices_are_told_to_send_again(job: Job) -> None:
    tasks = {device: job.ask(device) for device in "ab"}
    waiting = job.report("a", tasks["a"])
    assert job.committing is not None
    job.happens(CommitDoubtful(job.committing.snapshot.commit, "the disk is gone"))
    assert (told := waiting()) is not None
    assert (told.status, told.counted) == (Status.RETRY, False)
    assert (told := job.report("b", tasks["b"])()) is not None
    assert told.status is Status.RETRY
    assert job.offer("b", tasks["b"].task_id or "") is not None
    assert job.ask("c").message == "the job cannot save results now"
    assert job.core.word == "FULL"
    assert job.core.next_tick(job.now) is None or job.committing is not None, "no other commit till it is known"


def test_copies_of_a_result_in_a_doubtful_commit_do_not_wait(job: Job) -> None:
    task = job.ask("a")
    job.report("a", task)
    assert job.committing is not None
    job.happens(CommitDoubtful(job.committing.snapshot.commit, "the disk is gone"))
    for _ in range(5):
        assert (told := job.report("a", task)()) is not None
        assert (told.status, told.counted) == (Status.RETRY, False)
        assert (told := job.offer("a", task.task_id or "")) is not None
        assert told.status is Status.RETRY


def test_only_the_newest_copies_of_a_result_wait_for_its_commit(job: Job) -> None:
    task = job.ask("a")
    copies = [job.report("a", task) for _ in range(5)]
    told = [copy() for copy in copies]
    assert [answer is not None and answer.status for answer in told] == [Status.RETRY] * 3 + [False] * 2
    job.commit()
    for copy in copies[3:]:
        assert (answer := copy()) is not None
        assert answer.counted
    assert job.core.parts.aggregator.count == 1


@pytest.mark.parametrize("happened", [False, True])
def test_when_it_is_known_what_became_of_a_doubtful_commit_a_result_sent_again_counts_once(
    job: Job, happened: bool
) -> None:
    task = job.ask("a")
    job.report("a", task)
    assert job.committing is not None
    job.happens(CommitDoubtful(job.committing.snapshot.commit, "the disk is gone"))
    job.fail_commit(but_it_happened=happened)
    job.now += RETRY_COMMIT_S
    again = job.report("a", task)
    job.settle()
    assert (told := again()) is not None
    assert (told.counted, told.duplicate) == (True, happened)
    assert job.core.parts.aggregator.count == 1
    assert job.core.word == "OPEN"


def test_a_restarted_job_goes_on_where_its_last_commit_was(job: Job) -> None:
    task = job.ask("a")
    job.report("a", task)
    job.commit()
    job.report("b", job.ask("b"))  # staged, never committed
    again = job.restart()
    assert again.core.parts.aggregator.vectors()[TOTAL].tolist() == [1.0, 0.0]
    told = again.report("a", task)()
    assert told is not None
    assert (told.counted, told.duplicate) == (True, True)


def test_a_result_that_was_staged_when_the_job_was_killed_counts_when_it_is_sent_again(job: Job) -> None:
    task = job.ask("b")
    unanswered = job.report("b", task)
    again = job.restart()
    assert unanswered() is None
    answer = again.report("b", task)
    again.settle()
    told = answer()
    assert told is not None
    assert (told.counted, told.duplicate) == (True, False)


def test_a_restarted_job_never_gives_a_number_twice(job: Job) -> None:
    job.ask("a")
    again = job.restart()
    given = again.ask("b").cookie
    assert given == {"model_version": 0, "device_selection_id": TASK_BLOCK + 1}


def test_live_leases_survive_with_the_commits(job: Job) -> None:
    slow = job.ask("slow")
    job.report("a", job.ask("a"))
    job.commit()
    again = job.restart()
    assert again.ask("slow").task_id == slow.task_id


def test_requests_before_the_first_commit_of_a_process_are_held(job: Job) -> None:
    from turnout.job.core.core import JobCore
    from turnout.job.core.events import TaskAsked
    from turnout.messages import DeviceInfo, TaskRequest, TaskResponse

    fresh = Job(JobCore(job.core.rules, job.remake(), job.core.model), job.journal)
    fresh.take(fresh.core.start(0.0, job.journal.load()))
    assert fresh.core.word == "RECOVER"
    ticket = fresh.ticket()
    assert fresh.happens(TaskAsked(ticket, TaskRequest(DeviceInfo("a"), "job-1"))) == []
    fresh.commit()
    answer = fresh.answers[ticket]
    assert isinstance(answer, TaskResponse)
    assert answer.status is Status.OK


def test_the_first_commit_is_tried_again_until_it_succeeds() -> None:
    job = new_job(lambda: Buffered(4, 2, 3))
    fresh = Job(job.core.__class__(job.core.rules, job.remake(), job.core.model))
    fresh.take(fresh.core.start(0.0, None))
    fresh.fail_commit()
    assert fresh.core.next_tick(0.0) == 1.0
    fresh.now = 1.0
    fresh.happens(Tick())
    fresh.commit()
    assert fresh.ask("a").status is Status.OK


def test_a_duplicate_is_known_though_the_grant_of_its_lease_was_never_committed(job: Job) -> None:
    """Seed 137: the version was forgotten by a date that only the killed process knew."""
    task, other = job.ask("a"), job.ask("b")
    again = job.restart()
    again.report("a", task)
    again.settle()
    again.report("b", other)
    again.settle()
    for index in range(20):
        again.report(f"other-{index}", again.ask(f"other-{index}"))
        again.settle()
    assert again.core.version > again.core.parts.workflow.staleness_max + 1
    told = again.report("a", task)()
    assert told is not None
    assert (told.counted, told.duplicate) == (True, True)


def test_a_failed_commit_does_not_undo_that_a_person_resumed_the_job() -> None:
    job = new_job(lambda: Rounds(goal=3, over_selection=1.0, deadline_s=30.0, quorum=1.0, extensions_max=0))
    tasks = {device: job.ask(device) for device in "ab"}
    job.report("a", tasks["a"])
    job.settle()
    job.now = 31.0
    job.happens(Tick())
    assert job.core.word == "PAUSED"
    job.report("b", tasks["b"])
    job.settle()  # now the journal knows it as paused
    job.keeps_grants = False
    job.now += 1.0
    job.happens(Resumed())
    job.fail_commit()
    job.now += RETRY_COMMIT_S
    job.happens(Tick())
    job.settle()
    assert job.core.word == "OPEN"
    assert job.ask("c").status is Status.OK


def test_a_round_that_paused_itself_below_quorum_waits_for_a_person_after_a_restart_too() -> None:
    job = new_job(lambda: Rounds(goal=3, over_selection=1.0, deadline_s=30.0, quorum=1.0, extensions_max=0))
    tasks = {device: job.ask(device) for device in "ab"}
    job.report("a", tasks["a"])
    job.settle()
    job.now = 31.0
    job.happens(Tick())
    job.report("b", tasks["b"])
    job.settle()  # now the journal knows it as paused
    again = job.restart()
    waits_for = "a person to resume or cancel it: 2 of 3 updates for version 1 came in 1 deadlines"
    assert (again.core.word, status_of(again.core, again.now).waiting_for) == ("PAUSED", waits_for)
    assert again.ask("d").status is Status.RETRY
    assert again.core.parts.workflow.deadline() is None
    again.now = 100.0
    again.happens(Resumed())
    assert again.core.word == "OPEN"
    assert again.core.parts.workflow.deadline() == 130.0
    answer = again.report("d", again.ask("d"))
    again.settle()
    assert (told := answer()) is not None
    assert told.counted
    assert again.core.version == 1, "of both results before the restart and the one after it"


def test_a_round_is_paused_after_a_restart_though_no_result_came_after_its_last_deadline() -> None:
    job = new_job(lambda: Rounds(goal=2, over_selection=1.0, deadline_s=30.0, quorum=1.0, extensions_max=0))
    job.report("a", job.ask("a"))
    job.settle()
    job.now = 31.0
    job.happens(Tick())
    job.settle()
    assert job.restart().core.word == "PAUSED"
