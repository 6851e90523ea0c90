"""Whether the server lives and serves, what its gateways count, and ``/metrics``."""

from collections.abc import Callable
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from turnout.client.view import Alive, Health, Readiness
from turnout.control import metrics
from turnout.control.known import KnownJobs
from turnout.control.operations import Operation, Returned, json_response
from turnout.control.sampler import Sampler
from turnout.messages import GatewayCounters


class HealthRoutes:
    """``connected``: the supervisor listens, so that jobs can be started."""

    def __init__(
        self,
        known: KnownJobs,
        gateways: Callable[[], list[GatewayCounters]],
        connected: Callable[[], bool],
        sampler: Sampler,
    ) -> None:
        self._known = known
        self._gateways = gateways
        self._connected = connected
        self._sampler = sampler

    def operations(self) -> list[Operation]:
        return [
            Operation("GET", "/healthz", self._healthz, "Whether control lives", Returned("It does.", Alive), None),
            Operation(
                "GET", "/readyz", self._readyz, "Whether devices and people are served; 503 when not",
                Returned("They are.", Readiness), None,
                also=(Returned("They are not.", Readiness, HTTPStatus.SERVICE_UNAVAILABLE),),
            ),
            Operation(
                "GET", "/api/health", self._health, "Whether devices and people are served, check by check",
                Returned("Also when they are not.", Health),
            ),
            Operation(
                "GET", "/api/gateways", self._list, "What each gateway has counted since it started",
                Returned("The gateways heard of lately.", list[GatewayCounters]),
            ),
            Operation(
                "GET", "/metrics", self._metrics, "Metrics of all processes, for Prometheus",
                Returned("The text format of Prometheus.", media_types=("text/plain",)),
            ),
        ]  # fmt: skip

    async def _list(self, _: Request) -> Response:
        return json_response(self._gateways())

    async def _healthz(self, _: Request) -> Response:
        return json_response(Alive("ok"))

    async def _readyz(self, _: Request) -> Response:
        ready = all(self._checks().values())
        return json_response(Readiness(ready), HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)

    async def _health(self, _: Request) -> Response:
        checks = self._checks()
        running = len(self._known.jobs.running)
        return json_response(Health(all(checks.values()), checks, running, len(self._gateways())))

    def _checks(self) -> dict[str, bool]:
        running = self._known.jobs.running
        return {
            "supervisor": self._connected(),
            "gateway": bool(self._gateways()),
            "jobs": all(job_id in self._sampler.statuses for job_id in self._sampler.sampled(running)),
        }

    async def _metrics(self, _: Request) -> Response:
        text = metrics.render(self._known.store.counts(), self._sampler.statuses, self._gateways())
        return Response(text, media_type=metrics.MEDIA_TYPE)
