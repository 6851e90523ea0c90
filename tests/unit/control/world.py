"""Control in one process for tests: requests go into the ASGI app, jobs answer in this process.

Every answer is held against the OpenAPI document: its route, status and media type must be in it, and JSON must be what
the document says.
"""

import asyncio
import io
import json
import re
import zipfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from jsonschema import Draft202012Validator

from turnout.control.api import Api
from turnout.control.jobs import Jobs
from turnout.control.questions import Questions
from turnout.control.store import Store
from turnout.messages import GatewayCounters, JobLaunched, JobStatus, LifeCycleEvent, ModelSchema, TensorSpec, Topic
from turnout.transport.base import Reply
from turnout.transport.inprocess import InProcessJobs, InProcessTransport
from turnout.transport.orders import JobReport, Order
from turnout.wire.tensors import to_safetensors

SCHEMA = ModelSchema((TensorSpec("w", (2,)),))
MODEL = to_safetensors(np.array([1, 2], np.float32), SCHEMA)
OWNER = "turnout_" + "o" * 43  #: The owner's token.
JOB_TOML = b'name = "digits"\n[stop]\nversions = 3\n'


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def detail(self) -> str:
        assert self.headers["content-type"] == "application/problem+json"
        return self.json["detail"]


@dataclass
class Job:
    """A job process that answers with ``status``; it remembers what it was asked."""

    status: JobStatus
    asked: list[Topic]

    def received(self, topic: Topic, payload: memoryview, reply: Reply) -> None:
        self.asked.append(topic)
        reply(msgspec.msgpack.encode(self.status))


class World:
    """Control and its surroundings."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.now = 5.0
        self.peer = "127.0.0.1"
        self.closing = False
        self.free_bytes = 1 << 40
        self.gateways = [GatewayCounters(0, {"task": 7})]
        self.orders: list[Order] = []
        self.processes = InProcessJobs()
        self.questions = Questions(InProcessTransport(self.processes))
        self.store = store = Store(":memory:")
        self.jobs = Jobs(store, data, Path("/run/t"), self.orders.append, self._published, lambda: self.now)
        self.api = Api(
            store,
            self.jobs,
            self.questions,
            lambda: self.gateways,
            data,
            OWNER,
            closing=lambda: self.closing,
            free=lambda _: self.free_bytes,
            wall_clock=lambda: self.now,
            clock=lambda: self.now,
        )
        self.app = self.api.app()
        self._document: dict[str, Any] = {}

    def _published(self, event: LifeCycleEvent) -> None:
        if isinstance(event, JobLaunched):
            self.questions.watch(event.job)

    def start(self, job_id: str, status: JobStatus) -> Job:
        job = Job(status, [])
        self.processes.serve(self.jobs.running[job_id].address, job_id, 1, SCHEMA, job)
        return job

    async def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """One request of the owner, unless ``authorization`` is given; its answer has been held against the document.

        An empty ``authorization`` is left out.
        """
        answer = await self.ask(method, path, body, **headers)
        if not self._document:
            self._document = (await self.ask("GET", "/api/openapi.json")).json
        check_documented(self._document, method, path.partition("?")[0], answer)
        return answer

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """One request, whose answer may be anything."""
        usual = {"host": "127.0.0.1:8711", "content_type": "application/json", "authorization": f"Bearer {OWNER}"}
        given = {name: value for name, value in {**usual, **headers}.items() if value or name != "authorization"}
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()]
        path, _, query = path.partition("?")
        scope = {"type": "http", "method": method, "path": path, "headers": raw, "query_string": query.encode()}
        return await called(self.app, {**scope, "root_path": "", "client": (self.peer, 1)}, body)

    async def submit(self, **files: bytes) -> Answer:
        return await self.call("POST", "/api/jobs", zipped(**files), content_type="application/zip")

    def end(self, job_id: str, **status: Any) -> None:
        """The job completes and leaves this account."""
        final = JobStatus(job_id, "digits", "completed", "buffered", **status)
        (self.jobs.folder(job_id) / "final.json").write_bytes(msgspec.json.encode(final))
        self.jobs.heard(JobReport(job_id, code=0))


def check_documented(document: dict[str, Any], method: str, path: str, answer: Answer) -> None:
    """Assert that the document says that this may be answered there."""
    templates = [t for t in document["paths"] if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", t), path)]
    if not templates or method.lower() not in document["paths"][templates[0]]:
        assert answer.status in (404, 405, 415), f"{method} {path} is not in the document"
        return
    operation = document["paths"][templates[0]][method.lower()]
    assert str(answer.status) in operation["responses"], f"{method} {path} answered {answer.status}: {answer.body!r}"
    content = operation["responses"][str(answer.status)].get("content", {})
    if not content:
        assert answer.body == b""
        return
    media_type = answer.headers["content-type"].partition(";")[0]
    assert media_type in content, f"{method} {path} answered with {media_type}"
    if "schema" in content[media_type]:
        schema = {**content[media_type]["schema"], "components": document["components"]}
        Draft202012Validator(schema).validate(answer.json)


async def called(app: Callable[..., Awaitable[None]], scope: dict[str, Any], body: bytes) -> Answer:
    sent: list[dict[str, Any]] = []
    received = False

    async def receive() -> dict[str, Any]:
        nonlocal received
        if received:
            await asyncio.Event().wait()  # the client stays
        received = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await asyncio.sleep(0)  # as a network would, let the loop turn before the app runs
    await app(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:]))


def zipped(**files: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "."), content)
    return target.getvalue()


async def submitted(world: World) -> str:
    """Submit a job; its id."""
    answer = await world.submit(job__toml=JOB_TOML, model__safetensors=MODEL)
    assert answer.status == 201, answer.body
    return str(answer.json["job_id"])
