"""Who gets a free place, and when the others come back."""

from random import Random

from turnout.job.places.pacing import AppointmentBook
from turnout.job.places.selection import CheckIn


def test_waiting_devices_are_told_to_come_at_the_wanted_rate() -> None:
    book = AppointmentBook(rate=10.0, wait_min_s=0.0, wait_max_s=1000.0)
    rng = Random(1)
    returns = sorted(book.wait(now=0.0, rng=rng) for _ in range(500))
    assert 40 < returns[-1] < 60, "500 devices at 10 a second take 50 s, jitter aside"
    in_the_middle = sum(20 <= at < 30 for at in returns)
    assert 85 < in_the_middle < 115


def test_waits_stay_within_their_bounds() -> None:
    book = AppointmentBook(rate=1.0, wait_min_s=2.0, wait_max_s=30.0)
    rng = Random(1)
    waits = [book.wait(now=0.0, rng=rng) for _ in range(200)]
    assert min(waits) >= 2.0
    assert max(waits) <= 30.0


def test_nobody_is_sent_past_the_deadline_of_a_waiting_cohort() -> None:
    book = AppointmentBook(rate=0.01, wait_min_s=1.0, wait_max_s=1000.0)
    waits = sorted(book.wait(now=0.0, rng=Random(seed), until=7.0) for seed in range(200))
    assert 3.5 <= waits[0] < 3.7, "nor all of them to the same moment"
    assert 6.8 < waits[-1] <= 7.0


def test_when_only_half_of_the_devices_return_twice_as_many_are_told() -> None:
    """A told device returns with probability one half; the asks must settle near the wanted rate."""
    book, rng = AppointmentBook(rate=20.0, wait_min_s=0.0, wait_max_s=60.0), Random(1)
    due = [rng.random() * 10 for _ in range(2000)]
    asks_late = 0
    while due:
        due.sort()
        now = due.pop(0)
        if now > 300:
            break
        book.arrived(now)
        asks_late += now > 200
        wait = book.wait(now, rng)
        due.append(now + wait if rng.random() < 0.5 else now + wait + 60 * rng.random())
    assert 0.1 <= book.share <= 1.0
    assert 14 < asks_late / 100 < 30


def ask(selection: CheckIn, free: int, now: float, rng: Random) -> bool:
    """Whether a device that nobody knows gets a place."""
    selection.asked(b"d", "d", now, drawn=True)
    return selection.admits(b"d", free, now, rng, reported=False)


def test_a_free_place_goes_to_the_device_that_asks() -> None:
    assert ask(CheckIn(window_s=0.2), free=1, now=0.0, rng=Random(1))


def test_nobody_gets_a_place_when_none_is_free() -> None:
    assert not ask(CheckIn(window_s=0.2), free=0, now=0.0, rng=Random(1))


def test_when_many_ask_for_few_places_chance_decides() -> None:
    """1,000 asks a second and one free place at a time: an ask has one chance in 200."""
    selection, rng = CheckIn(window_s=0.2), Random(1)
    for tick in range(5000):
        ask(selection, free=0, now=tick / 1000, rng=rng)
    drawn = sum(ask(selection, free=1, now=5 + tick / 1000, rng=rng) for tick in range(10_000))
    assert 25 < drawn < 85


def test_the_first_ask_after_a_report_has_the_chance_of_those_who_wait() -> None:
    """99 wait beside it, and ten places are free: one in ten, though nobody else asks now."""
    selection, rng = CheckIn(window_s=0.0, waiting=lambda now: 99), Random(1)
    drawn = sum(selection.admits(b"d", 10, float(tick), rng, reported=True) for tick in range(1000))
    assert 70 < drawn < 130
    assert CheckIn(window_s=0.0, waiting=lambda now: 9).admits(b"d", 10, 0.0, rng, reported=True), "one for each"


def test_without_a_window_the_first_that_asks_wins() -> None:
    selection, rng = CheckIn(window_s=0.0), Random(1)
    assert all(ask(selection, free=1, now=tick / 1000, rng=rng) for tick in range(1000))


def test_devices_told_to_wait_are_counted_until_their_appointment() -> None:
    book, rng = AppointmentBook(rate=10.0, wait_min_s=20.0, wait_max_s=600.0), Random(1)
    waits = [book.wait(0.0, rng) for _ in range(30)]
    assert book.waiting(0.0) == 30
    assert book.latest == max(waits)
    assert book.waiting(max(waits) + 5.0) == 0


def test_devices_that_come_again_within_seconds_are_counted_once() -> None:
    """A hundred devices that come when they were told to, some ten times within one bin."""
    book, rng = AppointmentBook(rate=200.0, wait_min_s=0.2, wait_max_s=30.0), Random(1)
    due = [0.0] * 100
    counted = []
    for step in range(1, 1000):
        now = step / 100
        for device, at in enumerate(due):
            if at <= now:
                book.arrived(now)
                due[device] = now + book.wait(now, rng)
        counted.append(book.waiting(now))
    assert min(counted[100:]) >= 90
    assert max(counted[100:]) <= 150
