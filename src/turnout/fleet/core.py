"""Many devices at once: which of them does what, when. Pure; ``process.py`` is its shell.

One heap holds what is due; a device costs a session and a few numbers, and no task of any event loop. It is made when
it arrives and forgotten when it ends, so that a fleet may be as large as its server, and not its memory, allows.
"""

import heapq
import math
from collections.abc import Callable
from enum import IntEnum
from random import Random

from turnout import __version__
from turnout.device.session import (
    ACCEPT_ALL,
    SatOut,
    Send,
    Session,
    SessionCounters,
    SessionPolicy,
    Sleep,
    Train,
    TrainedUpdate,
    TrainingFailed,
)
from turnout.fleet.spec import FleetSpec
from turnout.messages import (
    DeviceInfo,
    EdgeRequest,
    EdgeResponse,
    JobRequest,
    ModelSchema,
    ResultReport,
    ResultResponse,
    Status,
    TaskRequest,
    TaskResponse,
)

Outcome = TrainedUpdate | TrainingFailed | SatOut
KINDS: dict[type, str] = {JobRequest: "job", TaskRequest: "task", ResultReport: "result"}


class Doing(IntEnum):
    """What a device does now, as it is counted."""

    WAITING = 0
    TRAINING = 1
    LOST = 2
    OFFLINE = 3
    ENDED = 4


#: By name, for the same reason as ``messages.OK``.
WAITING, TRAINING, LOST, OFFLINE, ENDED = Doing.WAITING, Doing.TRAINING, Doing.LOST, Doing.OFFLINE, Doing.ENDED
_NO_MORE = (Status.NO_JOB, Status.DONE)
_BAD = (Status.ERROR, Status.INVALID_REQUEST)  #: What a result is refused with for what it is, not for when it came.


class SimDevice:
    """One simulated device. ``schema`` is that of the model it trained from."""

    __slots__ = (
        "delay_s", "doing", "failed", "index", "online", "phase", "phase_ends", "ready_at", "schema", "sent", "session",
        "tasks",
    )  # fmt: skip

    def __init__(self, index: int, session: Session, spec: FleetSpec, now: float) -> None:
        self.index = index
        self.session = session
        self.doing = WAITING
        self.failed = False  # at a task, once or more; or its result was refused for what it is
        self.tasks = 0
        self.sent = 0  # requests, copies among them
        self.delay_s = spec.delay_time_s(index)
        self.ready_at = 0.0  # when its present training ends at the earliest
        self.schema: ModelSchema | None = None
        self.online = spec.is_first_online(index)
        self.phase = 0
        self.phase_ends = now + spec.phase_s(index, 0, self.online)

    def offline_until(self, spec: FleetSpec, now: float) -> float | None:
        """When this device has network again; None when it has it now."""
        while self.phase_ends <= now:
            self.phase += 1
            self.online = not self.online
            self.phase_ends += spec.phase_s(self.index, self.phase, self.online)
        return None if self.online else self.phase_ends


class Fleet:
    """All devices of a FleetSpec, looking for one job by its name.

    ``send(device, request)`` and ``train(device, task)`` carry out what devices do; their ends come back through
    ``answered``, ``failed`` and ``trained``, later.
    """

    def __init__(
        self,
        spec: FleetSpec,
        job_name: str,
        policy: SessionPolicy,
        send: Callable[[SimDevice, EdgeRequest], None],
        train: Callable[[SimDevice, TaskResponse], None],
        now: float,
    ) -> None:
        self.spec = spec
        self.counters = SessionCounters()
        self.dropped = 0
        self.trained_tasks = 0  #: That really were.
        self.devices_failed = 0  #: To train, or to send a result that is taken, once or more.
        self.requests = dict.fromkeys(KINDS.values(), 0)
        self.doing = [0] * len(Doing)
        self.had_job = False  #: Has any device ever had the job?
        self.over_since: float | None = None  #: Since when the only answers are that there is no job, or no more of it.
        self.silent_since: float | None = None  #: Since when there are no answers at all.
        self._send = send
        self._train = train
        self._heap: list[tuple[float, int, SimDevice, EdgeRequest | Outcome | None]] = []
        self._sequence = 0
        self._job_name = job_name
        self._policy = policy
        self._rng = Random(spec.seed)  # of all sessions: their waits depend on the server anyway
        self._began = now
        self._arrived = 0  # devices are made in the order of their numbers
        self._next_arrival = now + spec.starts_at(0)
        self.doing[WAITING] = spec.devices

    @property
    def ended(self) -> bool:
        """Has every device ended?"""
        return self.doing[ENDED] == self.spec.devices

    @property
    def next_due(self) -> float:
        """When ``tick`` has something to do; infinity when all is under way."""
        arrival = self._next_arrival if self._has_room() else math.inf
        return min(arrival, self._heap[0][0]) if self._heap else arrival

    def tick(self, now: float) -> None:
        """Do all that is due."""
        self._arrivals(now)
        while self._heap and self._heap[0][0] <= now:
            _, _, device, what = heapq.heappop(self._heap)
            match what:
                case None:
                    self._wake(device, now)
                case TrainedUpdate() | TrainingFailed() | SatOut():
                    self._finish(device, what, now)
                case _:
                    self._send(device, what)

    def answered(self, device: SimDevice, response: EdgeResponse, now: float) -> None:
        """A device has the answer to its request."""
        self.silent_since = None
        if response.status not in _NO_MORE:
            self.over_since = None
            self.had_job = self.had_job or response.status is Status.OK
        elif self.over_since is None:
            self.over_since = now
        if isinstance(response, ResultResponse) and response.status in _BAD and not response.counted:
            report = device.session.unacknowledged
            if report is not None and report.status == Status.OK:
                self._note_failed(device)
        device.session.received(response, now)
        self._step(device, now)

    def failed(self, device: SimDevice, reason: str, now: float, retry_wait: float | None = None) -> None:
        """A device's request has no answer."""
        if self.silent_since is None:
            self.silent_since = now
        device.session.failed(reason, now, retry_wait)
        self._step(device, now)

    def trained(self, device: SimDevice, outcome: Outcome, now: float) -> None:
        """A device's real training has ended; its simulated one may take longer."""
        if isinstance(outcome, TrainedUpdate):
            self.trained_tasks += 1
        elif isinstance(outcome, TrainingFailed) and not outcome.again:
            self._note_failed(device)
        if isinstance(outcome, TrainedUpdate) and now < device.ready_at:
            self._at(device.ready_at, device, outcome)
        else:
            self._finish(device, outcome, now)

    # --- inside ---

    def _note_failed(self, device: SimDevice) -> None:
        self.devices_failed += not device.failed
        device.failed = True

    def _has_room(self) -> bool:
        """May one more device take part?"""
        at_once = self.spec.at_once
        return at_once is None or self._arrived - self.doing[ENDED] < at_once

    def _arrivals(self, now: float) -> None:
        """Devices whose time has come begin."""
        while self._next_arrival <= now and self._has_room():
            self._arrive(now)

    def _arrive(self, now: float) -> None:
        spec, index = self.spec, self._arrived
        info = DeviceInfo(
            spec.device_id(index), app_name="turnout-fleet", app_version=__version__, platform=spec.platform
        )
        session = Session(info, self._job_name, self._rng, self._policy, self.counters, accept=ACCEPT_ALL)
        self._arrived = index + 1
        self._next_arrival = self._began + spec.starts_at(index + 1) if index + 1 < spec.devices else math.inf
        self._wake(SimDevice(index, session, spec, self._began), now)

    def _at(self, due: float, device: SimDevice, what: "EdgeRequest | Outcome | None" = None) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (due, self._sequence, device, what))

    def _wake(self, device: SimDevice, now: float) -> None:
        """A device that slept continues, if it has network."""
        until = device.offline_until(self.spec, now)
        if until is None:
            self._step(device, now)
        else:
            self._now_doing(device, OFFLINE)
            self._at(until, device)

    def _finish(self, device: SimDevice, outcome: Outcome, now: float) -> None:
        device.session.trained(outcome, now)
        self._now_doing(device, WAITING)
        self._wake(device, now)

    def _step(self, device: SimDevice, now: float) -> None:
        action = device.session.next(now)
        if isinstance(action, Send):
            self._now_doing(device, WAITING)
            self.requests[KINDS[type(action.request)]] += 1
            if device.delay_s:
                self._at(now + device.delay_s, device, action.request)
            else:
                self._send(device, action.request)
        elif isinstance(action, Train):
            self._begin(device, action.task, now)
        elif isinstance(action, Sleep):
            self._at(action.until, device)
        else:
            self._now_doing(device, ENDED)
            self._arrivals(now)

    def _begin(self, device: SimDevice, task: TaskResponse, now: float) -> None:
        device.tasks += 1
        if self.spec.drops(device.index, device.tasks):
            self.dropped += 1
            back_at = now + self.spec.away_s(device.index, device.tasks)
            device.session.abandon(back_at)
            self._now_doing(device, LOST)
            self._at(back_at, device)
            return
        self._now_doing(device, TRAINING)
        device.ready_at = now + self.spec.training_time_s(device.index)
        self._train(device, task)

    def _now_doing(self, device: SimDevice, doing: Doing) -> None:
        if doing is device.doing:
            return
        self.doing[device.doing] -= 1
        self.doing[doing] += 1
        device.doing = doing
