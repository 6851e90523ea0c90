"""A device of the simulated world: the real session, and a trainer that can be counted."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import numpy as np
from numpy.typing import NDArray

from turnout.device.session import Ended, Send, Session, Sleep, Train, TrainedUpdate
from turnout.messages import VALIDATE, EdgeRequest, EdgeResponse, ResultReport, ResultResponse, TaskResponse
from turnout.sim.checker import Checker
from turnout.sim.gateway import SimGateway
from turnout.sim.loop import VirtualLoop
from turnout.sim.network import Air
from turnout.sim.weather import Weather

REPLY_TIMEOUT_S = 12.0  #: A device gives up on a request after this.


@dataclass(slots=True)
class SimDevice:
    """Adds 1 at its own coordinate with every task."""

    index: int
    size: int
    session: Session
    loop: VirtualLoop
    rng: Random
    weather: Weather
    air: Air
    gateways: list[SimGateway]
    checker: Checker
    may_leave: Callable[[], bool]
    examples: float = 1.0  #: That it has.
    ended: bool = False
    _step: int = field(default=0)  # what was begun before the present step comes to nothing

    def act(self) -> None:
        """Do what the session says next."""
        self._step += 1
        step = self._step
        match self.session.next(self.loop.now):
            case Send(request):
                self._send(request, step)
            case Train(task):
                self._train(task, step)
            case Sleep(until):
                self.loop.at(until, lambda: self.act() if step == self._step else None)
            case Ended():
                self.ended = True

    def _send(self, request: EdgeRequest, step: int) -> None:
        self.loop.after(REPLY_TIMEOUT_S, lambda: self._failed("time-out", step))
        copies = 1
        if isinstance(request, ResultReport):
            self.checker.result_sent(request)
            copies = self.weather.copies
        for _ in range(copies):
            self._send_one(request, self.rng.choice(self.gateways), step)

    def _send_one(self, request: EdgeRequest, gateway: SimGateway, step: int) -> None:
        """Of several, the first answer is taken, and the first connection that breaks is taken for all of them."""

        def arrive() -> None:
            gateway.request(request, answer, lambda: self._failed("connection lost", step))

        def answer(response: EdgeResponse, since: float) -> None:
            if isinstance(request, ResultReport) and isinstance(response, ResultResponse):
                self.checker.told(request, response, self.loop.now - since)
            self.air.carry(lambda: self._answered(response, step))

        self.air.carry(arrive, echoes=True)

    def _answered(self, response: EdgeResponse, step: int) -> None:
        if step == self._step:
            self.session.received(response, self.loop.now)
            self.act()

    def _failed(self, reason: str, step: int) -> None:
        if step == self._step:
            self.session.failed(reason, self.loop.now)
            self.act()

    def _train(self, task: TaskResponse, step: int) -> None:
        if self.rng.random() < self.weather.dropout:
            if self.may_leave() and self.rng.random() < self.weather.leaves:
                self.ended = True
                return
            self.session.abandon(self.loop.now + self.rng.expovariate(1 / self.weather.away_s))
            self.act()
            return
        if task.task_name == VALIDATE:
            trained = TrainedUpdate(memoryview(b""), self.examples, {"loss": 0.5}, measured=True)
        else:
            trained = TrainedUpdate(memoryview(self.update().tobytes()), self.examples)
        self.loop.after(self.rng.expovariate(1 / self.weather.training_s), lambda: self._trained(trained, step))

    def update(self) -> NDArray[np.float32]:
        """What a task teaches it."""
        update = np.zeros(self.size, dtype="<f4")
        update[self.index] = 1.0
        return update

    def _trained(self, trained: TrainedUpdate, step: int) -> None:
        if step != self._step:
            return
        self.session.trained(trained, self.loop.now)
        if self.rng.random() < self.weather.holds:
            self._step += 1
            step = self._step
            self.checker.seen["results held"] += 1
            held_s = self.rng.uniform(0.0, 2 * self.weather.holds_s)
            self.loop.after(held_s, lambda: self.act() if step == self._step else None)
        else:
            self.act()
