"""Backups of a job's journal, out and in."""

import asyncio
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from turnout.client.view import JobView, Scope
from turnout.control import files
from turnout.control.check import without
from turnout.control.incoming import Incoming
from turnout.control.known import KnownJobs, view
from turnout.control.operations import JOB_ID, Accepted, Operation, Returned, json_response
from turnout.control.problems import Problem
from turnout.errors import TurnoutError
from turnout.job.journal import backup

BACKUP_BYTES_MAX = 64 << 30
RESTORED_COPIES = 2  #: What was sent, and the journal that is made of it.
SQLITE = "application/vnd.sqlite3"


class BackupRoutes:
    """A copy of all that a job must not forget."""

    def __init__(self, known: KnownJobs, incoming: Incoming) -> None:
        self._known = known
        self._incoming = incoming

    def operations(self) -> list[Operation]:
        problems = frozenset({HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE})
        return [
            Operation(
                "GET", "/api/jobs/{job_id}/backup", self._backup, "A copy of the job's journal, also while it runs",
                Returned("An SQLite file; `X-Model-Version` says which version is in it.", media_types=(SQLITE,)),
                Scope.ADMIN, parameters=(JOB_ID,), problems=problems,
            ),
            Operation(
                "POST", "/api/jobs/{job_id}/restore", self._restore,
                "Put a backup in the place of the journal of a job that has ended, and start it again",
                Returned("The job as it is now.", JobView, HTTPStatus.ACCEPTED), Scope.ADMIN,
                Accepted("What a backup gave.", SQLITE), (JOB_ID,), problems | {HTTPStatus.REQUEST_ENTITY_TOO_LARGE},
            ),
        ]  # fmt: skip

    async def _backup(self, request: Request) -> Response:
        job = self._known.of(request)
        folder = self._known.jobs.folder(job.job_id)
        try:
            async with self._incoming.backup(backup.size(folder)) as place:
                copy = place / "backup.sqlite"
                found = await asyncio.to_thread(backup.backup, folder, copy)
                file = copy.open("rb")  # it outlives its name
        except OSError as error:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"no backup could be made: {error}") from error
        except TurnoutError as error:
            raise Problem(HTTPStatus.CONFLICT, f"no backup could be made: {error}") from error
        name = f"{job.job_id}-v{found.version}.backup"
        return files.download(file, name, SQLITE, {"X-Model-Version": str(found.version)})

    async def _restore(self, request: Request) -> Response:
        async with self._incoming.upload() as place:
            copy = place / "backup.sqlite"
            try:
                with copy.open("w+b") as upload:  # first: who is still sending does not read a refusal
                    await self._incoming.receive(request, upload, BACKUP_BYTES_MAX, "a backup", RESTORED_COPIES)
                job = self._known.ended(request)
                await asyncio.to_thread(backup.restore, copy, self._known.jobs.folder(job.job_id))
            except ClientDisconnect:
                raise Problem(HTTPStatus.BAD_REQUEST, "the upload ended early") from None
            except OSError as error:
                raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"nothing was restored: {error.strerror}") from error
            except TurnoutError as error:
                said = without(copy, str(error))
                raise Problem(HTTPStatus.CONFLICT, f"nothing was restored: {said}") from error
        self._known.forget(job.job_id)  # what it said last is of the journal that was replaced
        self._known.jobs.revive(job)
        return json_response(view(self._known.of(request)), HTTPStatus.ACCEPTED)
