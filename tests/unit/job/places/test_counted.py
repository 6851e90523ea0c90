"""The bitmaps of counted tasks."""

from hypothesis import given
from hypothesis import strategies as st

from turnout.job.places.counted import CountedTasks


@given(st.sets(st.integers(100, 400)), st.integers(100, 400))
def test_exactly_the_tasks_added_are_counted(tasks: set[int], asked: int) -> None:
    counted = CountedTasks()
    counted.open(version=3, first_task=100)
    for task in tasks:
        counted.add(3, task)
    assert counted.has(3, asked) == (asked in tasks)
    assert counted.tasks == len(tasks)
    kept = CountedTasks(counted.rows().came.values())
    assert kept.save() == counted.save()
    assert kept.has(3, asked) == (asked in tasks)


def test_a_task_of_a_forgotten_version_is_not_known() -> None:
    counted = CountedTasks()
    counted.open(0, 0)
    counted.open(1, 10)
    counted.keep(0, until=50.0)
    counted.forget(version_min=1, now=49.9)
    assert counted.knows(0), "a device may still ask"
    counted.forget(version_min=1, now=50.0)
    assert not counted.knows(0)
    assert counted.knows(1)


def test_a_version_within_the_staleness_window_is_never_forgotten() -> None:
    counted = CountedTasks()
    counted.open(0, 0)
    counted.forget(version_min=0, now=1e9)
    assert counted.knows(0)


def test_a_task_below_the_range_of_its_version_is_not_counted() -> None:
    counted = CountedTasks()
    counted.open(1, 10)
    assert not counted.has(1, 9)
