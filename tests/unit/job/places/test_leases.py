"""Leases: sealed by one job for one device, live until result or expiry."""

import hmac
import itertools
import string
from base64 import urlsafe_b64decode, urlsafe_b64encode

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from turnout.job.places.leases import SEAL_BYTES, TASK_ID_CHARS, Lease, LeaseTime, LiveLeases, Seal, device_hash

KEY = b"k" * 32
LEASE = Lease(version=7, task=42, device=device_hash("a"), weight_max=100.0, granted_at=3.0, expires_at=63.0)


def test_a_sealed_lease_opens_to_itself() -> None:
    seal = Seal("job-1", KEY)
    assert seal.open(seal.close(LEASE)) == LEASE


def test_the_same_lease_always_gives_the_same_task_id() -> None:
    assert Seal("job-1", KEY).close(LEASE) == Seal("job-1", KEY).close(LEASE)


def test_leases_of_earlier_releases_open() -> None:
    earlier = "AQJqtjnCHfiqAAAABwAAAAAAAAAqypeBEsobvcr6wjGzmiPcTUBZAAAAAAAAQAgAAAAAAABAT4AAAAAAAKHewtqfpRLJi9jvbT5iHpk"
    assert Seal("job-1", KEY).open(earlier) == LEASE


@given(st.binary(max_size=64))
def test_a_lease_ends_with_the_hmac_of_the_rest_cut_to_half(key: bytes) -> None:
    task_id = Seal("job-1", key).close(LEASE)
    sealed = urlsafe_b64decode(task_id + "=" * (-len(task_id) % 4))
    assert sealed[-SEAL_BYTES:] == hmac.digest(key, sealed[:-SEAL_BYTES], "sha256")[:SEAL_BYTES]


def test_a_text_of_another_length_does_not_open() -> None:
    task_id = Seal("job-1", KEY).close(LEASE)
    assert len(task_id) == TASK_ID_CHARS
    for longer in (task_id + "=", task_id + "A", "=" + task_id, task_id + "\n"):
        assert Seal("job-1", KEY).open(longer) is None
    assert Seal("job-1", KEY).open(task_id[:-1]) is None


def test_a_lease_of_another_job_or_key_does_not_open() -> None:
    task_id = Seal("job-1", KEY).close(LEASE)
    assert Seal("job-2", KEY).open(task_id) is None
    assert Seal("job-1", b"other").open(task_id) is None


@given(st.integers(0, TASK_ID_CHARS * 6 - 1))
def test_a_lease_with_any_bit_changed_does_not_open(bit: int) -> None:
    seal = Seal("job-1", KEY)
    task_id = seal.close(LEASE)
    sealed = bytearray(urlsafe_b64decode(task_id + "=" * (-len(task_id) % 4)))
    sealed[bit // 8 % len(sealed)] ^= 1 << bit % 8
    assert seal.open(urlsafe_b64encode(sealed).decode().rstrip("=")) is None


@given(st.text(max_size=200))
def test_no_text_that_was_not_sealed_opens(text: str) -> None:
    assert Seal("job-1", KEY).open(text) is None


def lease(device: str, task: int, expires_at: float, version: int = 0) -> Lease:
    return Lease(version, task, device_hash(device), 1.0, 0.0, expires_at)


def test_a_device_has_one_live_lease_until_it_ends() -> None:
    live = LiveLeases([lease("a", 1, 10.0)])
    assert live.of(device_hash("a")) == lease("a", 1, 10.0)
    assert not live.end(device_hash("a"), task=2), "not its task"
    assert live.end(device_hash("a"), task=1)
    assert live.of(device_hash("a")) is None
    assert len(live) == 0


def test_leases_expire_in_the_order_of_their_time_not_of_their_grant() -> None:
    live = LiveLeases([lease("a", 1, 30.0), lease("b", 2, 10.0), lease("c", 3, 20.0)])
    assert [each.task for each in live.expire(now=20.0)] == [2, 3]
    assert [each.task for each in live.expire(now=29.9)] == []
    assert [each.task for each in live.expire(now=30.0)] == [1]


def test_a_lease_that_ended_does_not_expire_the_next_one_of_its_device() -> None:
    live = LiveLeases([lease("a", 1, 10.0)])
    live.end(device_hash("a"), 1)
    live.add(lease("a", 2, 50.0))
    assert live.expire(now=20.0) == []
    assert live.of(device_hash("a")) == lease("a", 2, 50.0)


def test_the_same_task_given_again_lives_until_its_new_time() -> None:
    live = LiveLeases([lease("a", 1, 10.0)])
    live.end(device_hash("a"), 1)
    live.add(lease("a", 1, 50.0))
    assert live.expire(now=20.0) == []
    assert [each.task for each in live.expire(now=50.0)] == [1]


def test_leases_of_versions_out_of_the_window_are_ended_together() -> None:
    live = LiveLeases([lease("a", 1, 90.0, version=1), lease("b", 2, 90.0, version=2), lease("c", 3, 90.0, version=2)])
    assert live.on(2) == 2
    assert live.end_older(version_min=2) == 1
    assert [each.task for each in live.all()] == [2, 3]


def test_a_lease_lasts_four_times_the_p90_of_observed_durations() -> None:
    time = LeaseTime(first_s=60.0, min_s=1.0, max_s=600.0)
    assert time.lease_s == 60.0, "nothing observed yet"
    for duration_s in range(1, 21):
        time.observe(float(duration_s))
    assert time.lease_s == 4 * 18.0, "18 is the 90th percentile of 1..20"


def test_a_lease_stays_within_its_bounds() -> None:
    time = LeaseTime(first_s=60.0, min_s=5.0, max_s=100.0)
    for _ in range(20 + 4 * LeaseTime.REFRESH):
        time.observe(0.001)
    assert time.lease_s == 5.0
    for _ in range(LeaseTime.WINDOW + 5 * LeaseTime.REFRESH):
        time.observe(1000.0)
    assert time.lease_s == 100.0


def test_a_lease_lasts_at_most_eight_medians() -> None:
    """Half of the devices take 1 s; the p90 is 10 s, and four times that would be 40 s."""
    time = LeaseTime(first_s=10.0, min_s=0.1, max_s=600.0)
    for duration_s in [1.0] * 12 + [10.0] * 8:
        time.observe(duration_s)
    assert time.lease_s == 8.0


def test_a_lease_changes_by_at_most_a_factor_of_two_at_once_up_or_down() -> None:
    time = LeaseTime(first_s=10.0, min_s=0.01, max_s=10_000.0)
    course = []
    for duration_s in [0.01] * 20 + [0.01] * 4 * LeaseTime.WINDOW + [1000.0] * 4 * LeaseTime.WINDOW:
        time.observe(duration_s)
        if not course or course[-1] != time.lease_s:
            course.append(time.lease_s)
    steps = [after / before for before, after in itertools.pairwise(course)]
    assert min(course) == 0.04, "four times 0.01 s"
    assert max(course) > 1000.0
    assert all(0.5 <= step <= 2.0 for step in steps)


def test_forty_late_strangers_of_256_double_the_lease_at_most() -> None:
    """They hold their tasks for 40 s where the fleet takes 0.25 s, and are forgotten as fast as they came."""
    time = LeaseTime(first_s=1.0, min_s=0.1, max_s=3600.0)
    for _ in range(LeaseTime.WINDOW):
        time.observe(0.25)
    assert time.lease_s == 1.0
    highest = 0.0
    for number in range(LeaseTime.WINDOW):
        time.observe(40.0 if number % 6 == 0 and number < 240 else 0.25)
        highest = max(highest, time.lease_s)
    assert highest == 2.0
    for _ in range(LeaseTime.WINDOW):
        time.observe(0.25)
    assert time.lease_s == 1.0


def test_forty_late_strangers_at_once_double_the_lease_at_most() -> None:
    time = LeaseTime(first_s=1.0, min_s=0.1, max_s=3600.0)
    for duration_s in [0.25] * 216 + [40.0] * 40:
        time.observe(duration_s)
    assert time.lease_s <= 2.0


def test_a_lease_has_one_spelling() -> None:
    """The last of 107 characters has two bits to spare, and Base64 has two alphabets."""
    seal = Seal("job-1", KEY)
    task_id = seal.close(msgspec.structs.replace(LEASE, granted_at=3.1, expires_at=63.1))
    assert {"-", "_"} & set(task_id), "else the other alphabet spells it the same"
    assert seal.open(task_id) is not None
    assert seal.open(task_id.replace("-", "+").replace("_", "/")) is None
    others = set(string.ascii_letters + string.digits + "-_+/=") - {task_id[-1]}
    assert [last for last in others if seal.open(task_id[:-1] + last) is not None] == []
