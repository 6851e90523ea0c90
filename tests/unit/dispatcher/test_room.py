"""Room for results: bounded, shared between jobs, and given in order."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.dispatcher.room import Room


@pytest.fixture
def room() -> Room:
    return Room(bytes_max=120, job_share_max=0.5)


def fill(room: Room, job_id: str) -> int:
    """Let the job take all it can, byte by byte; how much that is."""
    count = 0
    while room.reserve(job_id, 1, lambda: None):
        count += 1
    return count


def test_a_job_takes_half_of_what_the_others_leave(room: Room) -> None:
    assert [fill(room, job_id) for job_id in ("a", "b", "c")] == [60, 30, 15]


def test_a_job_that_holds_nothing_takes_what_fits_at_all(room: Room) -> None:
    assert room.reserve("a", 100, pytest.fail)
    assert not room.fits("a", 1)
    assert not room.fits("b", 21)
    assert room.fits("b", 20)


def test_what_is_larger_than_all_goes_alone(room: Room) -> None:
    assert room.reserve("a", 1000, pytest.fail)
    assert not room.fits("b", 1)
    room.release("a", 1000)
    assert room.used == 0


def test_one_who_waits_goes_on_when_its_job_has_left_enough(room: Room) -> None:
    resumed: list[str] = []
    assert room.reserve("a", 50, pytest.fail)
    assert not room.reserve("a", 11, lambda: resumed.append("second"))
    assert resumed == []
    room.release("a", 1)
    assert resumed == ["second"]
    assert room.used == 60


def test_within_a_job_nobody_overtakes(room: Room) -> None:
    assert room.reserve("a", 50, pytest.fail)
    assert not room.reserve("a", 40, pytest.fail)
    assert not room.reserve("a", 1, pytest.fail)


def test_what_fits_passes_nobody_who_waits(room: Room) -> None:
    assert room.reserve("a", 50, pytest.fail)
    assert room.fits("a", 10)
    assert not room.fits("a", 11)
    assert not room.reserve("a", 40, pytest.fail)
    assert not room.fits("a", 10)
    assert room.fits("b", 10)
    assert room.used == 50


def test_no_job_waits_behind_another(room: Room) -> None:
    resumed: list[str] = []
    assert room.reserve("hung", 60, pytest.fail)
    assert not room.reserve("hung", 1, pytest.fail)
    assert room.reserve("lively", 30, pytest.fail)
    assert not room.reserve("lively", 30, lambda: resumed.append("lively"))
    room.release("lively", 30)
    assert resumed == ["lively"]


def test_jobs_that_wait_take_turns(room: Room) -> None:
    resumed: list[str] = []
    room.use("full", 120)
    for job_id in ("a", "a", "a", "b", "b"):
        assert not room.reserve(job_id, 10, lambda job_id=job_id: resumed.append(job_id))  # type: ignore[misc]
    room.release("full", 120)
    assert resumed == ["a", "b", "a", "b", "a"]


def test_one_who_goes_on_may_leave_and_ask_at_once(room: Room) -> None:
    order: list[int] = []

    def resume(number: int) -> Callable[[], None]:
        def go_on() -> None:
            order.append(number)
            room.release("a", 60)

        return go_on

    assert room.reserve("a", 60, pytest.fail)
    for number in range(5000):
        assert not room.reserve("a", 60, resume(number))
    room.release("a", 60)
    assert order == list(range(5000))
    assert room.used == 0


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 60)), max_size=60))
def test_however_many_jobs_hang_there_is_room_left_for_the_first_byte_of_the_next(asked: list[tuple[int, int]]) -> None:
    """Jobs 0 to 9 take and never give back, in portions of at most half of all."""
    room = Room(bytes_max=100_000, job_share_max=0.5)
    for job, num_bytes in asked * 20:
        room.reserve(f"hung {job}", num_bytes, lambda: None)
    assert room.used < 100_000
    assert room.reserve("lively", 1, pytest.fail)
