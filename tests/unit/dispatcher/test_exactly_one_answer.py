"""Whatever happens, in whatever order: every submitted request is answered exactly once, and nothing is left behind."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.unit.dispatcher.wires import DEVICE, World, result_report, task_request
from turnout.dispatcher.pending import DispatcherLimits
from turnout.messages import (
    EdgeRequest,
    JobCompleted,
    JobFailed,
    JobRequest,
    ResultOffer,
    ResultResponse,
    SelectionRequest,
    SelectionResponse,
    Status,
    TableSnapshot,
    TaskResponse,
    Topic,
)

JOBS = st.sampled_from(["job-1", "job-2", ""])
RESULTS_BYTES_MAX = 500
REPLIES: dict[Topic, Any] = {
    Topic.TASK: TaskResponse(Status.DONE),
    Topic.SELECTION: SelectionResponse(Status.OK),
    Topic.RESULT: ResultResponse(Status.OK, True),
    Topic.OFFER: ResultResponse(Status.OK, False),
}


class DispatcherMachine(RuleBasedStateMachine):
    """Devices, jobs and control in any order; the dispatcher sits between."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(DispatcherLimits(inflight_max=3, results_bytes_max=RESULTS_BYTES_MAX))
        self.asked_for_room: list[tuple[str, int, list[bool]]] = []
        self.world.launch("job-1")

    @rule(job=JOBS, kind=st.integers(0, 3), size=st.integers(0, 60))
    def submit(self, job: str, kind: int, size: int) -> None:
        requests: list[EdgeRequest] = [
            task_request(job),
            SelectionRequest(DEVICE, job),
            result_report(job, bytes(size)),
            ResultOffer(DEVICE, job, "lease"),
        ]
        self.world.submit(requests[kind])

    @rule(name=st.sampled_from(["mnist", "", "unknown"]))
    def ask_for_a_job(self, name: str) -> None:
        assert len(self.world.submit(JobRequest(DEVICE, name))) == 1

    @precondition(lambda self: self.world.wires.sent)
    @rule(at=st.integers(0, 1000))
    def reply(self, at: int) -> None:
        """The job answers, perhaps late, perhaps twice."""
        at %= len(self.world.wires.sent)
        self.world.wires.reply(REPLIES[self.world.wires.sent[at][2]], at)

    @precondition(lambda self: self.world.wires.sent)
    @rule(at=st.integers(0, 1000), nonsense=st.booleans())
    def fail(self, at: int, nonsense: bool) -> None:
        at %= len(self.world.wires.sent)
        if nonsense:
            self.world.wires.reply("nonsense", at)
        else:
            self.world.wires.inbox.failed(self.world.wires.sent[at][1], "KeyError")

    @rule(passed=st.floats(0.0, 9.0))
    def tick(self, passed: float) -> None:
        self.world.tick(self.world.now + passed)

    @rule(job=JOBS)
    def launch(self, job: str) -> None:
        self.world.launch(job, connect=False)

    @rule(job=JOBS, reason=st.sampled_from([JobCompleted, JobFailed]))
    def end(self, job: str, reason: type[JobCompleted]) -> None:
        self.world.dispatcher.apply(reason(job))

    @rule()
    def reconnect_to_control(self) -> None:
        self.world.dispatcher.apply(TableSnapshot())

    @rule(job=JOBS)
    def connect(self, job: str) -> None:
        if job in self.world.wires.opened and job not in self.world.wires.up:
            self.world.wires.connect(job)

    @rule(job=JOBS)
    def lose(self, job: str) -> None:
        self.world.wires.lose(job)

    @rule(full=st.booleans())
    def fill_the_queue(self, full: bool) -> None:
        self.world.wires.full = full

    @rule(job=JOBS, size=st.integers(1, 600))
    def reserve(self, job: str, size: int) -> None:
        resumed: list[bool] = []
        if self.world.dispatcher.room.reserve(job, size, lambda: resumed.append(True)):
            resumed.append(True)
        self.asked_for_room.append((job, size, resumed))

    @precondition(lambda self: any(resumed for _, _, resumed in self.asked_for_room))
    @rule()
    def release(self) -> None:
        at = next(at for at, (_, _, resumed) in enumerate(self.asked_for_room) if resumed)
        job, size, _ = self.asked_for_room.pop(at)
        self.world.dispatcher.room.release(job, size)

    @invariant()
    def nobody_is_answered_twice(self) -> None:
        assert all(len(answers) <= 1 for answers in self.world.answers.all)

    @invariant()
    def room_is_given_at_most_once_and_within_a_job_in_order(self) -> None:
        for job in ("job-1", "job-2", ""):
            given = [len(resumed) for asker, _, resumed in self.asked_for_room if asker == job]
            assert given == sorted(given, reverse=True)
            assert all(count <= 1 for count in given)
        sizes = [size for _, size, resumed in self.asked_for_room if resumed]
        assert sum(sizes) <= RESULTS_BYTES_MAX or len(sizes) == 1

    def teardown(self) -> None:
        """When everything has timed out, everybody was answered, has had room, and nothing is held."""
        self.world.tick(self.world.now + 10.0)
        while self.asked_for_room:
            assert any(resumed for _, _, resumed in self.asked_for_room), "room is free, and nobody was told"
            self.release()
        assert all(len(answers) == 1 for answers in self.world.answers.all)
        assert len(self.world.dispatcher._pending) == 0
        assert self.world.dispatcher._leaving == set()
        assert self.world.dispatcher.room.used == 0
        assert set(self.world.wires.opened) == {job.job_id for job in self.world.dispatcher._table}


TestDispatcherMachine = DispatcherMachine.TestCase
TestDispatcherMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
