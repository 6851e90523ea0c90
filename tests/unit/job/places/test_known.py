"""The table of devices that asked lately."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.flare.quirks import covers
from turnout.job.places.known import KnownDevices
from turnout.job.places.leases import device_hash

KNOWN_S = 100.0
SECRET = b"a secret"


def hashes(count: int) -> list[bytes]:
    return [device_hash(f"device-{number}") for number in range(count)]


def drawn(known: KnownDevices, now: float, times: int) -> Counter[bytes]:
    rng = Random(7)
    found = Counter(known.draw(now, rng) for _ in range(times))
    return Counter({device: count for device, count in found.items() if device is not None})


def test_nobody_is_drawn_while_nobody_is_known() -> None:
    assert KnownDevices(KNOWN_S, SECRET).draw(0.0, Random(1)) is None


def test_a_device_that_asks_often_is_known_once() -> None:
    known = KnownDevices(KNOWN_S, SECRET)
    for tick in range(50):
        known.see(device_hash("a"), tick * 0.1)
    assert known.count(5.0) == 1
    assert known.draw(5.0, Random(1)) == device_hash("a")


def test_each_device_is_as_likely_as_any_other_whatever_the_size_of_the_table() -> None:
    """Of 1,000 devices, 900 of which are seen again and again; 100 draws for each give 100 give or take 5 sigma."""
    known, devices = KnownDevices(KNOWN_S, SECRET), hashes(1000)
    for _ in range(3):
        for device in devices[:900]:
            known.see(device, 0.0)
    for device in devices[900:]:
        known.see(device, 0.0)
    counts = drawn(known, 0.0, 100_000)
    assert set(counts) == set(devices)
    assert min(counts.values()) > 50
    assert max(counts.values()) < 150
    assert abs(sum(counts[device] for device in devices[900:]) - 10_000) < 500


class CountingRandom(Random):
    """How many slots a draw looked at: it draws a number for each."""

    looks = 0

    def randrange(self, *args: int, **kwargs: int) -> int:
        self.looks += 1
        return super().randrange(*args, **kwargs)


@covers("hole-23")
@pytest.mark.parametrize("devices", [1_000, 10_000, 100_000])
def test_a_draw_looks_at_as_few_slots_however_many_devices_are_known(devices: int) -> None:
    """At least a quarter of the slots are in use, even while the table moves: that is four looks on average."""
    known, rng = KnownDevices(KNOWN_S, SECRET), CountingRandom(1)
    for device in hashes(devices):
        known.see(device, 0.0)
    assert all(known.draw(0.0, rng) for _ in range(1000))
    assert 1000 <= rng.looks < 5000


def test_draws_stay_even_while_the_table_moves_to_another_size() -> None:
    known, devices = (
        KnownDevices(KNOWN_S, SECRET),
        hashes(769),
    )  # 768 is three quarters of 1,024 slots: the move has begun
    for device in devices:
        known.see(device, 0.0)
    counts = drawn(known, 0.0, 76_900)
    assert set(counts) == set(devices)
    assert max(counts.values()) < 160


@covers("id/forever", "hole-11")
def test_who_was_silent_is_drawn_no_more_and_then_forgotten() -> None:
    known = KnownDevices(KNOWN_S, SECRET)
    for device in hashes(100):
        known.see(device, 0.0)
    assert drawn(known, 99.0, 100)
    assert not drawn(known, 151.0, 100)
    assert known.count(151.0) == 0
    for _ in range(200):  # the table is looked through, a few slots at a time
        known.see(device_hash("new"), 150.0)
    assert known.count(151.0) == 1
    assert known.num_bytes < 1000


def test_a_device_that_keeps_asking_is_never_forgotten() -> None:
    known = KnownDevices(KNOWN_S, SECRET)
    for tick in range(2000):
        known.see(device_hash("a"), tick * 10.0)
        known.see(device_hash(f"passing-{tick}"), tick * 10.0)
    assert known.count(20_000.0) <= 2 * 16
    assert known.num_bytes < 4000
    assert device_hash("a") in drawn(known, 20_000.0, 1000)


def test_a_hundred_thousand_devices_take_less_than_100_bytes_each_while_they_come() -> None:
    known, most = KnownDevices(KNOWN_S, SECRET), 0.0
    for number, device in enumerate(hashes(100_000), start=1):
        known.see(device, 0.0)
        if number > 1000:
            most = max(most, known.num_bytes / number)
    assert known.count(0.0) == 100_000
    assert most < 100


def test_memory_comes_back_when_most_devices_are_gone() -> None:
    known = KnownDevices(KNOWN_S, SECRET)
    for device in hashes(10_000):
        known.see(device, 0.0)
    most = known.num_bytes
    for tick in range(20_000):
        known.see(device_hash("one"), 150.0 + tick * 0.001)
    assert known.count(170.0) == 1
    assert known.num_bytes < most / 100


def test_those_who_were_silent_do_not_count_though_they_are_not_forgotten_yet() -> None:
    known = KnownDevices(KNOWN_S, SECRET)
    for device in hashes(1000):
        known.see(device, 0.0)
    known.see(device_hash("new"), 150.0)
    assert known.count(150.0) == 1


def test_after_a_long_silence_of_all_nobody_is_known() -> None:
    """Ages are told for 255 steps only: nobody must seem to have asked lately after that."""
    known = KnownDevices(KNOWN_S, SECRET)
    for device in hashes(100):
        known.see(device, 0.0)
    later = 50.0 * 255
    known.see(device_hash("new"), later)
    assert set(drawn(known, later, 100)) == {device_hash("new")}


def test_a_device_that_is_to_be_forgotten_is_not_drawn_until_it_asks_again() -> None:
    known = KnownDevices(KNOWN_S, SECRET)
    for device in hashes(800):
        known.see(device, 0.0)
    known.forget(hashes(1)[0])
    assert known.count(0.0) == 799
    assert hashes(1)[0] not in drawn(known, 0.0, 20_000)
    known.see(hashes(1)[0], 0.0)
    assert known.count(0.0) == 800


def test_devices_that_were_made_up_to_stand_in_each_others_way_do_not_without_the_secret() -> None:
    """By the lower bits of their hashes, all 2,000 would want 8 of the 4,096 slots."""
    known = KnownDevices(KNOWN_S, SECRET)
    for number in range(2000):
        known.see((number << 9).to_bytes(8) + bytes(8), 0.0)
    assert known.count(0.0) == 2000
    longest = run = 0
    for age in known._table.ages:
        run = run + 1 if age else 0
        longest = max(longest, run)
    assert longest < 200


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from((0.0, 0.5, 30.0, 60.0))), max_size=300))
def test_it_knows_whom_a_plain_dictionary_would_know(asks: list[tuple[int, float]]) -> None:
    """Whoever asked within ``known_s`` is in it; nobody is who was silent for longer than half as long again, when the
    table has been looked through since.
    """
    known, last, now = KnownDevices(KNOWN_S, SECRET), dict[bytes, float](), 0.0
    for number, pause in asks:
        now += pause
        device = device_hash(str(number))
        known.see(device, now)
        last[device] = now
    counts = drawn(known, now, 600)
    surely = {device for device, at in last.items() if now - at < KNOWN_S}
    perhaps = {device for device, at in last.items() if now - at <= 1.5 * KNOWN_S}
    assert surely <= set(counts) <= perhaps
