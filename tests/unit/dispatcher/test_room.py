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
    while room.ask(job_id, 1, lambda: None):
        count += 1
    return count


def test_a_job_takes_half_of_what_the_others_leave(room: Room) -> None:
    assert [fill(room, job_id) for job_id in ("a", "b", "c")] == [60, 30, 15]


def test_a_job_that_holds_nothing_takes_what_fits_at_all(room: Room) -> None:
    assert room.ask("a", 100, pytest.fail)
    assert not room.fits("a", 1)
    assert not room.fits("b", 21)
    assert room.fits("b", 20)


def test_what_is_larger_than_all_goes_alone(room: Room) -> None:
    assert room.ask("a", 1000, pytest.fail)
    assert not room.fits("b", 1)
    room.leave("a", 1000)
    assert room.held == 0


def test_one_who_waits_goes_on_when_its_job_has_left_enough(room: Room) -> None:
    resumed: list[str] = []
    assert room.ask("a", 50, pytest.fail)
    assert not room.ask("a", 11, lambda: resumed.append("second"))
    room.resume()
    assert resumed == []
    room.leave("a", 1)
    room.resume()
    assert resumed == ["second"]
    assert room.held == 60


def test_within_a_job_nobody_overtakes(room: Room) -> None:
    assert room.ask("a", 50, pytest.fail)
    assert not room.ask("a", 40, pytest.fail)
    assert not room.ask("a", 1, pytest.fail)
    room.resume()


def test_who_is_let_in_at_once_fits_and_passes_nobody_who_waits(room: Room) -> None:
    assert room.ask("a", 50, pytest.fail)
    assert room.lets_in("a", 10)
    assert not room.lets_in("a", 11)
    assert not room.ask("a", 40, pytest.fail)
    assert not room.lets_in("a", 10)
    assert room.lets_in("b", 10)
    assert room.held == 50


def test_no_job_waits_behind_another(room: Room) -> None:
    resumed: list[str] = []
    assert room.ask("hung", 60, pytest.fail)
    assert not room.ask("hung", 1, pytest.fail)
    assert room.ask("lively", 30, pytest.fail)
    assert not room.ask("lively", 30, lambda: resumed.append("lively"))
    room.leave("lively", 30)
    room.resume()
    assert resumed == ["lively"]


def test_jobs_that_wait_take_turns(room: Room) -> None:
    resumed: list[str] = []
    room.enter("full", 120)
    for job_id in ("a", "a", "a", "b", "b"):
        assert not room.ask(job_id, 10, lambda job_id=job_id: resumed.append(job_id))  # type: ignore[misc]
    room.leave("full", 120)
    room.resume()
    assert resumed == ["a", "b", "a", "b", "a"]


def test_one_who_goes_on_may_leave_and_ask_at_once(room: Room) -> None:
    order: list[int] = []

    def resume(number: int) -> Callable[[], None]:
        def go_on() -> None:
            order.append(number)
            room.leave("a", 60)
            room.resume()

        return go_on

    assert room.ask("a", 60, pytest.fail)
    for number in range(5000):
        assert not room.ask("a", 60, resume(number))
    room.leave("a", 60)
    room.resume()
    assert order == list(range(5000))
    assert room.held == 0


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 60)), max_size=60))
def test_however_many_jobs_hang_there_is_room_left_for_the_first_byte_of_the_next(asked: list[tuple[int, int]]) -> None:
    """Jobs 0 to 9 take and never give back, in portions of at most half of all."""
    room = Room(bytes_max=100_000, job_share_max=0.5)
    for job, num_bytes in asked * 20:
        room.ask(f"hung {job}", num_bytes, lambda: None)
    assert room.held < 100_000
    assert room.ask("lively", 1, pytest.fail)
