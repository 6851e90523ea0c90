"""Requests that nobody would think of, made up from the API's own document: none breaks it, and each answer is in it.

Every operation meets a control of its own on a real port, where the jobs are in different states.
"""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.unit.control.world import MODEL, OWNER, World, zipped
from turnout.control.operations import JSON
from turnout.job.folder.directory import BLOBS
from turnout.messages import JobStatus, RunningJob
from turnout.transport.orders import JobReport

pytestmark = pytest.mark.slow

EXAMPLES = 20
START_S_MAX = 10.0
#: Operations whose query or body can be wrong, by the document.
CHOOSY = (
    "GET /api/jobs/{job_id}/history",
    "GET /api/jobs/{job_id}/logs",
    "GET /api/jobs/{job_id}/model",
    "POST /api/tokens",
)
SHA256 = "a" * 64
RUNNING, SILENT, ENDED, FAILED = JOBS = ("digits-1", "digits-2", "digits-3", "digits-4")


class Served:
    """A control in a thread of its own, from when it is made until it is closed."""

    def __init__(self, data: Path) -> None:
        self.document: dict[str, Any] = {}
        self._data = data
        self._listen = socket.create_server(("127.0.0.1", 0))
        self._ready = threading.Event()
        self.url = f"http://127.0.0.1:{self._listen.getsockname()[1]}"
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),), daemon=True)
        self._thread.start()
        assert self._ready.wait(START_S_MAX)

    async def _serve(self) -> None:
        world = World(self._data)
        world.closing = True  # a stream of events ends with what has happened so far
        for job_id in JOBS:
            blobs = world.jobs.folder(job_id) / BLOBS
            blobs.mkdir(parents=True)
            (blobs / f"{SHA256}.safetensors").write_bytes(MODEL)
            world.jobs.launch(RunningJob(job_id, "digits", {"edge_method": "digits"}))
        world.start(RUNNING, JobStatus(RUNNING, "digits", "OPEN", "buffered", version=3, model_sha256=SHA256))
        world.end(ENDED, version=3, model_sha256=SHA256)
        world.jobs.heard(JobReport(FAILED, code=1, reason="its disk has failed"))
        document = (await world.call("GET", "/api/openapi.json")).json
        self.document = {**document, "security": []}  # each request has a token: of others test_tokens.py is sure
        self._server = uvicorn.Server(uvicorn.Config(world.app, log_level="warning", lifespan="off", ws="none"))
        self._ready.set()
        await self._server.serve(sockets=[self._listen])

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(START_S_MAX)
        self._listen.close()


@contextmanager
def served(data: Path) -> Iterator[Served]:
    data.mkdir()
    control = Served(data)
    yield control
    control.close()


def nearly_folders() -> st.SearchStrategy[bytes]:
    """Zips of job folders that lack something, and those of which one byte is another."""
    files = st.dictionaries(st.sampled_from(["job__toml", "model__py", "a/b"]), st.binary(max_size=40))
    return st.builds(damaged, files, st.integers(0, 200), st.binary(max_size=1)) | st.binary(max_size=100)


def damaged(files: dict[str, bytes], where: int, byte: bytes) -> bytes:
    whole = zipped(**files)
    return whole[:where] + byte + whole[where + len(byte) :]


schemathesis.openapi.media_type("application/zip", nearly_folders())
schemathesis.openapi.media_type("application/vnd.sqlite3", st.binary(max_size=100))


def ask(control: Served, operation: Any, mode: GenerationMode) -> None:
    """Make up requests of one operation, and hold each answer against the document."""
    headers = {"Authorization": f"Bearer {OWNER}"}
    if operation.method == "post" and not operation.body:
        headers["Content-Type"] = JSON
    files = any(body.media_type != JSON for body in operation.body)  # a document cannot say which are good
    left_out = [
        not_a_server_error,
        *([positive_data_acceptance] if files else []),
    ]  # 503 is in the document, 500 is not

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)
    @given(operation.as_strategy(mode), st.sampled_from([*JOBS, None]))
    def answers(case: Case, job_id: str | None) -> None:
        if job_id is not None and "job_id" in (case.path_parameters or {}):
            case.path_parameters["job_id"] = job_id
        case.call_and_validate(control.url, headers=headers, excluded_checks=left_out)

    answers()


def test_what_the_document_allows_is_answered_as_it_says(tmp_path: Path) -> None:
    with served(tmp_path / "first") as control:
        schema = schemathesis.openapi.from_dict(control.document)
    for number, found in enumerate(schema.get_all_operations()):
        with served(tmp_path / str(number)) as control:
            ask(control, found.ok(), GenerationMode.POSITIVE)


def test_what_the_document_does_not_allow_is_refused_as_it_says(tmp_path: Path) -> None:
    with served(tmp_path / "first") as control:
        schema = schemathesis.openapi.from_dict(control.document)
    for label in CHOOSY:
        method, path = label.split()
        with served(tmp_path / path.replace("/", "-")) as control:
            ask(control, schema[path][method], GenerationMode.NEGATIVE)
