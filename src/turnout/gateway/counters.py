"""What a gateway has done since it started, as plain numbers."""

from dataclasses import dataclass, field

from turnout.gateway.routes import Route
from turnout.messages import GatewayCounters

OTHER = "other"  #: Requests for paths that lead nowhere.


@dataclass(slots=True)
class Counters:
    """Counts of one gateway process."""

    started: float
    requests: dict[str, int] = field(default_factory=lambda: {**dict.fromkeys(map(str, Route), 0), OTHER: 0})
    refused: dict[str, int] = field(default_factory=dict)
    connections: int = 0

    def refuse(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def snapshot(self, gateway: int, now: float) -> GatewayCounters:
        """What control is told."""
        return GatewayCounters(
            gateway=gateway,
            requests={route: count for route, count in self.requests.items() if count},
            refused=dict(self.refused),
            connections=self.connections,
            uptime_s=now - self.started,
        )
