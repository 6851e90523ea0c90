"""A gateway's process in the simulated world: the real dispatcher, and the connections of devices."""

from collections.abc import Callable
from functools import partial
from random import Random

from turnout.dispatcher.service import EdgeTaskDispatcher
from turnout.dispatcher.table import JobTable
from turnout.messages import (
    EdgeRequest,
    EdgeResponse,
    RefusedResult,
    ResultOffer,
    ResultReport,
    ResultResponse,
    RunningJob,
    Status,
    TableSnapshot,
)
from turnout.sim.books import Violation
from turnout.sim.job import SimJob
from turnout.sim.loop import VirtualLoop
from turnout.sim.network import Link, SimTransport
from turnout.sim.process import SimProcess
from turnout.sim.weather import Weather

JOB = RunningJob("job-1", "sums", {"edge_method": "numpy"}, address="sim", blobs="sim")
DISPATCHER_TICK_S = 0.25
REFUSAL_MAX_S = 5.0  #: Until a job that reads has heard of a result that a gateway refused.
READ_AT_ONCE = 0.5  #: Share of bodies that come with their head.
READING_S = 0.5  #: Mean time that others take.
GOODBYE_S = 0.01  #: Until a device sees that its connection is gone.
Answer = Callable[[EdgeResponse, float], None]  #: Takes a response, and when the wait for it began.


class SimGateway:
    """A gateway's process: the real dispatcher, and the connections of devices that break when it dies."""

    def __init__(
        self,
        loop: VirtualLoop,
        rng: Random,
        weather: Weather,
        job: SimJob,
        make_dispatcher: Callable[[JobTable, SimTransport, VirtualLoop, Random], EdgeTaskDispatcher],
    ) -> None:
        self.loop, self.rng, self.weather, self.job = loop, rng, weather, job
        self._make_dispatcher = make_dispatcher
        self.transport: SimTransport | None = None
        self._dispatcher: EdgeTaskDispatcher | None = None
        self._starts = 0
        self._connections: dict[int, Callable[[], None]] = {}  # exchange -> what breaks with it
        self._exchanges = 0
        job.neighbours.append(self)

    def job_started(self) -> None:
        if self.transport is not None:
            self.transport.job_started()

    def job_died(self, process: SimProcess) -> None:
        if self.transport is not None:
            self.transport.job_died(process)

    def start(self) -> None:
        self._starts += 1
        self.transport = SimTransport(self.loop, self.rng, self.weather, self.job)
        self._dispatcher = self._make_dispatcher(JobTable(), self.transport, self.loop, self.rng)
        self._dispatcher.apply(TableSnapshot((JOB,)))
        self._tick(self._starts)

    @property
    def room_used(self) -> int:
        """Bytes of results that it reads or has in flight; nothing while it is dead."""
        return self._dispatcher.room.used if self._dispatcher is not None else 0

    def crash(self) -> None:
        if self.transport is not None:
            self.transport.gateway_died()
        self.transport = self._dispatcher = None
        broken, self._connections = self._connections, {}
        for breaks in broken.values():
            self.loop.after(GOODBYE_S, breaks)

    def request(self, request: EdgeRequest, answer: Answer, breaks: Callable[[], None]) -> None:
        if self._dispatcher is None:
            breaks()
            return
        if isinstance(request, ResultReport) and self.weather.garbled and self.rng.random() < self.weather.garbled:
            self._refuse(request)
            self.loop.after(GOODBYE_S, breaks)
            return
        self._exchanges += 1
        exchange, starts = self._exchanges, self._starts
        self._connections[exchange] = breaks

        def answered(response: EdgeResponse, since: float) -> None:
            assert starts == self._starts or self._dispatcher is None, "an answer of a dead gateway"
            if self._connections.pop(exchange, None) is not None:
                answer(response, since)

        self._submit(request, answered)

    def _refuse(self, report: ResultReport) -> None:
        """It came as something that does not decode; the job is told. Its device may send it again, and better."""
        assert self._dispatcher is not None
        assert self.transport is not None
        refused = RefusedResult(report.device, report.job_id, report.task_id, "bad_body", "it does not decode")
        self._dispatcher.refused(refused)
        link, process = self.transport.link, self.job.process
        if link is not None and process is not None and link.host is process and not process.hangs:
            self.loop.after(REFUSAL_MAX_S, partial(self._check_told, report.task_id, link))

    def _check_told(self, task_id: str, link: Link) -> None:
        """The job must have heard of it, had it a chance to."""
        lives = self.transport is not None and self.transport.link is link and link.up
        if lives and not self.job.process_hung and task_id not in self.job.checker.refused_elsewhere:
            raise Violation(f"a gateway refused the result of {task_id}, and its job was not told")

    def _submit(self, request: EdgeRequest, answered: Answer) -> None:
        """As a gateway does: of a large result it asks the job first, and reads it only if it is wanted."""
        assert self._dispatcher is not None
        if not isinstance(request, ResultReport):
            self._send(request, answered)
        elif self.rng.random() >= self.weather.asks_first:
            self._read(request, answered)
        else:
            self._ask_first(request, answered)

    def _ask_first(self, report: ResultReport, answered: Answer) -> None:
        def judged(response: EdgeResponse, since: float) -> None:
            assert isinstance(response, ResultResponse)
            if response.status is Status.OK and not response.counted:
                self._read(report, answered)
            else:
                answered(response, since)

        self._send(ResultOffer(report.device, report.job_id, report.task_id), judged)

    def _read(self, report: ResultReport, answered: Answer) -> None:
        """Its body, once there is room for it; a device that is still sending waits for no answer yet."""
        dispatcher, num_bytes = self._dispatcher, report.update.nbytes
        if dispatcher is None or not num_bytes or self.rng.random() < READ_AT_ONCE:
            self._send(report, answered)
            return

        def reserved() -> None:
            self.loop.after(self.rng.expovariate(1 / READING_S), read)

        def read() -> None:
            if dispatcher is self._dispatcher:  # else it is dead
                dispatcher.submit(report, partial(_answer, answered, self.loop.now), has_room=True)
                dispatcher.room.release(JOB.job_id, num_bytes)

        if dispatcher.room.reserve(JOB.job_id, num_bytes, reserved):
            reserved()
        else:
            self.job.checker.seen["bodies that waited for room"] += 1

    def _send(self, request: EdgeRequest | ResultOffer, answered: Answer) -> None:
        if self._dispatcher is not None:
            self._dispatcher.submit(request, partial(_answer, answered, self.loop.now))

    def _tick(self, starts: int) -> None:
        if self._dispatcher is not None and starts == self._starts:
            self._dispatcher.tick(self.loop.now)
            self.loop.after(DISPATCHER_TICK_S, lambda: self._tick(starts))


def _answer(answered: Answer, since: float, response: EdgeResponse) -> None:
    answered(response, since)
