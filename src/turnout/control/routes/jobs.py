"""Jobs: submit, list, show, pause, resume, cancel, start, delete."""

import asyncio
import secrets
import shutil
import tempfile
from http import HTTPStatus
from pathlib import Path

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from turnout.client.view import JobState, JobView, Scope
from turnout.control.cancelling import Cancelling
from turnout.control.check import check
from turnout.control.incoming import Incoming
from turnout.control.jobs import new_job_id
from turnout.control.known import KnownJobs, view
from turnout.control.operations import JOB_ID, Accepted, Operation, Returned, json_response
from turnout.control.problems import Problem
from turnout.control.samples import Samples
from turnout.errors import JobFolderError, ServerError
from turnout.job.folder import package
from turnout.job.folder.directory import BLOBS, FOLDER
from turnout.messages import Topic
from turnout.storage.durable import sync, sync_tree

JOBS_LISTED_MAX = 1000
STARTED_AGAIN = frozenset({JobState.FAILED, JobState.CANCELLED})  #: Neither has remembered its end in its journal.
_CONFLICT, _AWAY = HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE


class JobRoutes:
    """Their life, as far as people decide it."""

    def __init__(
        self, known: KnownJobs, samples: Samples, incoming: Incoming, cancelling: Cancelling, result_bytes_max: int
    ) -> None:
        """``result_bytes_max``: of a result, what devices can send."""
        self._known = known
        self._samples = samples
        self._incoming = incoming
        self._cancelling = cancelling
        self._result_bytes_max = result_bytes_max

    def operations(self) -> list[Operation]:
        accepted = Returned("The job as it is now.", JobView, HTTPStatus.ACCEPTED)
        zipped = Accepted(
            "A job folder as a zip: `job.toml` at its top, an initial model, perhaps `server.py` and `device.py`.",
            "application/zip",
        )
        job = (JOB_ID,)
        return [
            Operation(
                "GET", "/api/jobs", self._list, "The jobs submitted last, newest first, each with what it said last",
                Returned(f"At most {JOBS_LISTED_MAX} jobs.", list[JobView]),
            ),
            Operation(
                "POST", "/api/jobs", self._submit,
                "Submit a job folder, and start the job; its code can do all that the server's account can",
                Returned("The job, which is being started.", JobView, HTTPStatus.CREATED), Scope.SUBMIT, zipped,
                problems=frozenset({HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY, _AWAY}),
            ),
            Operation(
                "GET", "/api/jobs/{job_id}", self._show, "A job, with its own account of itself",
                Returned("The job.", JobView), parameters=job,
            ),
            Operation(
                "DELETE", "/api/jobs/{job_id}", self._delete, "Remove all that is kept of a job that has ended",
                Returned("It is gone.", status=HTTPStatus.NO_CONTENT), Scope.OPERATE,
                parameters=job, problems=frozenset({_CONFLICT}),
            ),
            Operation(
                "POST", "/api/jobs/{job_id}/pause", self._pause, "Give out no more tasks; results still count",
                accepted, Scope.OPERATE, parameters=job, problems=frozenset({_CONFLICT, _AWAY}),
            ),
            Operation(
                "POST", "/api/jobs/{job_id}/resume", self._resume, "Resume a paused job",
                accepted, Scope.OPERATE, parameters=job, problems=frozenset({_CONFLICT, _AWAY}),
            ),
            Operation(
                "POST", "/api/jobs/{job_id}/cancel", self._cancel, "End a job before its stop rule does",
                accepted, Scope.OPERATE, parameters=job, problems=frozenset({_CONFLICT}),
            ),
            Operation(
                "POST", "/api/jobs/{job_id}/abort", self._cancel, "The former name of cancel",
                accepted, Scope.OPERATE, parameters=job, problems=frozenset({_CONFLICT}), deprecated=True,
            ),
            Operation(
                "POST", "/api/jobs/{job_id}/start", self._start, "Start a job again that was cancelled or has failed",
                accepted, Scope.OPERATE, parameters=job, problems=frozenset({_CONFLICT, _AWAY}),
            ),
        ]  # fmt: skip

    async def _list(self, _: Request) -> Response:
        return json_response([self._known.listed(job) for job in self._known.newest(JOBS_LISTED_MAX)])

    async def _show(self, request: Request) -> Response:
        job = self._known.of(request)
        status, fresh = await self._known.status(job)
        return json_response(view(job, status, fresh))

    async def _submit(self, request: Request) -> Response:
        """Take a job folder as a zip, check it in a process of its own, and start the job."""
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/zip":
            raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a job folder is sent as application/zip")
        async with self._incoming.upload() as place:
            try:
                return await self._take(request, place)
            except JobFolderError as error:
                raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
            except ClientDisconnect:
                raise Problem(HTTPStatus.BAD_REQUEST, "the upload ended early") from None
            except OSError as error:
                raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"nothing was submitted: {error.strerror}") from error

    async def _take(self, request: Request, place: Path) -> Response:
        folder = place / "folder"
        with (place / "upload.zip").open("w+b") as upload:
            await self._incoming.receive(request, upload, package.PACKED_BYTES_MAX, "a zipped job folder")
            await asyncio.to_thread(package.unpack, upload, folder, self._incoming.check_room)
        announcement = await check(folder, self._result_bytes_max)
        job_id = new_job_id(announcement.name, secrets.token_hex(4))
        await asyncio.to_thread(_keep, folder, self._known.jobs.folder(job_id))
        self._known.jobs.launch(msgspec.structs.replace(announcement, job_id=job_id))
        job = self._known.store.get(job_id)
        assert job is not None
        return json_response(view(job), HTTPStatus.CREATED)

    async def _cancel(self, request: Request) -> Response:
        """Cancel a job. Devices that are training may still report; it ends later, with or without control."""
        job = self._known.of(request)
        if job.state is not JobState.RUNNING:
            raise Problem(HTTPStatus.CONFLICT, f"job {job.job_id} is {job.state} already")
        self._known.jobs.cancel(job.job_id)
        self._cancelling.cancel(job.job_id)
        return json_response(view(self._known.of(request)), HTTPStatus.ACCEPTED)

    async def _start(self, request: Request) -> Response:
        """Continue a job from its journal: one that was cancelled, or that failed and whose trouble is fixed."""
        job = self._known.of(request)
        if job.state not in STARTED_AGAIN:
            detail = f"job {job.job_id} is {job.state}; only a cancelled or failed job can be started"
            raise Problem(HTTPStatus.CONFLICT, detail)
        try:
            self._known.jobs.start(job)
        except OSError as error:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"nothing was started: {error}") from error
        return json_response(view(self._known.of(request)), HTTPStatus.ACCEPTED)

    async def _pause(self, request: Request) -> Response:
        return await self._order(request, Topic.PAUSE)

    async def _resume(self, request: Request) -> Response:
        return await self._order(request, Topic.RESUME)

    async def _order(self, request: Request, topic: Topic) -> Response:
        job = self._known.of(request)
        if job.state is not JobState.RUNNING:
            raise Problem(HTTPStatus.CONFLICT, f"job {job.job_id} is {job.state}; only a running job can {topic}")
        try:
            await self._known.tell(job.job_id, topic)
        except ServerError as error:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}; try again soon") from error
        return json_response(view(job), HTTPStatus.ACCEPTED)

    async def _delete(self, request: Request) -> Response:
        """First out of sight, then out of the store: whatever is left of a delete that breaks off can be deleted."""
        job = self._known.ended(request)
        place = Path(tempfile.mkdtemp(dir=self._incoming.folder))
        try:
            self._known.jobs.folder(job.job_id).rename(place / "deleted")
        except FileNotFoundError:
            pass
        self._known.store.delete(job.job_id)
        self._known.forget(job.job_id)
        self._samples.forget(job.job_id)
        await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)
        return Response(status_code=HTTPStatus.NO_CONTENT)


def _keep(folder: Path, directory: Path) -> None:
    """Put a submitted folder into the new directory of its job. Durable when it returns: the store only names it."""
    (directory / BLOBS).mkdir(parents=True)
    folder.rename(directory / FOLDER)
    sync_tree(directory)
    sync(directory.parent)
    sync(directory.parent.parent)  # the first job has made its parent
