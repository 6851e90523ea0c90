"""Watching a job: history, stream, log and fleet."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from starlette.requests import Request
from starlette.responses import StreamingResponse

from tests.unit.control.world import World, submitted
from turnout.control.known import KnownJobs
from turnout.control.problems import Problem
from turnout.control.routes import watching
from turnout.control.routes.watching import WatchingRoutes
from turnout.control.samples import Samples
from turnout.messages import FleetGroup, JobEvent, JobStatus

pytestmark = pytest.mark.anyio


def log(world: World, job_id: str, *events: JobEvent) -> None:
    with (world.jobs.folder(job_id) / "events.jsonl").open("ab") as file:
        for event in events:
            file.write(msgspec.json.encode(event) + b"\n")


def parsed(stream: bytes) -> list[tuple[str, str, Any]]:
    """Each event of a stream: its kind, id and data."""
    found = []
    for block in stream.decode().strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields["event"], fields.get("id", ""), json.loads(fields["data"])))
    return found


async def test_the_history_has_events_and_samples_and_since_leaves_out_what_is_known(world: World) -> None:
    job_id = await submitted(world)
    world.start(job_id, JobStatus(job_id, "digits", "OPEN", "buffered", version=1, staleness={0: 3}))
    log(world, job_id, JobEvent(1.0, "started"), JobEvent(2.0, "published", 1, counted=3))
    await world.api.sampler.take()
    shown = (await world.call("GET", f"/api/jobs/{job_id}/history")).json
    assert [event["kind"] for event in shown["events"]] == ["started", "published"]
    assert [(sample["at"], sample["version"], sample["lost"]) for sample in shown["samples"]] == [(5.0, 1, 0)]
    assert shown["samples"][0]["staleness"] == {"0": 3}
    later = (await world.call("GET", f"/api/jobs/{job_id}/history?since=1.5")).json
    assert [event["kind"] for event in later["events"]] == ["published"]
    for since in ("yesterday", "", "1_0", "nan", "-1"):
        assert (await world.call("GET", f"/api/jobs/{job_id}/history?since={since}")).status == 400, since


async def test_the_last_sample_of_a_job_is_what_it_came_to(world: World) -> None:
    job_id = await submitted(world)
    world.start(job_id, JobStatus(job_id, "digits", "OPEN", "buffered", version=2, training=4))
    await world.api.sampler.take()
    world.end(job_id, version=3, finished="version 3")
    world.now = 6.0
    await world.api.sampler.take()
    world.now = 7.0
    await world.api.sampler.take()
    shown = (await world.call("GET", f"/api/jobs/{job_id}/history")).json["samples"]
    assert [(sample["at"], sample["version"], sample["training"]) for sample in shown] == [(5.0, 2, 4), (6.0, 3, 0)]


async def test_the_stream_of_an_ended_job_tells_everything_and_ends(world: World) -> None:
    job_id = await submitted(world)
    log(world, job_id, JobEvent(1.0, "started"), JobEvent(2.0, "finished", text="version 3"))
    world.end(job_id, version=3, finished="version 3")
    answer = await world.call("GET", f"/api/jobs/{job_id}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = parsed(answer.body)
    assert [(kind, data.get("kind")) for kind, _, data in told] == [
        ("event", "started"),
        ("event", "finished"),
        ("end", None),
    ]
    assert (told[-1][2]["state"], told[-1][2]["reason"]) == ("completed", "version 3")


async def test_a_stream_that_broke_off_goes_on_after_the_last_event_that_was_seen(world: World) -> None:
    job_id = await submitted(world)
    log(world, job_id, *(JobEvent(float(version), "published", version) for version in (1, 2, 3)))
    world.end(job_id)
    told = parsed((await world.call("GET", f"/api/jobs/{job_id}/events")).body)
    rest = await world.call("GET", f"/api/jobs/{job_id}/events", last_event_id=told[1][1])
    assert [data.get("version") for _, _, data in parsed(rest.body)] == [3, None]
    history = (await world.call("GET", f"/api/jobs/{job_id}/history")).json
    rest = await world.call("GET", f"/api/jobs/{job_id}/events", last_event_id=history["last_event_id"])
    assert [kind for kind, _, _ in parsed(rest.body)] == ["end"]


class Live:
    """Streams of one job, read message by message."""

    def __init__(self, world: World, job_id: str) -> None:
        self.pauses = 0
        self.allowed = True
        self._request = Request({"type": "http", "path_params": {"job_id": job_id}, "headers": []})
        known = KnownJobs(world.store, world.jobs, world.questions)
        routes = WatchingRoutes(known, Samples(), lambda: world.closing, lambda _: self.allowed, self._pause)
        (self._events,) = [op for op in routes.operations() if op.path.endswith("/events")]

    async def _pause(self, _: float) -> None:
        self.pauses += 1

    async def open(self) -> AsyncIterator[bytes]:
        """A stream whose greeting has been read."""
        response = await self._events.handler(self._request)
        assert isinstance(response, StreamingResponse)
        stream = cast(AsyncIterator[bytes], response.body_iterator)
        assert (await anext(stream)).startswith(b": ")
        return stream


async def test_a_stream_with_nothing_to_tell_shows_that_it_lives_and_ends_with_control(world: World) -> None:
    live = Live(world, await submitted(world))
    stream = await live.open()
    assert (await anext(stream)).startswith(b": nothing new")
    assert live.pauses == watching.HEARTBEAT_S / watching.POLL_S
    world.closing = True
    assert [message async for message in stream] == []


async def test_a_stream_ends_with_what_it_was_opened_with(world: World) -> None:
    live = Live(world, await submitted(world))
    stream = await live.open()
    assert (await anext(stream)).startswith(b": nothing new")
    live.allowed = False
    assert [message async for message in stream] == []


async def test_what_happens_while_a_stream_is_open_is_told(world: World) -> None:
    job_id = await submitted(world)
    stream = await Live(world, job_id).open()
    log(world, job_id, JobEvent(1.0, "published", 1))
    assert parsed(await anext(stream))[0][2]["version"] == 1
    log(world, job_id, JobEvent(2.0, "finished"))
    world.end(job_id)
    assert [parsed(message)[0][0] for message in [await anext(stream), await anext(stream)]] == ["event", "end"]


async def test_watchers_are_bounded_and_one_that_leaves_makes_room(world: World) -> None:
    live = Live(world, await submitted(world))
    streams = [await live.open() for _ in range(watching.WATCHERS_MAX)]
    with pytest.raises(Problem, match="64 watchers are here already"):
        await live.open()
    world.closing = True
    assert [message async for message in streams[0]] == []
    await live.open()


async def test_the_log_shows_its_last_lines_of_both_parts(world: World) -> None:
    job_id = await submitted(world)
    assert (await world.call("GET", f"/api/jobs/{job_id}/logs")).body == b""
    folder: Path = world.jobs.folder(job_id)
    (folder / "log.older.txt").write_bytes(b"one\ntwo\n")
    (folder / "log.txt").write_bytes(b"three\n")
    assert (await world.call("GET", f"/api/jobs/{job_id}/logs?lines=2")).body == b"two\nthree\n"
    assert (await world.call("GET", f"/api/jobs/{job_id}/logs")).body == b"one\ntwo\nthree\n"
    for lines in ("0", "", "1.5", "%D9%A3"):
        assert (await world.call("GET", f"/api/jobs/{job_id}/logs?lines={lines}")).status == 400, lines


async def test_the_fleet_is_shown_in_groups_and_those_never_counted_apart(world: World) -> None:
    job_id = await submitted(world)
    fleet = (FleetGroup("android", "2", asked=9, counted=4), FleetGroup("ios", "1", asked=3))
    world.start(job_id, JobStatus(job_id, "digits", "OPEN", "buffered", fleet=fleet))
    await world.call("GET", f"/api/jobs/{job_id}")
    shown = (await world.call("GET", f"/api/jobs/{job_id}/fleet")).json
    assert [group["platform"] for group in shown["groups"]] == ["android", "ios"]
    assert [group["platform"] for group in shown["never_counted"]] == ["ios"]
