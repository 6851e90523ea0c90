"""Latencies of the recent past."""

from random import Random

from turnout.fleet.tally import SAMPLES_MAX, Latencies


def test_the_median_and_the_99th_percentile_of_what_was_added() -> None:
    latencies = Latencies(Random(0))
    for number in range(100):
        latencies.add(float(number))
    assert latencies.read() == (50.0, 99.0)


def test_a_reading_begins_anew() -> None:
    latencies = Latencies(Random(0))
    latencies.add(1.0)
    latencies.read()
    assert latencies.read() == (0.0, 0.0)


def test_of_very_many_a_fair_sample_is_kept() -> None:
    latencies = Latencies(Random(0))
    for number in range(SAMPLES_MAX * 10):
        latencies.add(float(number))
    p50, p99 = latencies.read()
    assert abs(p50 / SAMPLES_MAX - 5.0) < 0.5
    assert abs(p99 / SAMPLES_MAX - 9.9) < 0.2
