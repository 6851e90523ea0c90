"""A control that has no jobs behind it: the dashboard's own files, and the API's answers as tests want them."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.browser.invented import Course, Json
from turnout.control import dashboard

START_S_MAX = 10.0
WITH_PLOTLY = dashboard.routes()
WITHOUT_PLOTLY = dashboard.routes(Path("plotly-is-not-installed.js"))
NO_ZIP = "the upload is not a zip file that can be read: File is not a zip file"
FLEET = [
    {"platform": "android", "app_version": "2.4", "training": 121, "counted": 1604, "refused": 9, "lost": 31},
    {"platform": "ios", "app_version": "2.3", "training": 48, "counted": 702, "refused": 3, "lost": 8},
    {"platform": "web", "app_version": "0.9", "given": 14, "refused": 2, "lost": 12},
    {"platform": "linux", "app_version": "", "training": 17, "counted": 340, "refused": 0, "lost": 1},
]


class FakeJob:
    """One job: what control shows of it, its course, and what was asked of it."""

    def __init__(self, job_id: str, begin: float, seconds: int, **course: Any) -> None:
        self.course = Course(begin, **course)
        self.course.advance(seconds)
        self.view: Json = {"job_id": job_id, "name": job_id, "state": "running", "submitted_at": begin, "fresh": True}
        self.state = "OPEN"
        self.paused_by: str | None = None
        self.asked: list[str] = []
        self.listeners: list[asyncio.Queue[str]] = []

    def shown(self) -> Json:
        newest = self.course.samples[-1] if self.course.samples else {}
        measured = [event for event in self.course.events if event["kind"] == "evaluated"]
        best = max(measured, key=lambda event: event["metrics"]["accuracy"], default=None)
        status = {**newest, "job_id": self.view["job_id"], "name": self.view["name"], "workflow": "buffered"}
        status |= {"state": self.state, "paused_by": self.paused_by}
        status |= {"fleet": FLEET, "metrics": measured[-1]["metrics"] if measured else {}}
        if best:
            status |= {"best_version": best["version"], "best_metric": best["metrics"]["accuracy"]}
            status["kept"] = [{"version": best["version"], "num_bytes": 31_400, "metrics": best["metrics"]}]
        return {**self.view, "status": status}


class FakeControl:
    """``jobs`` and ``checks`` may be changed at any time; ``token`` is what a session needs, if anything.

    Without plotly unless ``charts``: it is five MB, which every new page compiles again.
    """

    def __init__(self, charts: bool = False) -> None:
        self._files = WITH_PLOTLY if charts else WITHOUT_PLOTLY
        self.jobs: dict[str, FakeJob] = {}
        self.checks = {"supervisor": True, "gateway": True, "jobs": True}
        self.submitted: list[bytes] = []
        self.token = ""
        self.opened = False  #: Whether the one link was.
        self.url = ""
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(self, job: FakeJob) -> FakeJob:
        self.jobs[job.view["job_id"]] = job
        return job

    def advance(self, job: FakeJob, seconds: int = 1) -> None:
        """Let time pass for a job, and tell those who listen."""
        events, samples = job.course.advance(seconds)
        for event in events:
            self.tell(job, "event", event)
        for sample in samples:
            self.tell(job, "sample", {**sample, "state": job.state, "paused_by": job.paused_by})

    def tell(self, job: FakeJob, kind: str, data: Json) -> None:
        assert self._loop is not None
        text = f"event: {kind}\ndata: {json.dumps(data)}\n\n"
        for listener in job.listeners:
            self._loop.call_soon_threadsafe(listener.put_nowait, text)

    def end(self, job: FakeJob, state: str, reason: str) -> None:
        job.view |= {"state": state, "reason": reason, "finished_at": job.course.now}
        self.tell(job, "end", {})

    def _hang_up(self) -> None:
        assert self._loop is not None
        for job in self.jobs.values():
            for listener in job.listeners:
                self._loop.call_soon_threadsafe(listener.put_nowait, "")

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                *self._files,
                Route("/api/health", self._health),
                Route("/api/session", self._session, methods=["POST"]),
                Route("/api/jobs", self._list),
                Route("/api/jobs", self._submit, methods=["POST"]),
                Route("/api/gateways", self._gateways),
                Route("/api/jobs/{job_id}", self._show),
                Route("/api/jobs/{job_id}/history", self._history),
                Route("/api/jobs/{job_id}/events", self._events),
                Route("/api/jobs/{job_id}/logs", self._logs),
                Route("/api/jobs/{job_id}/model", self._model),
                Route("/api/jobs/{job_id}/{what:str}", self._act, methods=["POST"]),
            ]
        )

    def _refusal(self, request: Request) -> Response | None:
        signed_in = (request.headers.get("x-turnout-session"), request.cookies.get("turnout")) == ("half", "other")
        if self.token and not signed_in:
            return JSONResponse({"title": "Unauthorized", "detail": "this session is over"}, 401)
        job_id = request.path_params.get("job_id")
        if job_id is not None and job_id not in self.jobs:
            return JSONResponse({"title": "Not Found", "detail": f"no job {job_id!r}"}, 404)
        return None

    async def _list(self, request: Request) -> Response:
        return self._refusal(request) or JSONResponse([job.view for job in self.jobs.values()])

    async def _health(self, request: Request) -> Response:
        ready = all(self.checks.values())
        return self._refusal(request) or JSONResponse({"ready": ready, "checks": self.checks})

    async def _session(self, request: Request) -> Response:
        """For the token, or once for the code of a link, which is "code"."""
        code = (await request.json()).get("code")
        if request.headers.get("authorization") != f"Bearer {self.token}" and (code != "code" or self.opened):
            return JSONResponse({"title": "Unauthorized", "detail": "this does not open anything"}, 401)
        self.opened |= code is not None
        answer = JSONResponse({"page": "half"}, 201)
        answer.set_cookie("turnout", "other", httponly=True, samesite="strict")
        return answer

    async def _submit(self, request: Request) -> Response:
        """Takes what begins as a zip does, as the job "submitted"."""
        if refusal := self._refusal(request):
            return refusal
        body = await request.body()
        if request.headers["content-type"] != "application/zip" or not body.startswith(b"PK"):
            return JSONResponse({"title": "Unprocessable Entity", "detail": NO_ZIP}, 422)
        self.submitted.append(body)
        return JSONResponse(self.add(FakeJob("submitted", time.time(), 1)).view, 201)

    async def _gateways(self, request: Request) -> Response:
        return self._refusal(request) or JSONResponse([{"type": "GatewayCounters", "connections": 512}])

    async def _show(self, request: Request) -> Response:
        return self._refusal(request) or JSONResponse(self._job(request).shown())

    async def _history(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        course = self._job(request).course
        return JSONResponse({"events": course.events, "samples": course.samples})

    async def _events(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        return StreamingResponse(self._stream(self._job(request)), media_type="text/event-stream")

    async def _stream(self, job: FakeJob) -> AsyncIterator[str]:
        listener: asyncio.Queue[str] = asyncio.Queue()
        job.listeners.append(listener)
        try:
            while text := await listener.get():
                yield text
        finally:
            job.listeners.remove(listener)

    async def _logs(self, request: Request) -> Response:
        return self._refusal(request) or PlainTextResponse("job digits-1: version 0\njob digits-1: version 1\n")

    async def _model(self, request: Request) -> Response:
        self._job(request).asked.append(f"model {request.url.query}")
        return self._refusal(request) or PlainTextResponse("model")

    async def _act(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        job, what = self._job(request), request.path_params["what"]
        job.asked.append(what)
        if what in ("pause", "resume"):
            job.state, job.paused_by = ("PAUSED", "person") if what == "pause" else ("OPEN", None)
        if what == "start":
            job.view |= {"state": "running", "reason": "", "finished_at": None}
        if what == "cancel":
            self.end(job, "cancelled", "cancelled by a person")
        return JSONResponse(job.view, 202)

    def _job(self, request: Request) -> FakeJob:
        return self.jobs[request.path_params["job_id"]]

    @contextmanager
    def serving(self, port: int = 0) -> Iterator[None]:
        """Serve on this port (0: a free one) until the block ends."""
        listen = socket.create_server(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{listen.getsockname()[1]}"
        config = uvicorn.Config(self.app(), log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)

        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            await server.serve(sockets=[listen])

        thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
        thread.start()
        give_up_at = time.monotonic() + START_S_MAX
        while not server.started:
            assert time.monotonic() < give_up_at
            thread.join(0.01)
        try:
            yield
        finally:
            server.should_exit = True
            self._hang_up()
            thread.join(START_S_MAX)
            listen.close()
