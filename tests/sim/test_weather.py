"""One kind of trouble at a time, in a world that is calm otherwise: it happens, and no promise is broken."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from turnout.job.folder.spec import (
    BufferedTraining,
    CheckInSelection,
    ConstantDiscount,
    Evaluation,
    JobSpec,
    Leases,
    Pacing,
    StopRule,
)
from turnout.sim.plan import VERSIONS_MAX, Plan
from turnout.sim.weather import CRASH_MAX, Point, Weather
from turnout.sim.world import World


def a_world(seed: int = 1, resend_window_s: float = 120.0, time_max_s: float | None = None, **weather: Any) -> World:
    spec = JobSpec(
        name="sums",
        stop=StopRule(versions=VERSIONS_MAX, time_s=time_max_s),
        training=BufferedTraining(concurrency=8, buffer_goal=4, staleness_max=1, staleness=ConstantDiscount()),
        selection=CheckInSelection(thinning_window_s=0.2),
        pacing=Pacing(check_ins_per_s=10.0, wait_max_s=10.0),
        leases=Leases(min_s=1.0, max_s=5.0, resend_window_s=resend_window_s),
        evaluation=Evaluation(every=2, metric="accuracy", keep=2),
    )
    plan = Plan(spec, devices=20, weather=Weather(training_s=2.0, asks_first=0.3, **weather))
    return World(seed, plan=plan)


@pytest.mark.parametrize("point", Point, ids=lambda point: point.name)
def test_a_job_is_killed_when_it_comes_to_a_point(point: Point) -> None:
    seen = a_world(crash={point: 2 * CRASH_MAX[point]}, commit_s=0.1, commit_fails=0.3, job_crash_s=10.0).run()
    assert seen[f"crashes {point.name}"] >= 1
    assert seen["recoveries"] >= 1


def test_nobody_is_acknowledged_while_the_disk_is_full_and_then_the_job_goes_on() -> None:
    world = a_world(full_for_s=30.0)
    counted = counted_at(world, 20.1, 49.9, 60.0)
    world.loop.at(20.0, world.job.disk.fill)
    world.run()
    assert counted[20.1] > 0
    assert counted[49.9] == counted[20.1]
    assert counted[60.0] > counted[49.9]
    assert world.checker.seen["commits: FAILED"] >= 20


def test_a_slow_disk_delays_answers_and_loses_none() -> None:
    world = a_world(slow_for_s=30.0)
    counted = counted_at(world, 20.0, 50.0)
    world.loop.at(20.0, world.job.disk.slow_down)
    world.run()
    assert counted[50.0] > counted[20.0]


def test_of_errors_in_a_row_the_last_may_hide_a_commit_that_happened() -> None:
    seen = a_world(commit_fails=0.2, errors_repeat=1.0).run()
    assert seen["commits: DOUBTFUL"] >= 3
    assert seen["commits: FAILED"] > seen["commits: DOUBTFUL"]


def test_a_process_that_cannot_read_its_journal_ends_and_the_next_one_can() -> None:
    seen = a_world(commit_fails=0.2, unreadable=0.5, job_crash_s=5.0).run()
    assert seen["crashes: journal not readable"] >= 3


def test_a_job_that_was_down_for_long_goes_on_with_its_leases_whatever_the_clock_did() -> None:
    world = a_world(outage=1.0, outage_s=300.0, clock_jumps=1.0)
    world.loop.at(30.0, world.job.crash)
    seen = world.run()
    assert seen["clock jumps"] == seen["outages"] == seen["recoveries"] == 1


@pytest.mark.parametrize("frozen", [0.0, 1.0], ids=["its thread works", "its thread hangs too"])
def test_a_process_that_hung_and_was_replaced_ends_when_it_wakes_up(frozen: float) -> None:
    world = a_world(hangs_for_s=20.0, replaced=1.0, frozen=frozen, commit_s=0.2)
    for at in (20.0, 45.0, 70.0):
        world.loop.at(at, world.job.hang)
    seen = world.run()
    assert seen["replaced processes"] == seen["fenced processes"] == 3


def test_a_process_that_was_replaced_does_not_take_its_successors_commit_for_its_own() -> None:
    """Its own commit failed, and what it would read in the journal is another's, perhaps of the same number."""
    for seed in range(5):
        world = a_world(seed, hangs_for_s=8.0, replaced=1.0, commit_s=0.5, commit_fails=0.5)
        for at in range(10, 90, 20):
            world.loop.at(at, world.job.hang)
        assert world.run()["fenced processes"] >= 1


def test_devices_that_hear_of_an_end_too_late_come_back_to_the_job_that_was_started_again() -> None:
    """A process that hung and was replaced before the end may tell them of it when it wakes up."""
    world = a_world()
    world.plan = replace(world.plan, stopped_at=30.0)
    world.loop.at(90.5, lambda: [device.session.stop() for device in world.devices])
    seen = world.run()
    assert seen["starts after an end"] == 1
    assert sum(device.ended for device in world.devices) == world.plan.devices


def test_a_job_whose_time_is_over_refuses_nobody_whom_it_counts_after_a_crash() -> None:
    """With a crash, job time goes back to that of the last commit, and the job's end with it."""
    late = {"copies": 3, "echoed": 0.3, "echo_s": 10.0}
    for seed in range(25):
        a_world(seed, time_max_s=10.0, job_crash_s=4.0, commit_s=0.8, crash={Point.WRITING: 0.3}, **late).run()


def test_ten_copies_of_each_result_through_two_gateways_count_once() -> None:
    seen = a_world(copies=10, doubled=0.2, lost=0.1, delay_s=0.3).run()
    assert seen["duplicates"] > 5 * seen["counted"]


def test_a_result_that_comes_after_everything_about_it_is_forgotten_counts_no_more() -> None:
    """Also when its first copy was counted, and also when that was refused as too stale."""
    seen = a_world(resend_window_s=2.0, holds=0.3, holds_s=40.0, echoed=0.3, echo_s=40.0, job_crash_s=20.0).run()
    assert seen["too old to know, and counted"] >= 5
    assert seen["too old to know"] >= 5 + seen["too old to know, and counted"]
    assert seen["refused"] >= 5


def test_a_device_that_sends_updates_from_another_order_of_size_has_no_part_in_the_model() -> None:
    seen = World(1, plan=replace(a_world(commit_fails=0.2, job_crash_s=20.0).plan, poisons=True)).run()
    assert seen["poison refused"] >= 5
    assert seen["counted"] > seen["poison refused"]


def test_made_up_tasks_do_not_count_though_they_are_sealed_with_the_jobs_key() -> None:
    world = World(1, plan=replace(a_world(job_crash_s=20.0).plan, forges=True))
    assert world.run()["forged"] >= 10


def test_the_real_journal_keeps_its_promises_on_a_disk_that_fails_and_cuts_its_log_off() -> None:
    seen: Counter[str] = Counter()
    for seed in range(4):
        weather = {"commit_fails": 0.2, "commit_s": 0.3, "job_crash_s": 12.0, "hangs_for_s": 8.0, "replaced": 1.0}
        world = a_world(seed, **weather)
        world = World(seed, plan=replace(world.plan, on_disk=True))
        for at in (20, 50, 80):
            world.loop.at(at, world.job.hang)
        seen.update(world.run())
    for what in ("commits: FAILED", "recoveries", "fenced processes", "crashes: committing"):
        assert seen[what] >= 4, (what, seen)


def counted_at(world: World, *times: float) -> dict[float, int]:
    """How many results have been acknowledged by these times, once the world has run."""
    counted: dict[float, int] = {}

    def note(at: float) -> Callable[[], None]:
        return lambda: counted.update({at: world.checker.seen["counted"]})

    for at in times:
        world.loop.at(at, note(at))
    return counted
