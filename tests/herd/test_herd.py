"""After an outage a fleet comes back spread out, and its job sees it at the rate it wants.

Everything is proportional: ten thousand devices here, a hundred thousand by ``python -m turnout.sim.herd``.
"""

from functools import cache

import pytest

from turnout.device.session import SessionPolicy
from turnout.dispatcher.pending import DispatcherLimits
from turnout.sim.herd import Course, Down, Outage, play, report

pytestmark = pytest.mark.slow

DEVICES = 10_000
OUTAGE_S = 120.0
WANTED = 100.0
PER_S = DEVICES / OUTAGE_S  #: Were they spread evenly over a time as long as the outage.


@cache
def course(down: Down) -> Course:
    return play(Outage(DEVICES, OUTAGE_S, down, gateways=1, check_ins_per_s=WANTED, watched_s=400.0))


@pytest.mark.parametrize("down", [Down.GATEWAY, Down.BUSY])
def test_who_got_no_answer_comes_back_over_a_time_like_that_of_the_outage(down: Down) -> None:
    found = course(down)
    assert sum(found.first_heard.values()) == DEVICES
    assert max(found.first_heard.values()) < 2.5 * PER_S
    assert found.peak < 2.5 * PER_S + 2 * WANTED
    assert found.peak < 3 * found.mean
    assert found.drained_at - found.back_at < SessionPolicy().backoff_max_s + 2 * 5.0


def test_a_server_that_is_down_is_asked_less_and_less() -> None:
    found = course(Down.GATEWAY)
    seconds = [sum(found.asked[second] for second in range(at, at + 10)) for at in (5, 30, 110)]
    assert seconds[0] > 2 * seconds[1] > 4 * seconds[2]


def test_devices_that_a_gateway_sent_away_come_back_at_its_rate_and_all_have_an_answer_soon() -> None:
    found, limits = course(Down.JOB), DispatcherLimits()
    assert sum(found.first_heard.values()) == DEVICES
    assert max(found.asked[second] for second in range(10, 120)) < 1.3 * limits.returns_per_s
    assert found.peak < 1.3 * limits.returns_per_s + 5 * WANTED
    assert found.drained_at - found.back_at < 1.5 * DEVICES / limits.returns_per_s


@pytest.mark.parametrize("down", Down)
def test_once_all_are_back_the_job_is_asked_as_often_as_it_wants(down: Down) -> None:
    found = course(down)
    seconds = range(found.drained_at + 1, int(OUTAGE_S + 400) - 1)
    assert sum(found.asked[second] for second in seconds) / len(seconds) == pytest.approx(WANTED, rel=0.2)
    assert found.settled < 2 * WANTED


def test_an_impatient_policy_would_bring_them_all_at_once() -> None:
    """So that the bounds above mean something."""
    impatient = SessionPolicy(backoff_base_s=1.0, backoff_max_s=10.0)
    found = play(Outage(DEVICES // 10, OUTAGE_S, check_ins_per_s=WANTED / 10, watched_s=20.0, policy=impatient))
    assert found.peak > 10 * PER_S / 10


def test_the_report_says_how_it_went() -> None:
    lines = report(course(Down.JOB)).splitlines()
    assert lines[0] == "10,000 devices, job down for 120 s"
    assert "a second; the job wants 100" in lines[3]
    assert len(lines) == 4 + 520 // 20
