"""What a device does next: get a job, get a task, train, report, and again. Pure.

A shell (``client.py`` for one device, ``turnout.fleet`` for many) asks ``next(now)`` and does what it says: send a
request, train, or sleep. It then tells the session what became of it: ``received``, ``failed`` or ``trained``. One
request or training is under way at a time.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec

from turnout import messages
from turnout.device.meanings import AGAIN, END, LOOK, NEXT, OVER, TAKE_JOB, TRAIN, Then, meaning
from turnout.messages import (
    OK,
    VALIDATE,
    VALIDATED,
    DeviceInfo,
    EdgeRequest,
    EdgeResponse,
    JobRequest,
    JobResponse,
    Message,
    ResultReport,
    ResultResponse,
    Status,
    TaskRequest,
    TaskResponse,
)

ACCEPT = ("safetensors",)  #: A model comes by reference, never inside a reply.
ACCEPT_ALL = (*ACCEPT, VALIDATE)  #: The device can measure a model, too.
REASONS_MAX = 32  #: Different reasons of refusal that are counted apart; what comes later is "other".
REASON_CHARS_MAX = 120

_NUMBER = re.compile(r"(?<![\w-])[-+]?\d+(\.\d+)?(e[-+]?\d+)?(?![\w-])")  # whole ones: not the digits of a job's id


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """How patient a device is. The defaults suit phones: nobody waits for them, and there are many.

    Where all of N devices lose their server at once, it hears of at most N / ``backoff_base_s`` of them a second, were
    it back at once; after an outage longer than ``backoff_max_s`` of at most about 2 N / ``backoff_max_s``.
    """

    backoff_base_s: float = 5.0  #: Longest wait after the first request without an answer; doubles with each further.
    backoff_max_s: float = 300.0  #: Longest wait of all.
    retry_wait_max_s: float = 86_400.0  #: Upper bound on a wait that the server asks for.
    retry_wait_spread: float = 0.2  #: Share of the wait that a server names by which it may take longer.
    resend_window_s: float = 600.0  #: How long past its lease a result is sent again, while nobody answers.
    counted_max: int | None = None  #: End after this many counted results.
    stay: bool = False  #: When the job wants no more of this device: look for a job again, rather than end.
    stay_wait_s: float = 300.0  #: With ``stay``: how long until then.


DEFAULT_POLICY = SessionPolicy()
NO_EXAMPLES = "the device has no examples"  #: Why a session ended.


# --- what to do, and what became of it ----------------------------------------------------------------------------


class Send(msgspec.Struct, frozen=True):
    """Send this request; then call ``received`` or ``failed``."""

    request: EdgeRequest


class Train(msgspec.Struct, frozen=True):
    """Do this task; then call ``trained``."""

    task: TaskResponse


class Sleep(msgspec.Struct, frozen=True):
    """Nothing to do before ``until``."""

    until: float


class Ended(msgspec.Struct, frozen=True):
    """Nothing to do any more, unless ``resume`` is called."""

    reason: str


Action = Send | Train | Sleep | Ended


@dataclass(frozen=True, slots=True)
class TrainedUpdate:
    """What was learned: ``update`` is the flat float32 vector that ResultReport carries."""

    update: memoryview
    num_examples: float = 1.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    measured: bool = False  #: The task was to measure only: there is no update.


@dataclass(frozen=True, slots=True)
class TrainingFailed:
    """The task could not be done, which is reported: its place goes to another device at once.

    ``again``: another try may do better, as when the model could not be fetched. Nothing is reported then; the device
    asks again, and gets the same task while its lease lives.
    """

    reason: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class SatOut:
    """The device has no examples to do any task with: its place is given back, and its part in the job ends."""


@dataclass(slots=True)
class SessionCounters:
    """What came of it all. Many sessions may share one."""

    tasks: int = 0
    counted: int = 0  #: Results that the job counted, each once.
    duplicates: int = 0  #: Of these, how many were sent again though they had been counted.
    refused: dict[str, int] = field(default_factory=dict)  #: Results that were refused for good, by reason.
    given_up: int = 0  #: Results that nobody answered while it could still be known whether they had counted.
    trainings_failed: dict[str, int] = field(default_factory=dict)
    sat_out: int = 0  #: Devices that have no examples.
    unanswered: dict[str, int] = field(default_factory=dict)  #: Requests without an answer, by reason.


class Saved(Message, frozen=True):
    """A result that nobody acknowledged, as plain data (msgspec encodes it), and for how long it is worth sending."""

    report: ResultReport
    left_s: float


# --- the session --------------------------------------------------------------------------------------------------


class _Looking(msgspec.Struct, frozen=True):
    """Without a job."""


class _Asking(msgspec.Struct, frozen=True):
    """Of a job, without a task."""

    job_id: str


class _Training(msgspec.Struct, frozen=True):
    """On a task since ``since``."""

    task: TaskResponse
    job_id: str
    since: float


class _Reporting(msgspec.Struct, frozen=True):
    """With a result, or word of a failure, that nobody acknowledged; ``until`` is None before it was first sent."""

    report: ResultReport
    lease_until: float
    until: float | None = None

    @property
    def failed(self) -> bool:
        return self.report.status not in (OK, VALIDATED)


class _Over(msgspec.Struct, frozen=True):
    """At the end."""

    reason: str


_State = _Looking | _Asking | _Training | _Reporting | _Over


class Session:
    """One device's part in one job at a time, by its name.

    Waits without an answer are full jitter: uniform between nothing and a bound that doubles with each attempt
    (Brooker, "Exponential Backoff And Jitter", AWS 2015). The wait that an answer names is kept to, and prolonged a
    little; that of a refusal to answer (Retry-After) is prolonged by full jitter: a server says the same to all.
    """

    __slots__ = (
        "_accept", "_answered_by", "_cookie", "_counted", "_due", "_fruitless", "_rng", "_sits_out", "_state",
        "_stopped", "_unanswered", "capabilities", "counters", "device", "job_name", "policy",
    )  # fmt: skip

    def __init__(
        self,
        device: DeviceInfo,
        job_name: str,
        rng: Random,
        policy: SessionPolicy = DEFAULT_POLICY,
        counters: SessionCounters | None = None,
        capabilities: Mapping[str, Any] | None = None,
        accept: tuple[str, ...] = ACCEPT,
    ) -> None:
        self.device = device
        self.job_name = job_name
        self.policy = policy
        self.counters = counters or SessionCounters()
        self.capabilities = dict(capabilities) if capabilities else {}
        self._accept = accept
        self._rng = rng
        self._state: _State = _Looking()
        self._due = -math.inf
        self._answered_by: type[Message] | None = None
        self._cookie: dict[str, Any] | None = None
        self._unanswered = 0  # attempts in a row that brought nothing, not even a time to wait
        self._fruitless = 0  # tasks in a row that came to nothing
        self._counted = 0
        self._stopped = False
        self._sits_out = False

    @property
    def unacknowledged(self) -> ResultReport | None:
        """The result that is being kept, if there is one."""
        return self._state.report if isinstance(self._state, _Reporting) else None

    def next(self, now: float) -> Action:
        """What to do now. Asked again only after the last Send or Train came to an end."""
        assert self._answered_by is None, "the last request has neither an answer nor failed"
        state = self._state
        if isinstance(state, _Reporting):
            if state.until is not None and max(now, self._due) > state.until:
                return self._give_up(state, now)
        elif isinstance(state, _Training):
            return Train(state.task)
        elif isinstance(state, _Over):
            return Ended(state.reason)
        elif self._stopped:
            return Ended("stopped")
        if now < self._due:
            return Sleep(self._due)
        return self._send(state, now)

    def _give_up(self, state: _Reporting, now: float) -> Action:
        """Nobody answered while it could still be known whether this result had counted."""
        if not state.failed:
            self.counters.given_up += 1
            self._fruitless += 1
        self._settle(NEXT, state.report.job_id, now)
        return self.next(now)

    def _send(self, state: _Looking | _Asking | _Reporting, now: float) -> Send:
        if isinstance(state, _Looking):
            self._answered_by = JobResponse
            return Send(JobRequest(self.device, self.job_name, self.capabilities))
        if isinstance(state, _Asking):
            self._answered_by = TaskResponse
            return Send(TaskRequest(self.device, state.job_id, self._cookie, self._accept))
        self._answered_by = ResultResponse
        self._state = _Reporting(state.report, state.lease_until, self._until(state, now))
        return Send(state.report)

    # --- what became of it ---

    def received(self, response: EdgeResponse, now: float) -> None:
        """The answer to the last request. One that answers nothing (late, twice, another task's) changes nothing."""
        if type(response) is not self._answered_by or self._is_of_another_task(response):
            return
        self._answered_by = None
        then = meaning(response)
        if isinstance(response, ResultResponse) and then is not AGAIN:
            assert isinstance(self._state, _Reporting)
            if not self._state.failed:
                self._note(response)
            self._settle(then, self._state.report.job_id, now, response.retry_wait)
            return
        if then is TAKE_JOB:
            assert isinstance(response, JobResponse)
            assert response.job_id
            self._unanswered = 0
            self._cookie = None
            self._go(_Asking(response.job_id), now)
        elif then is TRAIN:
            assert isinstance(response, TaskResponse)
            self._take(response, now)
        elif then is AGAIN:
            self._again(now, now + self._wait(response.retry_wait))
        else:
            self._leave(then, now, response.retry_wait, response.message)

    def failed(self, reason: str, now: float, retry_wait: float | None = None) -> None:
        """No answer: a broken connection, a time-out, HTTP 429 or 5xx (whose Retry-After is ``retry_wait``)."""
        assert self._answered_by is not None, "nothing was asked"
        self._answered_by = None
        _count(self.counters.unanswered, reason)
        self._unanswered += 1
        told = _sane(retry_wait, self.policy) or 0.0
        self._again(now, now + told + self._jitter(self._unanswered - 1))

    def trained(self, outcome: TrainedUpdate | TrainingFailed | SatOut, now: float) -> None:
        """The task is done, or cannot be done."""
        state = self._state
        assert isinstance(state, _Training), "no task is under way"
        if isinstance(outcome, SatOut):
            self._sits_out = True
            self.counters.sat_out += 1
        if isinstance(outcome, TrainingFailed):
            self._fruitless += 1
            _count(self.counters.trainings_failed, outcome.reason)
            if outcome.again:
                self._settle(NEXT, state.job_id, now)
                return
        lease_until = state.since + (state.task.lease_s or 0.0)
        self._go(_Reporting(self._report(state, outcome), lease_until), now)

    # --- what its owner may want ---

    def stop(self) -> None:
        """Take no more tasks; end once the present one is reported."""
        self._stopped = True

    def resume(self, now: float) -> None:
        """Continue after ``stop``, or begin again after any other end."""
        self._stopped = self._sits_out = False
        if isinstance(self._state, _Over):
            self._counted = 0
            self._go(_Looking(), now)

    def abandon(self, until: float) -> None:
        """Forget the task, result or request under way, as when it is switched off; come back at ``until``."""
        self._answered_by = None
        match self._state:
            case _Training(job_id=job_id):
                self._go(_Asking(job_id), until)
            case _Reporting(report=report):
                self._go(_Asking(report.job_id), until)
            case state:
                self._go(state, until)

    def saved(self, now: float) -> Saved | None:
        """What must survive a restart of the app, if there is anything."""
        state = self._state
        return Saved(state.report, self._until(state, now) - now) if isinstance(state, _Reporting) else None

    def restore(self, saved: Saved, now: float) -> None:
        """Begin with a result of an earlier session. The time between is not counted: the job knows what is too old."""
        assert isinstance(self._state, _Looking), "a session is restored before it does anything"
        until = now + saved.left_s
        self._go(_Reporting(saved.report, until, until), now)

    # --- inside ---

    def _until(self, state: _Reporting, now: float) -> float:
        """When a result is too old to be sent, counted from its first sending."""
        if state.until is not None:
            return state.until
        # of a failure, all there is to say is that a place is free, which the lease's end says as well
        window_s = 0.0 if state.failed else self.policy.resend_window_s
        return max(state.lease_until, now) + window_s

    def _is_of_another_task(self, response: EdgeResponse) -> bool:
        if not isinstance(response, ResultResponse) or not isinstance(self._state, _Reporting):
            return False
        return response.task_id is not None and response.task_id != self._state.report.task_id

    def _report(self, state: _Training, outcome: TrainedUpdate | TrainingFailed | SatOut) -> ResultReport:
        task = state.task
        assert task.task_id
        assert task.task_name
        if not isinstance(outcome, TrainedUpdate):
            status = messages.NO_EXAMPLES if isinstance(outcome, SatOut) else Status.ERROR
            return ResultReport(
                self.device, state.job_id, task.task_id, task.task_name,
                memoryview(b""), status=status, cookie=task.cookie,
            )  # fmt: skip
        return ResultReport(
            self.device, state.job_id, task.task_id, task.task_name,
            outcome.update, outcome.num_examples, dict(outcome.metrics),
            VALIDATED if outcome.measured else OK, task.cookie,
        )  # fmt: skip

    def _take(self, task: TaskResponse, now: float) -> None:
        assert isinstance(self._state, _Asking)
        self.counters.tasks += 1
        self._unanswered = 0
        if task.cookie is not None:
            self._cookie = task.cookie
        self._go(_Training(task, self._state.job_id, now), now)

    def _note(self, response: ResultResponse) -> None:
        """Count what became of a result."""
        if response.counted:
            self._counted += 1
            self._fruitless = 0
            self.counters.counted += 1
            self.counters.duplicates += response.duplicate
        else:
            self._fruitless += 1
            _count(self.counters.refused, refusal(response))

    def _settle(self, then: Then, job_id: str, now: float, retry_wait: float | None = None) -> None:
        """The task is over, well or not: continue. A task that came to nothing is followed by a pause."""
        self._unanswered = 0
        if self.policy.counted_max is not None and self._counted >= self.policy.counted_max:
            self._state = _Over("enough results counted")
        elif self._sits_out:
            self._state = _Over(NO_EXAMPLES)
        elif then is NEXT:
            pause = self._jitter(self._fruitless - 1) if self._fruitless else 0.0
            self._go(_Asking(job_id), now + max(pause, self._told(retry_wait) or 0.0))
        else:
            self._leave(then, now, retry_wait)

    def _leave(self, then: Then, now: float, retry_wait: float | None, message: str | None = None) -> None:
        """This job is not for us any more."""
        if then is END:
            self._state = _Over(f"not understood by the server: {message or 'no reason given'}")
        elif then is OVER and not self.policy.stay:
            self._state = _Over("the job is done")
        elif then is OVER:
            self._go(_Looking(), now + max(self._spread(self.policy.stay_wait_s), self._told(retry_wait) or 0.0))
        else:
            assert then is LOOK
            self._go(_Looking(), now + self._wait(retry_wait))

    def _go(self, state: _State, due: float) -> None:
        self._state = state
        self._due = due

    def _again(self, now: float, due: float) -> None:
        """The same request at ``due``; a result once more at the end of its time, if that comes before."""
        state = self._state
        if isinstance(state, _Reporting) and state.until is not None and now < state.until:
            due = min(due, state.until)
        self._go(state, due)

    def _wait(self, retry_wait: float | None) -> float:
        """How long to wait before the next attempt, after an answer that may say so."""
        told = self._told(retry_wait)
        if told is not None:
            self._unanswered = 0
            return told
        self._unanswered += 1
        return self._jitter(self._unanswered - 1)

    def _told(self, retry_wait: float | None) -> float | None:
        """The wait that an answer names."""
        told = _sane(retry_wait, self.policy)
        return None if told is None else self._spread(told)

    def _spread(self, wait_s: float) -> float:
        """Longer, never shorter: those who are told the same shall not come the same moment."""
        return wait_s + self._rng.uniform(0.0, wait_s * self.policy.retry_wait_spread)

    def _jitter(self, attempt: int) -> float:
        policy = self.policy
        return self._rng.uniform(0.0, min(policy.backoff_max_s, policy.backoff_base_s * 2.0 ** min(attempt, 60)))


def refusal(response: ResultResponse) -> str:
    """Why a result was refused, without its numbers, so that like reasons are counted together."""
    return f"{response.status}: {_NUMBER.sub('#', response.message)}" if response.message else str(response.status)


def _sane(retry_wait: float | None, policy: SessionPolicy) -> float | None:
    """What the server asks us to wait, if that is a time."""
    if retry_wait is None or not retry_wait > 0.0:
        return None
    return min(retry_wait, policy.retry_wait_max_s)


def _count(book: dict[str, int], reason: str) -> None:
    reason = " ".join(reason.split())[:REASON_CHARS_MAX]
    if reason not in book and len(book) >= REASONS_MAX:
        reason = "other"
    book[reason] = book.get(reason, 0) + 1
