"""What every transport promises. Run on each of them."""

import asyncio

import pytest

from turnout.messages import RunningJob, Topic
from turnout.transport.base import Reply

from .conftest import QUEUE_BYTES_MAX, Job, World, echo

pytestmark = pytest.mark.anyio


async def open_and_wait(world: World, job: RunningJob) -> None:
    count = len(world.events.of("connected")) + 1
    world.transport.open(job)
    await world.events.wait("connected", count)


async def test_a_request_is_answered_under_its_ticket(world: World) -> None:
    job = await world.start(world.job("a"), Job(echo))
    await open_and_wait(world, job)

    assert world.transport.send("a", 7, Topic.TASK, b"hello")

    assert await world.events.wait("replied") == [(7, b"echo hello")]


async def test_a_connection_knows_the_jobs_incarnation(world: World) -> None:
    job = await world.start(world.job("a"), Job(echo), incarnation=3)

    await open_and_wait(world, job)

    assert world.events.seen == [("connected", "a", 3)]


@pytest.mark.parametrize("topic", Topic)
async def test_every_topic_arrives_as_itself(world: World, topic: Topic) -> None:
    handler = Job()
    await open_and_wait(world, await world.start(world.job("a"), handler))

    world.transport.send("a", 1, topic, b"payload")

    ((received, payload, _),) = await handler.wait()
    assert (received, payload) == (topic, b"payload")


async def test_requests_arrive_in_the_order_they_were_sent(world: World) -> None:
    handler = Job()
    await open_and_wait(world, await world.start(world.job("a"), handler))

    for ticket in range(500):
        assert world.transport.send("a", ticket, Topic.TASK, str(ticket).encode())

    assert [payload for _, payload, _ in await handler.wait(500)] == [str(ticket).encode() for ticket in range(500)]


async def test_replies_come_in_any_order_and_each_finds_its_ticket(world: World) -> None:
    handler = Job()
    await open_and_wait(world, await world.start(world.job("a"), handler))
    for ticket in (1, 2, 3):
        world.transport.send("a", ticket, Topic.TASK, str(ticket).encode())

    for _, payload, reply in reversed(await handler.wait(3)):
        reply(payload * 2)

    assert await world.events.wait("replied", 3) == [(3, b"33"), (2, b"22"), (1, b"11")]


async def test_nothing_is_delivered_from_inside_send(world: World) -> None:
    await open_and_wait(world, await world.start(world.job("a"), Job(echo)))
    before = list(world.events.seen)

    world.transport.send("a", 1, Topic.TASK, b"")

    assert world.events.seen == before
    await world.events.wait("replied")


async def test_many_large_results_of_one_tick_arrive_whole(world: World) -> None:
    handler = Job()
    await open_and_wait(world, await world.start(world.job("a"), handler))
    updates = [bytes([ticket]) * 9_000 for ticket in range(10)]

    for ticket, update in enumerate(updates):
        assert world.transport.send("a", ticket, Topic.RESULT, update)

    assert [payload for _, payload, _ in await handler.wait(10)] == updates


async def test_a_result_larger_than_the_queue_goes_when_it_goes_alone(world: World) -> None:
    handler = Job(lambda payload, reply: reply(bytes(reversed(payload[:10])) + payload))
    await open_and_wait(world, await world.start(world.job("a"), handler))
    update = bytes(range(256)) * 20_000

    assert world.transport.send("a", 1, Topic.RESULT, update)

    assert await world.events.wait("replied") == [(1, bytes(reversed(update[:10])) + update)]


async def test_nothing_is_taken_beyond_the_bound_of_the_queue(world: World) -> None:
    await open_and_wait(world, await world.start(world.job("a"), Job()))
    size = QUEUE_BYTES_MAX // 4

    taken = [world.transport.send("a", ticket, Topic.RESULT, bytes(size)) for ticket in range(5)]

    assert taken == [True, True, True, False, False]


async def test_a_request_that_the_job_cannot_handle_fails_alone(world: World) -> None:
    def react(payload: bytes, reply: Reply) -> None:
        if payload == b"2":
            raise ValueError("cannot")
        reply(payload)

    await open_and_wait(world, await world.start(world.job("a"), Job(react)))
    for ticket in (1, 2, 3):
        world.transport.send("a", ticket, Topic.TASK, str(ticket).encode())

    await world.events.wait("replied", 2)
    assert await world.events.wait("failed") == [(2, "ValueError: cannot")]
    assert world.events.of("replied") == [(1, b"1"), (3, b"3")]
    assert world.events.of("lost") == []


async def test_a_job_may_fail_a_request_itself(world: World) -> None:
    await open_and_wait(world, await world.start(world.job("a"), Job(lambda payload, reply: reply.fail("full"))))

    world.transport.send("a", 1, Topic.TASK, b"")

    assert await world.events.wait("failed") == [(1, "full")]


async def test_a_job_that_was_never_opened_cannot_be_sent_to(world: World) -> None:
    assert not world.transport.send("a", 1, Topic.TASK, b"")


async def test_a_job_that_does_not_answer_yet_cannot_be_sent_to(world: World) -> None:
    world.transport.open(world.job("a"))

    assert not world.transport.send("a", 1, Topic.TASK, b"")


async def test_a_job_that_starts_late_is_found(world: World) -> None:
    job = world.job("a")
    world.transport.open(job)

    await world.start(job, Job(echo), incarnation=5)

    assert await world.events.wait("connected") == [("a", 5)]


async def test_a_job_that_dies_is_lost_and_cannot_be_sent_to(world: World) -> None:
    handler = Job()
    job = await world.start(world.job("a"), handler)
    await open_and_wait(world, job)
    world.transport.send("a", 1, Topic.TASK, b"")
    await handler.wait()

    await world.crash(job)

    assert await world.events.wait("lost") == [("a",)]
    assert not world.transport.send("a", 2, Topic.TASK, b"")
    assert world.events.of("replied") == []


async def test_a_restarted_job_is_lost_and_then_connected_with_its_new_incarnation(world: World) -> None:
    job = await world.start(world.job("a"), Job(echo), incarnation=1)
    await open_and_wait(world, job)

    await world.crash(job)
    await world.start(job, Job(echo), incarnation=2)
    await world.events.wait("connected", 2)

    assert world.events.seen == [("connected", "a", 1), ("lost", "a"), ("connected", "a", 2)]
    assert world.transport.send("a", 1, Topic.TASK, b"again")
    assert await world.events.wait("replied") == [(1, b"echo again")]


async def test_a_reply_of_a_former_start_is_never_delivered(world: World) -> None:
    old = Job()
    job = await world.start(world.job("a"), old, incarnation=1)
    await open_and_wait(world, job)
    world.transport.send("a", 1, Topic.TASK, b"")
    ((_, _, reply),) = await old.wait()
    await world.crash(job)
    await world.start(job, Job(echo), incarnation=2)
    await world.events.wait("connected", 2)

    reply(b"late")
    reply.fail("late")
    world.transport.send("a", 2, Topic.TASK, b"new")

    assert await world.events.wait("replied") == [(2, b"echo new")]
    assert world.events.of("failed") == []


async def test_a_late_reply_is_delivered_for_its_ticket_whoever_still_knows_it(world: World) -> None:
    handler = Job()
    await open_and_wait(world, await world.start(world.job("a"), handler))
    world.transport.send("a", 1, Topic.TASK, b"slow")
    world.transport.send("a", 2, Topic.TASK, b"fast")
    (_, _, slow), (_, _, fast) = await handler.wait(2)

    fast(b"first")
    slow(b"second")

    assert await world.events.wait("replied", 2) == [(2, b"first"), (1, b"second")]


async def test_closing_a_job_reports_it_lost_and_nothing_after(world: World) -> None:
    handler = Job()
    await open_and_wait(world, await world.start(world.job("a"), handler))
    world.transport.send("a", 1, Topic.TASK, b"")
    ((_, _, reply),) = await handler.wait()

    world.transport.close("a")
    reply(b"late")
    other = await world.start(world.job("b"), Job(echo))
    await open_and_wait(world, other)

    assert world.events.seen == [("connected", "a", 1), ("lost", "a"), ("connected", "b", 1)]
    assert not world.transport.send("a", 2, Topic.TASK, b"")


async def test_closing_a_job_that_never_answered_reports_nothing(world: World) -> None:
    world.transport.open(world.job("a"))
    world.transport.close("a")
    world.transport.close("unknown")

    assert world.events.seen == []


async def test_opening_a_job_again_at_its_address_changes_nothing(world: World) -> None:
    job = await world.start(world.job("a"), Job(echo))
    await open_and_wait(world, job)

    world.transport.open(job)
    world.transport.send("a", 1, Topic.TASK, b"")
    await world.events.wait("replied")

    assert world.events.of("connected") == [("a", 1)]
    assert world.events.of("lost") == []


async def test_opening_a_job_at_another_address_moves_the_connection_there(world: World) -> None:
    await open_and_wait(world, await world.start(world.job("a"), Job(lambda payload, reply: reply(b"old"))))
    moved = await world.start(world.job("a"), Job(lambda payload, reply: reply(b"new")), incarnation=2)

    await open_and_wait(world, moved)
    world.transport.send("a", 1, Topic.TASK, b"")

    assert await world.events.wait("replied") == [(1, b"new")]
    assert world.events.seen[:3] == [("connected", "a", 1), ("lost", "a"), ("connected", "a", 2)]


async def test_a_job_that_answers_nothing_does_not_hold_up_another(world: World) -> None:
    await open_and_wait(world, await world.start(world.job("silent"), Job()))
    await open_and_wait(world, await world.start(world.job("lively"), Job(echo)))
    for ticket in range(100):
        world.transport.send("silent", ticket, Topic.TASK, bytes(500))

    world.transport.send("lively", 1000, Topic.TASK, b"hello")

    assert await world.events.wait("replied") == [(1000, b"echo hello")]


async def test_no_task_is_left_behind(world: World) -> None:
    before = asyncio.all_tasks()
    job = await world.start(world.job("a"), Job(echo))
    await open_and_wait(world, job)

    world.transport.close("a")
    await world.crash(job)
    async with asyncio.timeout(5):
        while asyncio.all_tasks() - before:
            await asyncio.wait(asyncio.all_tasks() - before)

    assert asyncio.all_tasks() == before
