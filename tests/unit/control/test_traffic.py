"""Rates and latencies out of counters."""

import pytest

from turnout.control.traffic import TrafficMeter, percentiles_ms
from turnout.messages import LATENCY_BOUNDS_S, GatewayCounters


def counters(gateway: int, uptime_s: float, tasks: int, *, bytes_in: int = 0) -> GatewayCounters:
    latency = [0] * (len(LATENCY_BOUNDS_S) + 1)
    latency[1] = tasks  # each took between 0.5 and 1 ms
    return GatewayCounters(
        gateway, {"task": tasks, "blob": 5}, uptime_s=uptime_s, latency={"task": latency}, bytes_in=bytes_in
    )


def test_the_rate_is_what_was_asked_since_the_last_report_and_models_do_not_count() -> None:
    meter = TrafficMeter()
    meter.observe([counters(0, 10.0, 100)])
    assert meter.observe([counters(0, 12.0, 120)]).requests_per_s == 10.0


def test_a_gateway_that_says_nothing_new_keeps_its_rate_and_one_that_is_gone_has_none() -> None:
    meter = TrafficMeter()
    first, second = counters(0, 10.0, 100), counters(0, 11.0, 130)
    meter.observe([first])
    meter.observe([second])
    assert meter.observe([second]).requests_per_s == 30.0
    assert meter.observe([]).requests_per_s == 0.0


def test_gateways_add_up_and_one_that_was_started_again_counts_from_zero() -> None:
    meter = TrafficMeter()
    meter.observe([counters(0, 10.0, 100, bytes_in=7), counters(1, 10.0, 10, bytes_in=1)])
    now = meter.observe([counters(0, 1.0, 4, bytes_in=2), counters(1, 11.0, 16, bytes_in=1)])
    assert now.requests_per_s == 10.0
    assert now.bytes_in == 10, "bytes of the gateway that was replaced are not forgotten"


def test_percentiles_are_taken_within_the_bounds_they_fall_in() -> None:
    counts = [0, 98, 0, 2, *[0] * (len(LATENCY_BOUNDS_S) - 3)]
    found = percentiles_ms(counts)
    assert found is not None
    assert found["p50"] == pytest.approx(0.5 + 0.5 * 50 / 98, abs=1e-3)
    assert found["p99"] == pytest.approx(2.5 + 2.5 * 0.5)


def test_without_answers_there_is_no_latency_and_beyond_the_last_bound_it_is_that_bound() -> None:
    assert percentiles_ms([0] * (len(LATENCY_BOUNDS_S) + 1)) is None
    assert percentiles_ms([*[0] * len(LATENCY_BOUNDS_S), 3]) == {"p50": 10000.0, "p99": 10000.0}
