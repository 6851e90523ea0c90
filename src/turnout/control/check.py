"""Reads a submitted job folder in a process of its own: it may hold code (``model.py``, ``server.py``), which may hang
or crash.

``python -m turnout.control.check FOLDER`` prints what gateways must know of the job, or what is wrong, as JSON.
"""

import asyncio
import contextlib
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from turnout.errors import JobFolderError
from turnout.gateway.bounds import RESULT_BYTES_MAX
from turnout.gateway.limits import too_large_to_send
from turnout.messages import Message, RunningJob
from turnout.process import lifeline
from turnout.process.environment import PYTHON, job_environment
from turnout.process.marked import MARK, kill_marked, new_mark

if TYPE_CHECKING:
    from turnout.job.folder.folder import JobFolder

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
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            output, code = await _printed_by(folder, result_bytes_max)
    except TimeoutError:
        raise JobFolderError(f"reading the job folder took longer than {CHECK_TIMEOUT_S:.0f} s") from None
    if len(output) > ANSWER_BYTES_MAX:
        raise JobFolderError(f"reading the job folder printed more than {ANSWER_BYTES_MAX} bytes")
    try:
        checked = msgspec.json.decode(output, type=Checked)
    except (msgspec.DecodeError, msgspec.ValidationError):
        raise JobFolderError(f"reading the job folder ended with exit code {code}") from None
    if checked.job is None:
        raise JobFolderError(checked.error)
    return checked.job


async def _printed_by(folder: Path, result_bytes_max: int) -> tuple[bytes, int]:
    """What the process printed, a byte more than allowed at the most, and its exit code.

    It and what its code has started end with this call, or with the process that makes it.
    """
    mark = new_mark()
    lifeline_fd, ours = os.pipe()
    printed, to_print = os.pipe()  # not a pipe of asyncio's, for whose end it may wait: somebody may still hold it
    try:
        process = await asyncio.create_subprocess_exec(
            *PYTHON,
            "turnout.control.check",
            *(str(folder), str(result_bytes_max), str(lifeline_fd)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=to_print,
            env={**job_environment(), **mark},
            pass_fds=(lifeline_fd,),
            start_new_session=True,
        )
    except BaseException:
        os.close(printed)
        os.close(ours)
        raise
    finally:
        os.close(lifeline_fd)
        os.close(to_print)
    try:
        output = await _read_from(printed)
        if len(output) <= ANSWER_BYTES_MAX:
            await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # also what the process has left behind
        await asyncio.to_thread(kill_marked, mark[MARK])  # also in a group of its own
        os.close(ours)
        code = await process.wait()
    return output, code


async def _read_from(fd: int) -> bytes:
    """All that comes, a byte more than allowed at the most; closes the descriptor."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb"))
    output = bytearray()
    try:
        while len(output) <= ANSWER_BYTES_MAX and (piece := await reader.read(ANSWER_BYTES_MAX + 1 - len(output))):
            output += piece
    finally:
        transport.close()
    return bytes(output)


def without(place: Path, said: str) -> str:
    """What is said of a file or folder of the server, without saying where it is."""
    return said.replace(f"{place}: ", "").replace(f"{place}/", "").replace(str(place), place.name)


def read(folder: Path, result_bytes_max: int = RESULT_BYTES_MAX) -> Checked:
    """Read the folder in this process."""
    from turnout.job.folder.code import load_module
    from turnout.job.folder.folder import load_job_folder

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


def _end(mark: str) -> None:
    """This process and what the job's code has started."""
    kill_marked(mark)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    lifeline.watch(int(sys.argv[3]), partial(_end, os.environ[MARK]))
    with contextlib.redirect_stdout(sys.stderr):  # what the job's own code prints is not the answer
        answer = read(Path(sys.argv[1]), int(sys.argv[2]))
    print(msgspec.json.encode(answer).decode())
