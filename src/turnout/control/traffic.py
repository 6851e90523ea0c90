"""What devices ask of all gateways together, now: rates out of counters that only grow. Pure."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from turnout.messages import LATENCY_BOUNDS_S, GatewayCounters

EDGE = ("job", "task", "selection", "result")  #: The kinds of request that are answered out of a job or the table.


@dataclass(frozen=True, slots=True)
class Traffic:
    """The last second or so. Bytes are since control was started."""

    requests_per_s: float = 0.0
    latency_ms: dict[str, float] | None = None  #: "p50" and "p99"; None when nothing was answered.
    bytes_in: int = 0
    bytes_out: int = 0


class TrafficMeter:
    """Fed with the counters of the gateways, once a second."""

    def __init__(self) -> None:
        self._last: dict[int, GatewayCounters] = {}
        self._rates: dict[int, tuple[float, list[int]]] = {}  # by gateway: requests per second, and their latencies
        self._bytes_in = 0
        self._bytes_out = 0

    def observe(self, gateways: Iterable[GatewayCounters]) -> Traffic:
        """Take in what the gateways say. One that says nothing new keeps the rate it had."""
        known = {counters.gateway: counters for counters in gateways}
        for number in self._last.keys() - known.keys():
            del self._last[number], self._rates[number]
        for number, now in known.items():
            before = self._last.get(number)
            if before is None or now.uptime_s < before.uptime_s:
                before = GatewayCounters(number)  # it was started, or started again
            if now.uptime_s > before.uptime_s:
                self._rates[number] = self._rate(before, now)
            self._last[number] = now
        latencies = [sum(column) for column in zip(*(counts for _, counts in self._rates.values()), strict=True)]
        per_s = sum(rate for rate, _ in self._rates.values())
        return Traffic(per_s, percentiles_ms(latencies), self._bytes_in, self._bytes_out)

    def _rate(self, before: GatewayCounters, now: GatewayCounters) -> tuple[float, list[int]]:
        self._bytes_in += now.bytes_in - before.bytes_in
        self._bytes_out += now.bytes_out - before.bytes_out
        requests = _edge(now.requests) - _edge(before.requests)
        latencies = [new - old for new, old in zip(all_latencies(now), all_latencies(before), strict=True)]
        return requests / (now.uptime_s - before.uptime_s), latencies


def all_latencies(counters: GatewayCounters) -> list[int]:
    """The requests of all kinds by how long they took, as ``LATENCY_BOUNDS_S`` divides them."""
    total = [0] * (len(LATENCY_BOUNDS_S) + 1)
    for counts in counters.latency.values():
        total = [sum(pair) for pair in zip(total, counts, strict=True)]
    return total


def percentiles_ms(counts: Sequence[int]) -> dict[str, float] | None:
    """The median and the 99th percentile of counted durations, taken as evenly spread within their bounds."""
    if not sum(counts):
        return None
    return {"p50": _percentile_ms(counts, 0.5), "p99": _percentile_ms(counts, 0.99)}


def _percentile_ms(counts: Sequence[int], share: float) -> float:
    edges = (0.0, *LATENCY_BOUNDS_S, LATENCY_BOUNDS_S[-1])
    below = [0]
    for count in counts:
        below.append(below[-1] + count)
    wanted = share * below[-1]
    i = bisect_left(below, wanted, lo=1) - 1
    low, high = list(pairwise(edges))[i]
    return round(1e3 * (low + (high - low) * (wanted - below[i]) / max(counts[i], 1)), 3)


def _edge(requests: Mapping[str, int]) -> int:
    return sum(requests.get(kind, 0) for kind in EDGE)
