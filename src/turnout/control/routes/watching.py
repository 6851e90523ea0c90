"""Watching a job: its history, its events as they come, its log, its fleet."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from turnout.client.view import Fleet, History
from turnout.control import history, logs
from turnout.control.known import KnownJobs, view
from turnout.control.operations import JOB_ID, Operation, Parameter, Returned, json_response, number_in
from turnout.control.problems import Problem
from turnout.control.samples import Samples

WATCHERS_MAX = 64  #: Streams of events that are open at once.
POLL_S = 0.25  #: How often the log of events is looked at.
HEARTBEAT_S = 5.0  #: A stream that has nothing to say shows that it lives.
FOREVER_S = 1e12

STREAM = """Server-sent events, from the first one or from the one after `Last-Event-ID` on:

- `event: event` with a JobEvent, and an `id`;
- `event: sample` with a Sample, each second while the job runs and answers;
- `event: end` with the job, when it has ended and all events are told; the stream is over.

A comment comes when nothing else did for a while."""


class WatchingRoutes:
    """``closing`` tells whether control ends, ``may`` whether a sender may still look, and ``pause`` waits."""

    def __init__(
        self,
        known: KnownJobs,
        samples: Samples,
        closing: Callable[[], bool],
        may: Callable[[Request], bool],
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._known = known
        self._samples = samples
        self._closing = closing
        self._may = may
        self._pause = pause
        self._watchers = 0

    def operations(self) -> list[Operation]:
        last = Parameter("Last-Event-ID", "The `id` of the last event that was seen.", {"type": "string"}, "header")
        seconds = {"type": "number", "minimum": 0, "maximum": FOREVER_S, "default": 0}
        since = Parameter("since", "Only what came after: seconds since 1970.", seconds)
        lines = {"type": "integer", "minimum": 1, "maximum": logs.LINES_MAX, "default": logs.LINES_SHOWN}
        return [
            Operation(
                "GET", "/api/jobs/{job_id}/history", self._history, "What happened to a job so far",
                Returned("Events, and samples of the last hour.", History), parameters=(JOB_ID, since),
            ),
            Operation(
                "GET", "/api/jobs/{job_id}/events", self._events, "What happens to a job, as it happens",
                Returned(STREAM, media_types=("text/event-stream",)),
                parameters=(JOB_ID, last), problems=frozenset({HTTPStatus.SERVICE_UNAVAILABLE}),
            ),
            Operation(
                "GET", "/api/jobs/{job_id}/logs", self._logs, "The last lines that the job's process printed",
                Returned("Lines of text, each with its time.", media_types=("text/plain",)),
                parameters=(JOB_ID, Parameter("lines", "At most this many.", lines)),
            ),
            Operation(
                "GET", "/api/jobs/{job_id}/fleet", self._fleet, "The devices of a job, counted by platform and version",
                Returned("Groups of devices.", Fleet), parameters=(JOB_ID,),
            ),
        ]  # fmt: skip

    async def _history(self, request: Request) -> Response:
        job = self._known.of(request)
        since = number_in(request, "since", 0.0, 0.0, FOREVER_S)
        directory = self._known.jobs.folder(job.job_id)
        events, last = await asyncio.to_thread(history.read_all, directory, since)
        return json_response(History(tuple(events), tuple(self._samples.since(job.job_id, since)), last))

    async def _logs(self, request: Request) -> Response:
        job = self._known.of(request)
        lines = int(number_in(request, "lines", logs.LINES_SHOWN, 1, logs.LINES_MAX, whole=True))
        text = await asyncio.to_thread(logs.tail, self._known.jobs.folder(job.job_id), lines)
        return PlainTextResponse(text, headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})

    async def _fleet(self, request: Request) -> Response:
        status, _ = await self._known.status(self._known.of(request))
        groups = status.fleet if status is not None else ()
        return json_response(Fleet(groups, tuple(group for group in groups if not group.counted)))

    async def _events(self, request: Request) -> Response:
        job = self._known.of(request)
        if self._watchers >= WATCHERS_MAX:
            detail = f"{WATCHERS_MAX} watchers are here already; try again later, or ask for the history now and then"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail)
        after = history.parse_place(request.headers.get("last-event-id", ""))
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # a proxy must pass on each event at once
        return StreamingResponse(
            self._stream(request, job.job_id, after), headers=headers, media_type="text/event-stream"
        )

    async def _stream(self, request: Request, job_id: str, after: history.Place | None) -> AsyncIterator[bytes]:
        self._watchers += 1
        try:
            async for message in self._follow(request, job_id, after):
                yield message
        finally:
            self._watchers -= 1

    async def _follow(self, request: Request, job_id: str, after: history.Place | None) -> AsyncIterator[bytes]:
        directory = self._known.jobs.folder(job_id)
        sampled_at, silent_s = 0.0, 0.0
        yield b": turnout tells what happens\n\n"  # so that the watcher knows that it is heard
        while not self._closing() and self._may(request):
            runs = self._known.runs(job_id)  # looked at first: what a job says before its end is told
            told = await asyncio.to_thread(history.read_after, directory, after)
            for place, event in told:
                after = place
                yield _message("event", event, str(place))
            sample = self._samples.newest(job_id)
            if sample is not None and sample.at > sampled_at:
                sampled_at = sample.at
                yield _message("sample", sample)
                silent_s = 0.0
            if told:
                silent_s = 0.0
                continue
            if not runs:
                job = self._known.store.get(job_id)
                if job is not None:
                    status, fresh = await self._known.status(job)
                    yield _message("end", view(job, status, fresh))
                return
            if silent_s >= HEARTBEAT_S:
                silent_s = 0.0
                yield b": nothing new\n\n"
            await self._pause(POLL_S)
            silent_s += POLL_S


def _message(kind: str, value: Any, place: str = "") -> bytes:
    """One event of the stream. JSON has no line ends within, so its data is one line."""
    mark = f"id: {place}\n" if place else ""
    return f"event: {kind}\n{mark}data: ".encode() + msgspec.json.encode(value) + b"\n\n"
