"""The API that people's tools use, put together from its routes. JSON in and out; errors are problem details."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from turnout.client.view import Scope
from turnout.control import dashboard
from turnout.control.access import Access
from turnout.control.cancelling import Cancelling
from turnout.control.guard import Guard
from turnout.control.incoming import Incoming, free_bytes
from turnout.control.jobs import Jobs
from turnout.control.known import KnownJobs
from turnout.control.operations import Operation
from turnout.control.problems import Problem, answer_problem
from turnout.control.questions import Questions
from turnout.control.routes.backups import BackupRoutes
from turnout.control.routes.health import HealthRoutes
from turnout.control.routes.jobs import JobRoutes
from turnout.control.routes.models import ModelRoutes
from turnout.control.routes.reference import ReferenceRoutes
from turnout.control.routes.sessions import SessionRoutes
from turnout.control.routes.tokens import TokenRoutes
from turnout.control.routes.watching import WatchingRoutes
from turnout.control.sampler import Sampler
from turnout.control.samples import Samples
from turnout.control.sessions import Sealer
from turnout.control.store import Store
from turnout.control.tokens import Tokens
from turnout.gateway.bounds import RESULT_BYTES_MAX
from turnout.messages import GatewayCounters


class Api:
    """All operations, and what they need.

    ``gateways`` gives the counters of those heard of lately, ``connected`` tells whether the supervisor listens, and
    ``closing`` whether control ends. ``free`` says how many bytes the disk of a folder has left. ``clock`` is
    monotonic.
    """

    def __init__(
        self,
        store: Store,
        jobs: Jobs,
        questions: Questions,
        gateways: Callable[[], list[GatewayCounters]],
        data: Path,
        owner_token: str,
        *,
        connected: Callable[[], bool] = lambda: True,
        closing: Callable[[], bool] = lambda: False,
        free: Callable[[Path], int] = free_bytes,
        wall_clock: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
        result_bytes_max: int = RESULT_BYTES_MAX,
    ) -> None:
        known, samples = KnownJobs(store, jobs, questions), Samples()
        self.incoming = incoming = Incoming(data, free)
        tokens = Tokens(store, owner_token, wall_clock)
        self._access = Access(store, tokens, Sealer(owner_token), wall_clock, clock)
        self.cancelling = Cancelling(known)
        self.sampler = Sampler(known, gateways, samples, wall_clock)
        self.operations = [
            *JobRoutes(known, samples, incoming, self.cancelling, result_bytes_max).operations(),
            *WatchingRoutes(known, samples, closing, partial(self._access.still, scope=Scope.VIEW)).operations(),
            *ModelRoutes(known, incoming).operations(),
            *BackupRoutes(known, incoming).operations(),
            *TokenRoutes(tokens).operations(),
            *SessionRoutes(self._access).operations(),
            *HealthRoutes(known, gateways, connected, self.sampler).operations(),
        ]
        self.operations += ReferenceRoutes(self.operations).operations()

    def app(self) -> Starlette:
        """The ASGI application."""
        routes = [Route(op.path, self._guarded(op), methods=[op.method]) for op in self.operations]
        return Starlette(
            routes=routes + dashboard.routes(),
            middleware=[Middleware(Guard)],
            exception_handlers={Problem: answer_problem, HTTPException: answer_problem},
        )

    def _guarded(self, operation: Operation) -> Callable[[Request], object]:
        """Its handler, for those who may."""
        if operation.scope is None:
            return operation.handler
        scope = operation.scope

        async def answer(request: Request) -> Response:
            self._access.check(request, scope)
            return await operation.handler(request)

        return answer
