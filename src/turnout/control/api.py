"""The API that people's tools use, and what each route answers. JSON in and out; errors are problem details."""

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from turnout.control import package
from turnout.control.check import check
from turnout.control.guard import Guard
from turnout.control.jobs import Jobs, new_job_id
from turnout.control.problems import Problem, answer_problem
from turnout.control.questions import Questions
from turnout.control.store import UNFINISHED, JobState, Store, StoredJob
from turnout.control.view import JobView
from turnout.errors import JobFolderError, ServerError, TurnoutError
from turnout.job import backup
from turnout.messages import GatewayCounters, JobStatus, Topic
from turnout.transport.blobs import blob_file

STATUS_TIMEOUT_S = 1.0
STOP_TIMEOUT_S = 2.0
STOP_GRACE_S = 10.0  #: A cancelled job that still runs after this is ended by the supervisor.
JOBS_LISTED_MAX = 1000
CHUNK_BYTES = 1 << 18
BACKUP_BYTES_MAX = 64 << 30
UPLOADS_MAX = 2  #: Uploads being read and checked at once.


class Api:
    """The routes. ``gateways`` gives the counters of those heard of lately."""

    def __init__(
        self,
        store: Store,
        jobs: Jobs,
        questions: Questions,
        gateways: Callable[[], list[GatewayCounters]],
        data: Path,
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._questions = questions
        self._gateways = gateways
        self._incoming = data / "incoming"
        shutil.rmtree(self._incoming, ignore_errors=True)  # what a control that was killed had not finished reading
        self._incoming.mkdir()
        self._uploads = asyncio.Semaphore(UPLOADS_MAX)
        self._last_known: dict[str, JobStatus] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/healthz", self._healthz),
                Route("/api/gateways", self._list_gateways),
                Route("/api/jobs", self._list_jobs, methods=["GET"]),
                Route("/api/jobs", self._submit, methods=["POST"]),
                Route("/api/jobs/{job_id}", self._show),
                Route("/api/jobs/{job_id}/abort", self._abort, methods=["POST"]),
                Route("/api/jobs/{job_id}/resume", self._resume, methods=["POST"]),
                Route("/api/jobs/{job_id}/model", self._model),
                Route("/api/jobs/{job_id}/backup", self._backup),
                Route("/api/jobs/{job_id}/restore", self._restore, methods=["POST"]),
            ],
            middleware=[Middleware(Guard)],
            exception_handlers={Problem: answer_problem, HTTPException: answer_problem},
        )

    async def _healthz(self, _: Request) -> Response:
        return _json({"status": "ok", "jobs_running": len(self._jobs.running), "gateways": len(self._gateways())})

    async def _list_gateways(self, _: Request) -> Response:
        return _json(self._gateways())

    async def _list_jobs(self, _: Request) -> Response:
        return _json([_view(job) for job in self._store.jobs(JOBS_LISTED_MAX)])

    async def _show(self, request: Request) -> Response:
        job = self._job(request)
        status, fresh = await self._status(job)
        return _json(_view(job, status, fresh))

    async def _submit(self, request: Request) -> Response:
        """Take a job folder as a zip, check it in a process of its own, and start the job."""
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/zip":
            raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a job folder is sent as application/zip")
        if self._uploads.locked():
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"{UPLOADS_MAX} uploads are being read; try again soon")
        async with self._uploads:
            with tempfile.TemporaryDirectory(dir=self._incoming) as place:
                try:
                    return await self._take(request, Path(place))
                except JobFolderError as error:
                    raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
                except ClientDisconnect:
                    raise Problem(HTTPStatus.BAD_REQUEST, "the upload ended early") from None

    async def _take(self, request: Request, place: Path) -> Response:
        folder = place / "folder"
        with (place / "upload.zip").open("w+b") as upload:
            num_bytes = await _receive(request, upload, package.PACKED_BYTES_MAX, "a zipped job folder")
            await asyncio.to_thread(package.unpack, upload, num_bytes, folder)
        announcement = await check(folder)
        job_id = new_job_id(announcement.name, secrets.token_hex(4))
        target = self._jobs.folder(job_id)
        (target / "blobs").mkdir(parents=True)
        folder.rename(target / "folder")
        self._jobs.launch(msgspec.structs.replace(announcement, job_id=job_id))
        job = self._store.get(job_id)
        assert job is not None
        return _json(_view(job), HTTPStatus.CREATED)

    async def _abort(self, request: Request) -> Response:
        """End a job: it says what it has and ends; if it does not, its process is ended."""
        job = self._job(request)
        if job.state is not JobState.RUNNING:
            raise Problem(HTTPStatus.CONFLICT, f"job {job.job_id} is {job.state} already")
        self._jobs.cancel(job.job_id)
        self._spawn(self._stop(job.job_id))
        return _json(_view(self._job(request)), HTTPStatus.ACCEPTED)

    async def _resume(self, request: Request) -> Response:
        """Let a paused job go on."""
        job = self._job(request)
        try:
            await self._questions.ask(job.job_id, Topic.RESUME, b"", STOP_TIMEOUT_S)
        except ServerError as error:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from error
        return _json(_view(job), HTTPStatus.ACCEPTED)

    async def _stop(self, job_id: str) -> None:
        try:
            await self._questions.ask(job_id, Topic.STOP, b"ended by a person", STOP_TIMEOUT_S)
            await asyncio.sleep(STOP_GRACE_S)
        except ServerError:
            pass
        self._jobs.force(job_id)

    async def _model(self, request: Request) -> Response:
        """The newest model, as safetensors."""
        job = self._job(request)
        status, _ = await self._status(job)
        if status is None or not status.model_sha256:
            raise Problem(HTTPStatus.NOT_FOUND, f"job {job.job_id} has no model yet; ask again later")
        try:
            file = blob_file(str(self._jobs.folder(job.job_id) / "blobs"), status.model_sha256).open("rb")
        except FileNotFoundError:
            raise Problem(HTTPStatus.NOT_FOUND, f"the model of job {job.job_id} has just changed; ask again") from None
        headers = {
            "Content-Length": str(file.seek(0, 2)),
            "Content-Disposition": f'attachment; filename="{job.job_id}-v{status.version}.safetensors"',
            "X-Model-Version": str(status.version),
        }
        file.seek(0)
        return StreamingResponse(_chunks(file), headers=headers, media_type="application/vnd.safetensors")

    async def _backup(self, request: Request) -> Response:
        """A copy of the job's journal, taken while it runs or after its end."""
        job = self._job(request)
        place = Path(tempfile.mkdtemp(dir=self._incoming))
        try:
            copy = place / "backup.sqlite"
            found = await asyncio.to_thread(backup.backup, self._jobs.folder(job.job_id), copy)
            file = copy.open("rb")  # it outlives its name
        except OSError as error:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"no backup could be made: {error}") from error
        except TurnoutError as error:
            raise Problem(HTTPStatus.CONFLICT, f"no backup could be made: {error}") from error
        finally:
            shutil.rmtree(place, ignore_errors=True)
        headers = {
            "Content-Length": str(os.fstat(file.fileno()).st_size),
            "Content-Disposition": f'attachment; filename="{job.job_id}-v{found.version}.backup"',
            "X-Model-Version": str(found.version),
        }
        return StreamingResponse(_chunks(file), headers=headers, media_type="application/vnd.sqlite3")

    async def _restore(self, request: Request) -> Response:
        """Put a backup in the place of the journal of a job that has ended, and start it again."""
        async with self._uploads:
            with tempfile.TemporaryDirectory(dir=self._incoming) as place:
                copy = Path(place) / "backup.sqlite"
                try:
                    with copy.open("w+b") as upload:  # first: who is still sending does not read a refusal
                        await _receive(request, upload, BACKUP_BYTES_MAX, "a backup")
                    job = self._ended_job(request)
                    await asyncio.to_thread(backup.restore, copy, self._jobs.folder(job.job_id))
                except ClientDisconnect:
                    raise Problem(HTTPStatus.BAD_REQUEST, "the upload ended early") from None
                except OSError as error:
                    raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"nothing was restored: {error}") from error
                except TurnoutError as error:
                    raise Problem(HTTPStatus.CONFLICT, f"nothing was restored: {error}") from error
        self._jobs.revive(job)
        return _json(_view(self._job(request)), HTTPStatus.ACCEPTED)

    def _job(self, request: Request) -> StoredJob:
        job_id = request.path_params["job_id"]
        job = self._store.get(job_id)
        if job is None:
            raise Problem(HTTPStatus.NOT_FOUND, f"no job {job_id!r}; GET /api/jobs lists them")
        return job

    def _ended_job(self, request: Request) -> StoredJob:
        job = self._job(request)
        if job.state in UNFINISHED:
            raise Problem(HTTPStatus.CONFLICT, f"job {job.job_id} is {job.state}: turnout abort {job.job_id} ends it")
        return job

    async def _status(self, job: StoredJob) -> tuple[JobStatus | None, bool]:
        """The job's own account, and whether it has just given it."""
        if job.job_id not in self._jobs.running:
            return self._jobs.final(job.job_id) or self._last_known.get(job.job_id), True
        try:
            answer = await self._questions.ask(job.job_id, Topic.STATUS, b"", STATUS_TIMEOUT_S)
            status = msgspec.msgpack.decode(answer, type=JobStatus)
        except (ServerError, msgspec.DecodeError, msgspec.ValidationError):
            return self._last_known.get(job.job_id), False
        self._last_known[job.job_id] = status
        return status, True

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _receive(request: Request, target: BinaryIO, bytes_max: int, what: str) -> int:
    """Write the body to a file; its size. Raises Problem beyond the bound, which is judged by what really comes."""
    num_bytes = 0
    async for chunk in request.stream():
        num_bytes += len(chunk)
        if num_bytes > bytes_max:
            raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{what} may have {bytes_max} bytes")
        target.write(chunk)
    return num_bytes


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk


def _view(job: StoredJob, status: JobStatus | None = None, fresh: bool = False) -> JobView:
    return JobView(
        job.job_id, job.name, job.state, job.submitted_at, job.finished_at, job.reason, status=status, fresh=fresh
    )


def _json(value: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(msgspec.json.encode(value), status.value, media_type="application/json")
