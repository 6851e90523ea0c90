"""A gateway's process in the simulated world: the real dispatcher, and the connections of devices."""

from collections.abc import Callable
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
from turnout.sim.job import SimJob
from turnout.sim.loop import VirtualLoop
from turnout.sim.network import SimTransport
from turnout.sim.process import SimProcess
from turnout.sim.weather import Weather

JOB = RunningJob("job-1", "sums", {"edge_method": "numpy"}, address="sim", blobs="sim")
DISPATCHER_TICK_S = 0.25
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
        refused = RefusedResult(report.device, report.job_id, report.task_id, "bad_body", "it does not decode")
        self._dispatcher.refused(refused)

    def _submit(self, request: EdgeRequest, answered: Answer) -> None:
        """As a gateway does: of a large result it asks the job first, and reads on only if it is wanted."""
        assert self._dispatcher is not None
        dispatcher, since = self._dispatcher, self.loop.now
        if not isinstance(request, ResultReport) or self.rng.random() >= self.weather.asks_first:
            dispatcher.submit(request, lambda response: answered(response, since))
            return

        def judged(response: EdgeResponse) -> None:
            assert isinstance(response, ResultResponse)
            if response.status is Status.OK and not response.counted:
                read_at = self.loop.now  # a device that is still sending waits for no answer yet
                dispatcher.submit(request, lambda response: answered(response, read_at))
            else:
                answered(response, since)

        dispatcher.submit(ResultOffer(request.device, request.job_id, request.task_id), judged)

    def _tick(self, starts: int) -> None:
        if self._dispatcher is not None and starts == self._starts:
            self._dispatcher.tick(self.loop.now)
            self.loop.after(DISPATCHER_TICK_S, lambda: self._tick(starts))
