"""Appointments for those whom a gateway sent away."""

from random import Random

import pytest

from turnout.dispatcher.returns import SPREAD, Returns


class Never(Random):
    """Draws nothing, so that waits can be checked by hand."""

    def random(self) -> float:
        return 0.0


def test_a_lone_device_waits_its_least_and_a_queue_comes_at_the_rate() -> None:
    returns = Returns(per_s=4.0, max_s=60.0, rng=Never())
    assert [returns.wait("a", False, 2.0, now=10.0) for _ in range(3)] == [2.25, 2.5, 2.75]
    assert returns.wait("a", False, 2.0, now=10.5) == 2.5
    assert returns.wait("a", False, 2.0, now=99.0) == 2.25


def test_results_and_other_jobs_do_not_queue_behind_those_who_ask() -> None:
    returns = Returns(per_s=4.0, max_s=60.0, rng=Never())
    for _ in range(100):
        returns.wait("a", False, 2.0, now=0.0)
    assert returns.wait("a", True, 2.0, now=0.0) == 2.25
    assert returns.wait("b", False, 2.0, now=0.0) == 2.25


def test_nobody_is_sent_away_for_ever_and_the_last_are_spread_too() -> None:
    returns = Returns(per_s=1.0, max_s=60.0, rng=Random(1))
    waits = [returns.wait("a", False, 2.0, now=0.0) for _ in range(1000)]
    assert max(waits) <= 2 * 2.0 + 60.0 * (1 + SPREAD)
    assert max(waits) - min(waits[60:]) > 0.9 * 60.0 * SPREAD


def test_the_book_of_a_job_that_ended_is_dropped() -> None:
    returns = Returns(per_s=1.0, max_s=60.0, rng=Never())
    for _ in range(10):
        returns.wait("a", False, 2.0, now=0.0)
    returns.forget_unless(lambda job_id: job_id != "a")
    assert returns.wait("a", False, 2.0, now=0.0) == pytest.approx(3.0)
