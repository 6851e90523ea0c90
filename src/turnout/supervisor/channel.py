"""The supervisor's socket: control orders job processes here and hears how they end.

Control may come and go; how a job ended is kept until control says that it has written it down.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec

from turnout.transport import stream
from turnout.transport.orders import ForgetJob, JobProcess, JobReport, Order, Roster, StartJob, StopJob


class Channel:
    """The jobs that control has ordered, and every connection of control."""

    def __init__(self, start: Callable[[str], None], stop: Callable[[str], None]) -> None:
        self._start = start
        self._stop = stop
        self._jobs: dict[str, JobProcess] = {}
        self._reports: dict[str, JobReport] = {}
        self._peers: set[stream.MessageStream[Order]] = set()

    def __contains__(self, job_id: str) -> bool:
        """Whether a job was ordered under this id, and control has not written down its end."""
        return job_id in self._jobs

    def job(self, job_id: str) -> JobProcess:
        """What was ordered under this id."""
        return self._jobs[job_id]

    def ended(self, job_id: str, code: int, reason: str) -> None:
        """Report that a job's process is over for good."""
        report = self._reports[job_id] = JobReport(job_id, code, reason)
        for peer in self._peers:
            peer.send(report)

    def delayed(self, job_id: str, reason: str) -> None:
        """Report why a job's process cannot run for now; empty when it can."""
        report = self._reports[job_id] = JobReport(job_id, None, reason)
        for peer in self._peers:
            peer.send(report)

    async def serve(self, path: Path) -> None:
        """Take orders at ``path`` until cancelled."""
        decoder: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)
        await stream.serve(path, decoder, self._connected)

    async def _connected(self, peer: stream.MessageStream[Order]) -> None:
        peer.send(Roster(tuple(self._reports.values())))
        self._peers.add(peer)
        try:
            while (order := await peer.receive()) is not None:
                self._obey(order)
        finally:
            self._peers.discard(peer)

    def _obey(self, order: Order) -> None:
        match order:
            case StartJob():
                if order.job.job_id not in self._jobs:
                    self._jobs[order.job.job_id] = order.job
                    self._reports[order.job.job_id] = JobReport(order.job.job_id)
                    self._start(order.job.job_id)
            case StopJob():
                self._stop(order.job_id)
            case ForgetJob():
                if order.job_id in self._reports and self._reports[order.job_id].code is not None:
                    del self._reports[order.job_id], self._jobs[order.job_id]
