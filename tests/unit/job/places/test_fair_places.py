"""Who gets places, in virtual time: a round that needs every device gets them, and nobody is favoured for reporting."""

import itertools

import numpy as np
import pytest

from tests.unit.job.virtual_fleet import VirtualFleet
from turnout.job.folder.spec import (
    BufferedTraining,
    CheckInSelection,
    CohortSelection,
    JobSpec,
    Leases,
    Pacing,
    RoundsTraining,
    StopRule,
)
from turnout.wire.edge_headers import ANDROID

CHI_SQUARE_MAX = 29.6  #: Of ten degrees of freedom; exceeded by chance once in 1,000 times.


@pytest.mark.parametrize("window_s", [0.5, 0.0])
@pytest.mark.parametrize("devices", [10, 100])
def test_a_round_that_needs_every_device_gets_them_at_once(devices: int, window_s: float) -> None:
    """The last of them asks after 0.25 s for the first time."""
    spec = JobSpec(
        name="j",
        training=RoundsTraining(cohort=devices, over_selection=1.0, quorum=1.0, deadline_s=3600.0),
        selection=CheckInSelection(thinning_window_s=window_s),
        stop=StopRule(versions=3),
        pacing=Pacing(check_ins_per_s=20000.0, wait_min_s=0.05, wait_max_s=0.5),
    )
    fleet = VirtualFleet(spec, devices, lambda device: 0.0).run(160.0)
    assert len(fleet.closed) == 3
    assert fleet.closed[0] < 0.3
    assert fleet.closed[2] < 1.0


def test_with_the_default_pacing_a_hundred_of_a_hundred_make_a_round_in_two_seconds() -> None:
    spec = JobSpec(
        name="j",
        training=RoundsTraining(cohort=100, over_selection=1.0, quorum=1.0),
        stop=StopRule(versions=5),
        pacing=Pacing(wait_max_s=10.0),
    )
    fleet = VirtualFleet(spec, 100, lambda device: 0.01 * device, platform="ios").run(160.0)
    assert len(fleet.closed) == 5
    assert np.diff(fleet.closed).max() < 4.0


def fleet_of_uneven_speed(selection: CheckInSelection | CohortSelection, rounds: int, **how: object) -> VirtualFleet:
    """A hundred devices take 0.5 s and more for a task, half-normal; ten make a round, and each waits about 5 s."""
    seconds = 0.5 + 8.0 * np.abs(np.random.default_rng(1).standard_normal(100))
    spec = JobSpec(
        name="j",
        training=RoundsTraining(cohort=10, over_selection=1.0, quorum=1.0, deadline_s=1e6),
        selection=selection,
        stop=StopRule(versions=rounds),
        pacing=Pacing(check_ins_per_s=20.0, wait_max_s=10.0),
        leases=Leases(min_s=3600.0),
    )
    return VirtualFleet(spec, 100, lambda device: float(seconds[device]), **how).run(1e9)  # type: ignore[arg-type]


def chi_square_of_overlaps(rounds: list[list[int]], devices: int) -> tuple[np.ndarray, float]:
    """How often who reported first, second, ... was in the next round, against chance."""
    overlaps = np.array([[member in after for member in before] for before, after in itertools.pairwise(rounds)]).sum(0)
    fair = len(rounds[0]) / devices
    expected = (len(rounds) - 1) * fair
    return overlaps, float(((overlaps - expected) ** 2 / (expected * (1 - fair))).sum())


@pytest.mark.parametrize(
    ("platform", "gap_s", "window_s"), [(ANDROID, 0.0, 0.5), (ANDROID, 0.05, 0.0), ("ios", 0.0, 0.5)]
)
def test_no_device_of_a_round_is_likelier_than_others_to_be_in_the_next(
    platform: str, gap_s: float, window_s: float
) -> None:
    """Though it asks right after its answer, at the moment when the places of the next round are free."""
    selection = CheckInSelection(thinning_window_s=window_s)
    fleet = fleet_of_uneven_speed(selection, 100, platform=platform, gap_s=gap_s)
    overlaps, chi_square = chi_square_of_overlaps(fleet.rounds(10), 100)
    assert chi_square < CHI_SQUARE_MAX, overlaps
    assert overlaps[-1] < 25, "a tenth of 99; it was all of them"
    counts = np.bincount(fleet.results, minlength=100)
    assert counts.max() < 10 + 5 * np.sqrt(10), "10 on average, for slow devices too"


def test_by_lot_no_device_of_a_round_is_likelier_either() -> None:
    fleet = fleet_of_uneven_speed(CohortSelection(), 100)
    overlaps, chi_square = chi_square_of_overlaps(fleet.rounds(10), 100)
    assert chi_square < CHI_SQUARE_MAX, overlaps


def test_when_buffered_a_device_does_not_get_the_place_that_its_own_result_freed() -> None:
    """Twenty of a hundred train at once, 1 s each: the next task of a place goes to another in all but a few cases."""
    spec = JobSpec(
        name="j",
        training=BufferedTraining(concurrency=20, buffer_goal=10),
        stop=StopRule(versions=60),
        pacing=Pacing(check_ins_per_s=40.0, wait_max_s=10.0),
    )
    fleet = VirtualFleet(spec, 100, lambda device: 1.0 + 0.01 * device).run(1e9)
    counts = np.bincount(fleet.results, minlength=100)
    assert counts.max() < 20, "6 on average"
    assert fleet.now < 60 * 10 / 20 * 1.5 * 1.5, (
        "600 tasks of 1.5 s in 20 places, half as long again for finding takers"
    )
