"""Wrong tokens are slowed, by peer, in a table that cannot grow."""

import pytest

from tests.unit.control.world import World
from turnout.control.failures import BURST, PEERS_MAX, Failures, peer_of


def test_a_peer_may_fail_some_times_and_then_once_a_second() -> None:
    known = Failures()
    for _ in range(BURST):
        assert known.wait_s("a", 0.0) == 0
        known.failed("a", 0.0)
    assert known.wait_s("a", 0.0) == 1.0
    assert known.wait_s("a", 0.25) == 0.75
    assert known.wait_s("a", 1.0) == 0
    assert known.wait_s("b", 0.0) == 0


def test_the_table_forgets_who_failed_longest_ago() -> None:
    known = Failures()
    for number in range(3 * PEERS_MAX):
        known.failed(str(number), 0.0)
    assert len(known._left) == PEERS_MAX
    assert str(3 * PEERS_MAX - 1) in known._left


def test_all_addresses_of_one_ipv6_network_are_one_peer() -> None:
    assert peer_of("2001:db8::1") == peer_of("2001:db8::ffff:1%eth0") != peer_of("2001:db8:0:1::1")
    assert peer_of("10.0.0.1") != peer_of("10.0.0.2")
    assert peer_of("") == ""


async def statuses(world: World, times: int, token: str) -> list[int]:
    return [(await world.call("GET", "/api/jobs", authorization=f"Bearer {token}")).status for _ in range(times)]


@pytest.mark.anyio
@pytest.mark.parametrize("peer", ["127.0.0.1", "192.0.2.7"])
async def test_wrong_tokens_are_refused_for_a_while_and_the_right_one_of_the_same_peer_passes(
    world: World, peer: str
) -> None:
    world.peer = peer
    assert await statuses(world, BURST + 2, "turnout_wrong") == [401] * BURST + [429] * 2
    refused = await world.call("GET", "/api/jobs", authorization="Bearer turnout_wrong")
    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    assert (await world.call("GET", "/api/jobs")).status == 200
    world.now += 1.0
    assert await statuses(world, 2, "turnout_wrong") == [401, 429]
