"""A job core with hand-sized parts, and short words for talking to it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np

from turnout.aggregator.mean import MeanAggregator
from turnout.aggregator.optimizer import ServerSGD
from turnout.blobs.base import BlobRef
from turnout.job.core.core import JobCore
from turnout.job.core.events import (
    Answer,
    Cancelled,
    Commit,
    CommitFailed,
    Committed,
    Effect,
    Event,
    Finish,
    Result,
    ResultOffered,
    TaskAsked,
)
from turnout.job.core.parts import Parts, Rules
from turnout.job.journal.memory import MemoryJournal
from turnout.job.places.leases import LeaseTime, Seal
from turnout.job.places.pacing import AppointmentBook
from turnout.job.places.places import Places
from turnout.job.places.selection import CheckIn
from turnout.job.workflow.buffered import Buffered
from turnout.job.workflow.evaluation import Evaluation
from turnout.job.workflow.workflow import Workflow
from turnout.messages import DeviceInfo, ResultOffer, ResultReport, ResultResponse, TaskRequest, TaskResponse

LEASE_S = 60.0
RESEND_S = 100.0
KEY = b"k" * 32


def blob_of(version: int) -> BlobRef:
    return BlobRef(f"{version:064x}", 100)


def make_parts(workflow: Workflow, **changes: Any) -> Parts:
    parts: dict[str, Any] = {
        "workflow": workflow,
        "seal": Seal("job-1", KEY),
        "aggregator": MeanAggregator(2, weight_max=10.0),
        "optimizer": ServerSGD(learning_rate=1.0),
        "discount": lambda staleness: 1.0,
        "places": Places(
            selection=CheckIn(window_s=0.0),
            lease_time=LeaseTime(LEASE_S, 1.0, 1000.0),
            weight_max=10.0,
            resend_window_s=RESEND_S,
            participation_interval_s=0.0,
        ),
        "pacing": AppointmentBook(rate=10.0, wait_min_s=1.0, wait_max_s=100.0),
        "evaluation": Evaluation(every=0),
        "rng": Random(1),
    }
    return Parts(**{**parts, **changes})


@dataclass
class Job:
    """One core and its journal; commits happen when the test says so."""

    core: JobCore
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    now: float = 0.0
    answers: dict[int, TaskResponse | ResultResponse] = field(default_factory=dict)
    effects: list[Effect] = field(default_factory=list)
    committing: Commit | None = None
    tickets: int = 0
    keeps_grants: bool = True  # commits that only save what was given out happen at once
    between_s: float = 0.02  # time before each report: longer than the pause after a commit

    def start(self) -> "Job":
        self.take(self.core.start(self.now, self.journal.load()))
        self.commit()
        return self

    def take(self, effects: list[Effect]) -> None:
        self.effects += effects
        for effect in effects:
            if isinstance(effect, Answer):
                assert effect.ticket not in self.answers, "one answer a ticket"
                self.answers[effect.ticket] = effect.response
            if isinstance(effect, Commit):
                assert self.committing is None, "never two commits at once"
                self.committing = effect

    def happens(self, event: Event) -> list[Effect]:
        before = len(self.effects)
        self.take(self.core.handle(event, self.now))
        if self.committing is not None and self.saves_grants_only(self.committing):
            self.commit()
        return self.effects[before:]

    def saves_grants_only(self, commit: Commit) -> bool:
        """Nobody waits for this commit; the tests that look at such commits say so."""
        published = self.core.models.has(commit.snapshot.version)
        return self.keeps_grants and published and not self.core.uncommitted() and not self.core.commits.error

    def commit(self, took_s: float = 0.001) -> list[Effect]:
        """The commit under way succeeds."""
        assert self.committing is not None, "nothing is being committed"
        snapshot, self.committing = self.committing.snapshot, None
        self.journal.commit(snapshot)
        return self.happens(Committed(snapshot.commit, took_s, blob_of(snapshot.version)))

    def fail_commit(self, but_it_happened: bool = False) -> list[Effect]:
        assert self.committing is not None
        snapshot, self.committing = self.committing.snapshot, None
        if but_it_happened:
            self.journal.commit(snapshot)
        blob = blob_of(snapshot.version) if but_it_happened else None
        return self.happens(CommitFailed(snapshot.commit, "disk full", self.journal.load(), blob))

    def settle(self) -> None:
        """Commit until there is nothing to commit."""
        while self.committing is not None:
            self.commit()

    def ticket(self) -> int:
        self.tickets += 1
        return self.tickets

    def ask(self, device: str) -> TaskResponse:
        ticket = self.ticket()
        self.happens(TaskAsked(ticket, TaskRequest(DeviceInfo(device), "job-1")))
        answer = self.answers.get(ticket)
        assert isinstance(answer, TaskResponse), "the answer was held"
        return answer

    def report(
        self,
        device: str,
        task: TaskResponse,
        update: tuple[float, ...] = (1.0, 0.0),
        examples: float = 1.0,
        absolute: bool = False,
    ) -> Callable[[], ResultResponse | None]:
        """Send a result; the returned function tells the answer, None while it is held."""
        ticket = self.ticket()
        self.now += self.between_s
        data = memoryview(np.array(update, dtype="<f4").tobytes())
        who, task_id = DeviceInfo(device), task.task_id or ""
        report = ResultReport(who, "job-1", task_id, "train", data, num_examples=examples, absolute=absolute)
        self.happens(Result(ticket, report))

        def answer() -> ResultResponse | None:
            found = self.answers.get(ticket)
            assert found is None or isinstance(found, ResultResponse)
            return found

        return answer

    def offer(self, device: str, task_id: str) -> ResultResponse | None:
        ticket = self.ticket()
        self.happens(ResultOffered(ticket, ResultOffer(DeviceInfo(device), "job-1", task_id)))
        answer = self.answers.get(ticket)
        assert answer is None or isinstance(answer, ResultResponse)
        return answer

    def restart(self) -> "Job":
        """The process was killed; another takes over from the journal."""
        again = Job(
            JobCore(self.core.rules, self.remake(), np.zeros(2, np.float32), checks=True), self.journal, self.now
        )
        again.remake = self.remake
        return again.start()

    remake: Callable[[], Parts] = lambda: make_parts(Buffered(4, 2, 3))


def new_job(make_workflow: Callable[[], Workflow], **changes: Any) -> Job:
    """``changes``: of the rules and of the parts."""
    rules = {key: changes.pop(key) for key in changes.keys() & Rules.__slots__}
    return a_job_of(lambda: make_parts(make_workflow(), **changes), **rules)


def a_job_of(remake: Callable[[], Parts], **changes: Any) -> Job:
    """Like ``new_job``, of parts that ``remake`` makes anew for each process."""
    rules = {
        "job_id": "job-1",
        "name": "digits",
        "by_examples": True,
        "versions_max": None,
        "time_max_s": None,
        "device_settings": {"epochs": 1},
    }
    job = Job(JobCore(Rules(**{**rules, **changes}), remake(), np.zeros(2, np.float32), checks=True))  # type: ignore[arg-type]
    job.remake = remake
    return job.start()


def buffered(goal: int = 2, concurrency: int = 4, staleness_max: int = 3, least: int = 0) -> Buffered:
    return Buffered(concurrency=concurrency, goal=goal, staleness_max=staleness_max, least=least)


def the_end(job: Job) -> Finish:
    """Commit what there is to commit; the job must have announced its end then."""
    job.settle()
    last = job.effects[-1]
    assert isinstance(last, Finish), "the job goes on"
    return last


def stop(job: Job) -> None:
    job.happens(Cancelled("enough"))
