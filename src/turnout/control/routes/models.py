"""Models: the best, the newest, or any version that is kept, as safetensors or for numpy."""

import asyncio
import shutil
import tempfile
import zipfile
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from turnout.blobs.place import blob_file
from turnout.control import files
from turnout.control.choosing import BEST, NEWEST, choose
from turnout.control.incoming import Incoming
from turnout.control.known import KnownJobs
from turnout.control.operations import JOB_ID, Operation, Parameter, Returned
from turnout.control.problems import Problem
from turnout.errors import NotFoundError
from turnout.job.folder.carried import kept_carried
from turnout.messages import JobStatus, KeptModel
from turnout.wire.model_files import Arrays, read_arrays, with_carried

WHICH = "`newest`, `best` by the job's metric, or a number. Unless given: the best where there is one, else the newest."
FORMS = {"safetensors": "application/vnd.safetensors", "npz": "application/zip"}


class ModelRoutes:
    """What jobs have learned."""

    def __init__(self, known: KnownJobs, incoming: Incoming) -> None:
        self._known = known
        self._incoming = incoming

    def operations(self) -> list[Operation]:
        version = {"type": "string", "pattern": "^(newest|best|[0-9]{1,15})$"}
        return [
            Operation(
                "GET", "/api/jobs/{job_id}/model", self._model, "A model of a job",
                Returned("The model; `X-Model-Version` says which version it is.", media_types=tuple(FORMS.values())),
                parameters=(
                    JOB_ID,
                    Parameter("version", WHICH, version),
                    Parameter("format", "Which kind of file.", {"enum": list(FORMS), "default": "safetensors"}),
                ),
            ),
        ]  # fmt: skip

    async def _model(self, request: Request) -> Response:
        form = request.query_params.get("format", "safetensors")
        if form not in FORMS:
            raise Problem(HTTPStatus.BAD_REQUEST, f"format={form[:40]} is none of {', '.join(FORMS)}")
        wanted = wanted_version(request)
        job = self._known.of(request)
        status, _ = await self._known.status(job)
        if status is None or not status.model_sha256:
            raise Problem(HTTPStatus.NOT_FOUND, f"job {job.job_id} has no model yet; ask again later")
        chosen = find_version(status, wanted)
        try:
            file: BinaryIO = blob_file(str(self._known.jobs.folder(job.job_id) / "blobs"), chosen.sha256).open("rb")
        except FileNotFoundError:
            raise Problem(HTTPStatus.NOT_FOUND, f"the model of job {job.job_id} has just changed; ask again") from None
        carried = await asyncio.to_thread(kept_carried, self._known.jobs.folder(job.job_id))
        if form == "npz" or carried:
            file = await asyncio.to_thread(self._made, file, form, carried)
        name = f"{job.job_id}-v{chosen.version}.{form}"
        return files.download(file, name, FORMS[form], {"X-Model-Version": str(chosen.version)})

    def _made(self, file: BinaryIO, form: str, carried: Arrays) -> BinaryIO:
        """In a thread: the same tensors in a file of this form, with what the job carries."""
        with file:
            data = with_carried(file.read(), carried)
        place = Path(tempfile.mkdtemp(dir=self._incoming.folder))
        try:
            if form == "npz":
                _write_npz(place / "model", read_arrays(data))
            else:
                (place / "model").write_bytes(data)
            return (place / "model").open("rb")  # it outlives its name
        finally:
            shutil.rmtree(place, ignore_errors=True)


def _write_npz(target: Path, arrays: Arrays) -> None:
    """For ``numpy.load``; not by ``numpy.savez``, which has names of its own."""
    with zipfile.ZipFile(target, "w") as archive:
        for name, tensor in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(tensor), allow_pickle=False)


def wanted_version(request: Request) -> str | int | None:
    """What ``version`` of the query names; None: it is not there. Raises Problem when it names nothing."""
    wanted = request.query_params.get("version")
    if wanted in (None, NEWEST, BEST):
        return wanted
    if wanted.isascii() and wanted.isdigit() and len(wanted) < 16:
        return int(wanted)
    detail = f"version={wanted[:40]} is none of newest, best or a number; leave it out for the best or else the newest"
    raise Problem(HTTPStatus.BAD_REQUEST, detail)


def find_version(status: JobStatus, wanted: str | int | None) -> KeptModel:
    """The version that is wanted; None: the best, or the newest. Raises Problem when it is not kept."""
    try:
        return choose(status, wanted)
    except NotFoundError as error:
        raise Problem(HTTPStatus.NOT_FOUND, str(error)) from None
