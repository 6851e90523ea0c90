"""When nothing can come of a fleet."""

import pytest

from turnout.device.counters import FleetCounters, hopeless

FAILED = {"KeyError: 'x'": 2, "OSError: no data": 7}


@pytest.mark.parametrize(
    ("counters", "words"),
    [
        (FleetCounters(devices=1), ""),
        (FleetCounters(devices=3, devices_failed=2, trainings_failed={"no data": 9}), ""),
        (FleetCounters(devices=3, devices_failed=3, trained=1, trainings_failed={"no data": 3}), ""),
        (
            FleetCounters(devices=3, devices_failed=3, trainings_failed={"no data": 4}),
            "all 3 devices fail to train: no data",
        ),
        (
            FleetCounters(devices=3, devices_failed=3, trainings_failed=FAILED),
            "all 3 devices fail to train: OSError: no data (other reasons: 1)",
        ),
        (
            FleetCounters(devices=1, devices_failed=1, trainings_failed={"no data": 1}),
            "the device fails to train: no data",
        ),
        (FleetCounters(devices=9000, devices_failed=99, trainings_failed={"no data": 99}), ""),
        (
            FleetCounters(devices=9000, devices_failed=100, training=5, trainings_failed={"no data": 100}),
            "the first 100 devices fail to train: no data",
        ),
        (FleetCounters(devices=9000, devices_failed=100, training=6, trainings_failed={"no data": 100}), ""),
        (FleetCounters(devices=9000, devices_failed=100, counted=1, trainings_failed={"no data": 100}), ""),
        (
            FleetCounters(devices=3, devices_failed=3, trained=3, refused={"ERROR: too large": 3}),
            "the result of all 3 devices is refused: ERROR: too large",
        ),
        (FleetCounters(devices=3, devices_failed=3, trained=4, refused={"ERROR: too large": 3}), ""),
    ],
)
def test_nothing_can_come_once_each_device_has_failed_and_no_task_was_done(counters: FleetCounters, words: str) -> None:
    assert hopeless(counters) == words
