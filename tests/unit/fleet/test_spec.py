"""What a fleet is like: every trait drawn from seed, number and name alone."""

import math
from statistics import fmean, median

import pytest

from turnout.fleet.spec import BREAKS_WITHIN_S, BadFleet, Break, FleetSpec

MANY = range(2000)


def test_the_same_seed_makes_the_same_fleet_in_any_order() -> None:
    spec = FleetSpec(10, seed=41, training_sigma=1.0, dropout=0.5, availability=0.5)
    forward = [(spec.training_time_s(i), spec.drops(i, 3), spec.phase_s(i, 2, True)) for i in range(10)]
    backward = [(spec.training_time_s(i), spec.drops(i, 3), spec.phase_s(i, 2, True)) for i in reversed(range(10))]
    assert forward == backward[::-1]


def test_another_seed_makes_another_fleet() -> None:
    first, second = FleetSpec(10, seed=1, training_sigma=1.0), FleetSpec(10, seed=2, training_sigma=1.0)
    assert first.training_time_s(0) != second.training_time_s(0)


def test_every_device_has_its_own_id() -> None:
    spec = FleetSpec(2_000_000)
    assert spec.device_id(123) == "sim-000123"
    assert spec.device_id(1_234_567) == "sim-1234567"


def test_training_times_are_log_normal() -> None:
    times = [FleetSpec(1, training_s=2.0, training_sigma=0.5).training_time_s(i) for i in MANY]
    assert median(times) == pytest.approx(2.0, rel=0.05)
    logs = [math.log(time / 2.0) for time in times]
    assert math.sqrt(fmean(log * log for log in logs)) == pytest.approx(0.5, rel=0.1)


def test_without_spread_all_devices_are_alike() -> None:
    assert {FleetSpec(9, training_s=0.5).training_time_s(i) for i in range(9)} == {0.5}


def test_dropouts_have_their_probability_and_differ_by_task() -> None:
    spec = FleetSpec(1, dropout=0.1)
    assert sum(spec.drops(i, 0) for i in MANY) == pytest.approx(200, rel=0.2)
    assert {spec.drops(7, task) for task in range(100)} == {True, False}
    assert not any(FleetSpec(1).drops(i, 0) for i in MANY)


def test_a_dropped_device_is_away_for_part_of_its_training_and_its_recovery() -> None:
    spec = FleetSpec(1, dropout=0.1, training_s=4.0, recovery_s=10.0)
    assert fmean(spec.away_s(i, 0) for i in MANY) == pytest.approx(2.0 + 10.0, rel=0.1)


def test_devices_are_online_for_their_share_of_the_time() -> None:
    spec = FleetSpec(1, availability=0.25, online_s=60.0)
    online = fmean(spec.phase_s(i, 0, True) for i in MANY)
    offline = fmean(spec.phase_s(i, 1, False) for i in MANY)
    assert online == pytest.approx(60.0, rel=0.1)
    assert online / (online + offline) == pytest.approx(0.25, rel=0.1)
    assert fmean(spec.is_first_online(i) for i in MANY) == pytest.approx(0.25, rel=0.2)


def test_devices_that_are_always_available_stay_online() -> None:
    assert FleetSpec(1).is_first_online(0)
    assert FleetSpec(1).phase_s(0, 0, True) == math.inf


def test_devices_arrive_spread_over_the_start() -> None:
    starts = [FleetSpec(2000, start_s=8.0).starts_at(i) for i in MANY]
    assert 0 <= min(starts) < 0.1
    assert 7.9 < max(starts) <= 8.0
    assert starts == sorted(starts)
    assert FleetSpec(5000).starts_at(4999) < 1.0


def test_mischief_has_its_shares() -> None:
    spec = FleetSpec(1, duplicates=0.05, drops_before_answer=0.1, drops_after_answer=0.2)
    assert sum(spec.is_sent_twice(i, 4) for i in MANY) == pytest.approx(100, rel=0.3)
    breaks = [spec.breaks(i, 4) for i in MANY]
    assert breaks.count(Break.BEFORE_ANSWER) == pytest.approx(200, rel=0.2)
    assert breaks.count(Break.AFTER_ANSWER) == pytest.approx(0.9 * 400, rel=0.2)
    assert all(0 < spec.breaks_after_s(i, 4) < BREAKS_WITHIN_S for i in MANY)
    assert not any(FleetSpec(1).is_sent_twice(i, 4) or FleetSpec(1).breaks(i, 4) for i in MANY)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("devices", 0),
        ("availability", 0.0),
        ("availability", 1.1),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("training_s", -1.0),
        ("training_sigma", math.nan),
        ("delay_s", math.inf),
        ("recovery_s", -1.0),
        ("online_s", 0.0),
        ("start_s", -1.0),
        ("duplicates", 1.1),
        ("drops_before_answer", -0.1),
        ("drops_after_answer", math.nan),
    ],
)
def test_what_describes_no_fleet_is_named(field: str, value: float) -> None:
    with pytest.raises(BadFleet, match=rf"^{field} is .* allowed$"):
        FleetSpec(**{"devices": 5, field: value})  # type: ignore[arg-type]
