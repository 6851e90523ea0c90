"""Whatever happens to a job, in whatever order, its invariants hold."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.job.a_job import Job, a_job_of, blob_of, buffered, make_parts, new_job, stop
from turnout.job.core import invariants
from turnout.job.core.events import CommitDoubtful, Evaluated, Paused, Recalled, Resumed, Tick
from turnout.job.core.states import Closing, Happened, InvalidTransition, Open, Over, Recalling
from turnout.job.workflow.evaluation import Evaluation
from turnout.job.workflow.ranking import Ranking
from turnout.job.workflow.rounds import Rounds
from turnout.messages import TaskResponse

DEVICES = "abcdefg"
HAPPENINGS = (
    *("ask", "report", "report", "far", "offer", "tick", "long_tick", "commit", "commit", "fail", "happened", "doubt"),
    *("pause", "resume", "evaluated", "not_finite", "recalled", "restart"),
)
STEPS = st.lists(st.tuples(st.sampled_from(HAPPENINGS), st.sampled_from(DEVICES)), max_size=60)


class Course:
    """A job to which things happen, as its shell would let them."""

    def __init__(self, workflow: Callable[[], object]) -> None:
        def parts() -> object:
            ranking = Ranking("accuracy", keep=2)
            return make_parts(workflow(), evaluation=Evaluation(every=1), ranking=ranking)  # type: ignore[arg-type]

        self.job = a_job_of(parts)  # type: ignore[arg-type]
        self.job.keeps_grants = False
        self.tasks: dict[str, TaskResponse] = {}

    def step(self, what: str, device: str) -> None:
        job, core = self.job, self.job.core
        match what:
            case "ask":
                self._ask(device)
            case "report" | "far" if device in self.tasks:
                job.report(device, self.tasks[device], (1e30, 0.0) if what == "far" else (1.0, 0.0))
            case "offer" if device in self.tasks:
                job.offer(device, self.tasks[device].task_id or "")
            case "tick" | "long_tick":
                job.now += 1.0 if what == "tick" else 70.0
                job.happens(Tick())
            case "commit" if job.committing is not None:
                job.commit()
            case "fail" | "happened" if job.committing is not None:
                job.fail_commit(but_it_happened=what == "happened")
            case "doubt" if job.committing is not None and not core.commits.doubtful:
                job.happens(CommitDoubtful(job.committing.snapshot.commit, "the disk is gone"))
            case "pause" | "resume":
                job.happens(Paused() if what == "pause" else Resumed())
            case "evaluated" | "not_finite" if core.parts.evaluation.running:
                self._evaluated(what == "evaluated")
            case "recalled" if isinstance(core.state, Recalling):
                job.happens(Recalled(core.state.version, core.model))
            case "restart":
                self.job = job.restart()
                self.job.keeps_grants = False

    def _ask(self, device: str) -> None:
        from turnout.job.core.events import TaskAsked
        from turnout.messages import DeviceInfo, TaskRequest

        ticket = self.job.ticket()
        self.job.happens(TaskAsked(ticket, TaskRequest(DeviceInfo(device), "job-1")))
        answer = self.job.answers.get(ticket)
        if isinstance(answer, TaskResponse) and answer.task_id is not None:
            self.tasks[device] = answer

    def _evaluated(self, finite: bool) -> None:
        version = self.job.core.parts.evaluation._running
        if finite:
            self.job.happens(Evaluated(version, {"accuracy": version * 7 % 10}))
        else:
            self.job.happens(Evaluated(version, None, "not finite", {"accuracy"}))


@pytest.mark.parametrize(
    "workflow",
    [lambda: buffered(least=1), lambda: Rounds(2, 2.0, deadline_s=60.0, quorum=1.0, extensions_max=1)],
    ids=["buffered", "rounds"],
)
@settings(max_examples=150, deadline=None)
@given(steps=STEPS, ends_after=st.integers(0, 80))
def test_the_invariants_hold_after_every_event(
    workflow: Callable[[], object], steps: list[tuple[str, str]], ends_after: int
) -> None:
    course = Course(workflow)
    for number, (what, device) in enumerate(steps):
        if number == ends_after:
            stop(course.job)
        course.step(what, device)


def test_a_result_in_no_sum_is_found() -> None:
    job = new_job(buffered)
    job.report("a", job.ask("a"))
    job.core.parts.aggregator.clear()
    with pytest.raises(AssertionError, match="1 are counted"):
        invariants.check(job.core)


def test_a_task_that_was_added_and_not_claimed_is_found() -> None:
    job = new_job(buffered)
    job.report("a", job.ask("a"))
    job.core.staged.fresh = {7: []}
    with pytest.raises(AssertionError, match="task 7 is staged, and not claimed"):
        invariants.check(job.core)


def test_a_version_that_devices_get_before_its_commit_is_found() -> None:
    job = new_job(lambda: buffered(goal=1))
    job.report("a", job.ask("a"))
    assert isinstance(job.core.state, Closing)
    job.core.models.publish(1, blob_of(1))
    with pytest.raises(AssertionError, match="version 1 is published, and its commit is under way"):
        invariants.check(job.core)


def test_an_arrow_that_is_not_in_the_table_names_both_states_and_what_happened(job: Job) -> None:
    assert job.core.state == Open()
    message = 'InvalidTransition|"nothing is left to do" does not lead from Open.* to Over'
    over = Over(end=None, durable=True)  # type: ignore[arg-type]
    with pytest.raises(InvalidTransition, match=message):
        job.core.to(Happened.ANNOUNCED, over, job.now)
