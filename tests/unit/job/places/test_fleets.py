"""Fleets that a simulator registers in one request."""

from turnout.job.places.fleets import FLEETS_MAX, Fleets
from turnout.messages import FleetRange

SILENCE_S = 100.0


def fleets(*ranges: tuple[str, int]) -> Fleets:
    known = Fleets(SILENCE_S)
    for prefix, devices in ranges:
        known.register(FleetRange(prefix, devices), 0.0, saved_by=1)
    return known


def test_ranges_are_counted_and_numbered_through_without_being_expanded() -> None:
    known = fleets(("a", 3), ("b", 1_000_000))
    assert len(known) == 1_000_003
    assert [known.at(number) for number in (0, 2, 3, 1_000_002)] == ["a#0", "a#2", "b#0", "b#999999"]


def test_a_fleet_registered_again_is_no_news_but_one_of_another_size_is() -> None:
    known = fleets(("a", 3))
    known.register(FleetRange("a", 3), 0.0, saved_by=2)
    assert known.is_durable(FleetRange("a", 3), 1)
    known.register(FleetRange("a", 5), 0.0, saved_by=2)
    assert not known.is_durable(FleetRange("a", 5), 1)
    assert len(known) == 5


def test_only_devices_of_a_range_are_taken_for_its_devices() -> None:
    known = fleets(("a", 12), ("x#y", 2))
    assert all(known.heard(device, 0.0) for device in ("a#0", "a#11", "x#y#1"))
    assert not any(
        known.heard(device, 0.0) for device in ("a", "a#", "a#12", "a#-1", "a#01", "a#1x", "a#٣", "b#0", "x#1")
    )


def test_a_fleet_that_is_silent_for_long_is_forgotten_when_an_invitation_of_it_lapses() -> None:
    known = fleets(("gone", 3), ("here", 3))
    known.heard("here#2", 60.0)
    for now in (99.0, 101.0):
        known.lapsed("gone#1", now)
        known.lapsed("here#1", now)
    assert known.save().ranges == (("here", 3),)


def test_a_slow_fleet_may_let_any_number_of_invitations_lapse() -> None:
    known = fleets(("slow", 1000))
    for number in range(1000):
        known.lapsed(f"slow#{number}", 99.0)
    assert len(known) == 1000


def test_one_fleet_too_many_replaces_that_which_was_silent_longest() -> None:
    known = fleets(*((f"f{number}", 1) for number in range(FLEETS_MAX)))
    assert known.heard("f0#0", 0.0)
    known.register(FleetRange("new", 1), 0.0, saved_by=1)
    assert len(known) == FLEETS_MAX
    assert known.heard("f0#0", 0.0)
    assert not known.heard("f1#0", 0.0)


def test_a_fleet_is_durable_with_the_commit_that_saves_it() -> None:
    known = Fleets(SILENCE_S)
    known.register(FleetRange("a", 3), 0.0, saved_by=7)
    assert not known.is_durable(FleetRange("a", 3), 6)
    assert known.is_durable(FleetRange("a", 3), 7)


def test_what_is_restored_is_durable_already() -> None:
    known = Fleets(SILENCE_S)
    known.load(fleets(("a", 3), ("b", 4)).save(), now=0.0)
    assert len(known) == 7
    assert known.is_durable(FleetRange("b", 4), 1)
