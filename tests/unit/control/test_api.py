"""The API, without a network: requests go into the ASGI app, a job answers in this process."""

import asyncio
import io
import json
import zipfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from turnout.control.api import Api
from turnout.control.jobs import Jobs
from turnout.control.questions import Questions
from turnout.control.store import Store
from turnout.messages import GatewayCounters, JobLaunched, JobStatus, LifeCycleEvent, ModelSchema, TensorSpec, Topic
from turnout.supervisor.messages import JobReport, Order, StartJob, StopJob
from turnout.transport.base import Reply
from turnout.transport.inprocess import InProcessJobs, InProcessTransport
from turnout.wire.tensors import to_safetensors

pytestmark = pytest.mark.anyio

SCHEMA = ModelSchema((TensorSpec("w", (2,)),))
MODEL = to_safetensors(np.array([1, 2], np.float32), SCHEMA)
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
        self.orders: list[Order] = []
        self.processes = InProcessJobs()
        self.questions = Questions(InProcessTransport(self.processes))
        store = Store(":memory:")
        self.jobs = Jobs(store, data, Path("/run/t"), self.orders.append, self._published, lambda: 5.0)
        self.app = Api(store, self.jobs, self.questions, lambda: [GatewayCounters(0, {"task": 7})], data).app()

    def _published(self, event: LifeCycleEvent) -> None:
        if isinstance(event, JobLaunched):
            self.questions.watch(event.job)

    def start(self, job_id: str, status: JobStatus) -> Job:
        job = Job(status, [])
        self.processes.serve(self.jobs.running[job_id].address, job_id, 1, SCHEMA, job)
        return job

    async def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        given = {"host": "127.0.0.1", "content_type": "application/json", **headers}
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()]
        scope = {"type": "http", "method": method, "path": path, "headers": raw, "query_string": b"", "root_path": ""}
        return await called(self.app, scope, body)

    async def submit(self, **files: bytes) -> Answer:
        return await self.call("POST", "/api/jobs", zipped(**files), content_type="application/zip")


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


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def submitted(world: World) -> str:
    answer = await world.submit(job__toml=JOB_TOML, model__safetensors=MODEL)
    assert answer.status == 201, answer.body
    return str(answer.json["job_id"])


async def test_a_submitted_job_is_started_and_listed(world: World, tmp_path: Path) -> None:
    job_id = await submitted(world)
    assert [order.job.job_id for order in world.orders if isinstance(order, StartJob)] == [job_id]
    assert (tmp_path / "jobs" / job_id / "folder" / "job.toml").read_bytes() == JOB_TOML
    assert list((tmp_path / "incoming").iterdir()) == []
    listed = (await world.call("GET", "/api/jobs")).json
    assert [(job["job_id"], job["name"], job["state"]) for job in listed] == [(job_id, "digits", "running")]
    assert world.jobs.running[job_id].meta == {"edge_method": "numpy"}


async def test_a_wrong_job_folder_is_refused_in_the_words_of_its_error(world: World) -> None:
    answer = await world.submit(job__toml=b'name = "digits"\n[stop]\nversions = -1\n', model__safetensors=MODEL)
    assert answer.status == 422
    assert "versions" in answer.detail
    assert world.orders == []


async def test_code_that_crashes_the_reader_is_reported_not_suffered(world: World) -> None:
    answer = await world.submit(job__toml=JOB_TOML, model__py=b"import os\nos._exit(9)\n")
    assert answer.status == 422
    assert answer.detail == "reading the job folder ended with exit code 9"


async def test_an_upload_that_is_no_zip_is_refused(world: World) -> None:
    answer = await world.call("POST", "/api/jobs", b"hello", content_type="application/zip")
    assert answer.status == 422
    assert "not a zip file" in answer.detail
    assert (await world.call("POST", "/api/jobs", b"{}")).status == 415


async def test_a_running_job_tells_its_own_status(world: World) -> None:
    job_id = await submitted(world)
    world.start(job_id, JobStatus(job_id, "digits", "open", "buffered", version=2))
    shown = await world.call("GET", f"/api/jobs/{job_id}")
    assert shown.json["fresh"]
    assert shown.json["status"]["version"] == 2
    world.processes.stop(world.jobs.running[job_id].address)
    stale = await world.call("GET", f"/api/jobs/{job_id}")
    assert "fresh" not in stale.json
    assert stale.json["status"]["version"] == 2


async def test_the_model_of_a_finished_job_can_be_downloaded(world: World) -> None:
    job_id = await submitted(world)
    assert (await world.call("GET", f"/api/jobs/{job_id}/model")).status == 404
    folder = world.jobs.folder(job_id)
    sha256 = "ab" * 32
    (folder / "blobs" / f"{sha256}.safetensors").write_bytes(MODEL)
    final = JobStatus(job_id, "digits", "completed", "buffered", version=3, model_sha256=sha256, finished="version 3")
    (folder / "final.json").write_bytes(msgspec.json.encode(final))
    world.jobs.heard(JobReport(job_id, code=0))
    answer = await world.call("GET", f"/api/jobs/{job_id}/model")
    assert (answer.status, answer.body) == (200, MODEL)
    assert answer.headers["content-length"] == str(len(MODEL))
    shown = (await world.call("GET", f"/api/jobs/{job_id}")).json
    assert (shown["state"], shown["reason"]) == ("completed", "version 3")


async def test_a_job_is_asked_to_stop_when_a_person_aborts_it(world: World) -> None:
    job_id = await submitted(world)
    job = world.start(job_id, JobStatus(job_id, "digits", "open", "buffered"))
    await world.call("GET", f"/api/jobs/{job_id}")
    answer = await world.call("POST", f"/api/jobs/{job_id}/abort")
    assert (answer.status, answer.json["state"]) == (202, "cancelling")
    async with asyncio.timeout(5):
        while Topic.STOP not in job.asked:
            await world.call("GET", "/healthz")
    assert (await world.call("POST", f"/api/jobs/{job_id}/abort")).status == 409


async def test_a_job_that_does_not_answer_is_stopped_by_the_supervisor(world: World) -> None:
    job_id = await submitted(world)
    await world.call("POST", f"/api/jobs/{job_id}/abort")
    await world.call("GET", f"/api/jobs/{job_id}")
    assert world.orders[-1] == StopJob(job_id)


async def test_a_paused_job_is_resumed_when_a_person_says_so(world: World) -> None:
    job_id = await submitted(world)
    assert (await world.call("POST", f"/api/jobs/{job_id}/resume")).status == 503
    job = world.start(job_id, JobStatus(job_id, "digits", "open", "rounds"))
    assert (await world.call("POST", f"/api/jobs/{job_id}/resume")).status == 202
    assert job.asked == [Topic.RESUME]


async def test_an_unknown_job_is_404_everywhere(world: World) -> None:
    for method, path in (("GET", ""), ("GET", "/model"), ("POST", "/abort")):
        answer = await world.call(method, f"/api/jobs/nothing{path}")
        assert (answer.status, answer.detail) == (404, "no job 'nothing'; GET /api/jobs lists them")


async def test_a_route_or_method_that_does_not_exist_is_a_problem_too(world: World) -> None:
    assert (await world.call("GET", "/api/nothing")).detail.startswith("no such route")
    assert (await world.call("DELETE", "/api/jobs")).json["status"] == 405


async def test_gateways_are_listed_with_their_counters(world: World) -> None:
    assert (await world.call("GET", "/api/gateways")).json == [{"type": "GatewayCounters", "requests": {"task": 7}}]
    assert (await world.call("GET", "/healthz")).json == {"status": "ok", "jobs_running": 0, "gateways": 1}


async def test_a_request_from_a_web_page_is_refused_before_anything_is_done(world: World) -> None:
    answer = await world.call("POST", "/api/jobs", zipped(job__toml=JOB_TOML), content_type="text/plain")
    assert answer.status == 415
    assert (await world.call("GET", "/api/jobs", host="evil.example")).status == 421
