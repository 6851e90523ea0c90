"""How a fleet's requests travel, with the mischief that its spec asks for.

A result may be sent twice at once, a connection may break with the answer on its way or just read. Every sending
of a result and every answer to one goes to the ledger; the device hears the first.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from turnout.device.exchange import NoAnswer, from_http, to_http
from turnout.device.http_connection import HttpFailure
from turnout.fleet.core import ENDED, SimDevice
from turnout.fleet.ledger import Ledger
from turnout.fleet.lines import Lines
from turnout.fleet.spec import Break, FleetSpec
from turnout.fleet.tally import Latencies
from turnout.messages import EdgeRequest, EdgeResponse, ResultReport, ResultResponse
from turnout.wire.edge_replies import HttpReply
from turnout.wire.edge_requests import HttpRequest

DROPPED = "dropped on purpose"  #: Why there is no answer, when the fleet itself broke the connection.


@dataclass(slots=True)
class _Sending:
    """One request of a device, in one copy or two."""

    device: SimDevice
    request: EdgeRequest
    pending: int
    answered: bool = False


class Delivery:
    """Sends what devices ask; ``heard(device, answer)`` is called once for each request, later.

    Where the client was closed meanwhile, it is not called.
    """

    def __init__(
        self,
        lines: Lines,
        spec: FleetSpec,
        heard: Callable[[SimDevice, EdgeResponse | NoAnswer], None],
        ledger: Ledger | None = None,
    ) -> None:
        self.latencies = Latencies(Random(spec.seed))
        self.replies = 0  #: Since the reader last set it to 0.
        self.mischief = {"duplicates": 0, "drops_before_answer": 0, "drops_after_answer": 0}
        self._lines = lines
        self._spec = spec
        self._heard = heard
        self._ledger = ledger
        self._loop = asyncio.get_running_loop()

    def send(self, device: SimDevice, request: EdgeRequest) -> None:
        """A device's request."""
        message = to_http(request, device.schema)
        twice = isinstance(request, ResultReport) and self._spec.is_sent_twice(device.index, device.sent)
        sending = _Sending(device, request, pending=1 + twice)
        self.mischief["duplicates"] += twice
        for _ in range(sending.pending):
            number = device.sent
            device.sent += 1
            self._post(sending, message, number)

    def _post(self, sending: _Sending, message: HttpRequest, number: int) -> None:
        index = sending.device.index
        http = self._lines.of(sending.device)
        if self._ledger is not None and isinstance(sending.request, ResultReport):
            self._ledger.sends(index, sending.request)
        match self._spec.breaks(index, number):
            case None:
                http.submit(message, partial(self._came, sending))
            case Break.AFTER_ANSWER:
                self.mischief["drops_after_answer"] += 1
                http.submit(message, partial(self._came, sending), keep=False)
            case Break.BEFORE_ANSWER:
                self.mischief["drops_before_answer"] += 1
                exchange = http.submit(message, partial(self._came_unread, sending), keep=False)
                self._loop.call_later(self._spec.breaks_after_s(index, number), http.abandon, exchange)

    def _came_unread(self, sending: _Sending, outcome: HttpReply | HttpFailure) -> None:
        """The connection broke, with the answer on it or without: nobody knows."""
        closed = isinstance(outcome, HttpFailure) and outcome.reason == "closed"
        self._came(sending, outcome if closed else HttpFailure(DROPPED, "the connection was broken on purpose"))

    def _came(self, sending: _Sending, outcome: HttpReply | HttpFailure) -> None:
        sending.pending -= 1
        answer: EdgeResponse | NoAnswer
        if isinstance(outcome, HttpReply):
            self.replies += 1
            self.latencies.add(outcome.seconds)
            answer = from_http(sending.request, outcome)
        elif outcome.reason == "closed":
            return
        else:
            answer = NoAnswer(outcome.reason)
        if self._ledger is not None and isinstance(answer, ResultResponse):
            assert isinstance(sending.request, ResultReport)
            self._ledger.add(sending.device.index, sending.request, answer)
        last_hope = sending.pending == 0
        if not sending.answered and (last_hope or not isinstance(answer, NoAnswer)):
            sending.answered = True
            self._heard(sending.device, answer)
            if sending.device.doing is ENDED:
                self._lines.ended(sending.device)
