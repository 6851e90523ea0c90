"""Reads a submitted job folder in a process of its own: it may hold code (``model.py``, ``server.py``), which may hang
or crash.

``python -m turnout.control.check FOLDER`` prints what gateways must know of the job, or what is wrong, as JSON.
"""

import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from turnout import loops
from turnout.errors import JobFolderError
from turnout.gateway.admission import RESULT_BYTES_MAX, too_large_to_send
from turnout.messages import Message, RunningJob
from turnout.supervisor.commands import PYTHON, job_environment

if TYPE_CHECKING:
    from turnout.job.folder import JobFolder

CHECK_TIMEOUT_S = 60.0
ANSWER_BYTES_MAX = 4 << 20  #: A device config may be in it three times, as each platform is told it.


class Checked(Message, frozen=True):
    """``job`` without an id, or the ``error``."""

    job: RunningJob | None = None
    error: str = ""


async def check(folder: Path, result_bytes_max: int = RESULT_BYTES_MAX) -> RunningJob:
    """What gateways must know of the job in ``folder``; its id is empty. Raises JobFolderError.

    ``result_bytes_max``: of a result, what devices can send.
    """
    process = await asyncio.create_subprocess_exec(
        *PYTHON,
        "turnout.control.check",
        str(folder),
        str(result_bytes_max),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        env=job_environment(),
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), CHECK_TIMEOUT_S)
    except TimeoutError:
        raise JobFolderError(f"reading the job folder took longer than {CHECK_TIMEOUT_S:.0f} s") from None
    finally:
        if process.returncode is None:
            loops.send_signal(process, signal.SIGKILL)
            await process.wait()
    try:
        checked = msgspec.json.decode(output[:ANSWER_BYTES_MAX], type=Checked)
    except (msgspec.DecodeError, msgspec.ValidationError):
        raise JobFolderError(f"reading the job folder ended with exit code {process.returncode}") from None
    if checked.job is None:
        raise JobFolderError(checked.error)
    return checked.job


def without(place: Path, said: str) -> str:
    """What is said of a file or folder of the server, without saying where it is."""
    return said.replace(f"{place}: ", "").replace(f"{place}/", "").replace(str(place), place.name)


def read(folder: Path, result_bytes_max: int = RESULT_BYTES_MAX) -> Checked:
    """Read the folder in this process."""
    from turnout.job.code import load_module
    from turnout.job.folder import load_job_folder

    try:
        job = load_job_folder(folder)
        if job.server is not None:
            load_module(job.server)  # else the job would run, and be done without all that is in it
    except JobFolderError as error:
        return Checked(error=without(folder, str(error)))
    if wrong := too_large_to_send(job.schema, result_bytes_max):
        return Checked(error=wrong)
    return Checked(running_job(job))


def running_job(job: "JobFolder") -> RunningJob:
    """What gateways must know of it; its id is empty."""
    return RunningJob(
        job_id="",
        name=job.spec.name,
        meta={"edge_method": job.spec.edge_method},
        device_config=job.device_config,
        eligibility=job.spec.eligibility,
        device_configs=job.device_configs,
    )


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):  # what the job's own code prints is no answer
        answer = read(Path(sys.argv[1]), int(sys.argv[2]))
    print(msgspec.json.encode(answer).decode())
