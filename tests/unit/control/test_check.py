"""The process that reads a submitted folder: what its code prints is bounded, and nothing of it stays behind."""

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.control.world import JOB_TOML, MODEL
from turnout.control.check import ANSWER_BYTES_MAX, check
from turnout.errors import JobFolderError

PATIENCE_S = 30.0
CHECKS = """
import asyncio, pathlib, sys
from turnout.control.check import check
asyncio.run(check(pathlib.Path(sys.argv[1])))
"""
#: Starts a process, and holds a pipe with it that closes when both are gone.
STARTS = """
import os, subprocess, time
held = open({path!r}, "w")
subprocess.Popen(["sleep", "600"], stdout=held, start_new_session={own_session})
held.write("here")
held.flush()
"""


#: Only on Linux a process that has left the group of the check can be found.
own_sessions = pytest.mark.parametrize("own_session", [False, *([True] if sys.platform == "linux" else [])])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    (made / "job.toml").write_bytes(JOB_TOML)
    (made / "model.safetensors").write_bytes(MODEL)
    return made


class Pipe:
    """Told by a pipe with a name who holds it."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def read(self) -> bytes:
        """What comes next; nothing once nobody holds the other end."""
        waiting = select.poll()
        waiting.register(self._fd, select.POLLIN)
        assert waiting.poll(PATIENCE_S * 1000), "somebody still holds it"
        return os.read(self._fd, 100)

    def close(self) -> None:
        os.close(self._fd)


@pytest.mark.anyio
async def test_what_gateways_must_know_is_the_answer(folder: Path) -> None:
    assert (await check(folder)).name == "digits"


@pytest.mark.anyio
async def test_code_that_prints_without_end_is_stopped(folder: Path) -> None:
    (folder / "server.py").write_text("import os\nwhile True:\n    os.write(1, b'x' * 65536)\n")
    with pytest.raises(JobFolderError, match=f"printed more than {ANSWER_BYTES_MAX} bytes"):
        await check(folder)


@pytest.mark.anyio
@own_sessions
async def test_what_the_code_has_started_ends_with_the_check(folder: Path, tmp_path: Path, own_session: bool) -> None:
    pipe = Pipe(tmp_path / "pipe")
    (folder / "server.py").write_text(STARTS.format(path=str(pipe.path), own_session=own_session))
    assert (await check(folder)).name == "digits"
    assert (pipe.read(), pipe.read()) == (b"here", b"")
    pipe.close()


@own_sessions
def test_the_process_and_what_it_has_started_end_when_control_is_killed(
    folder: Path, tmp_path: Path, own_session: bool
) -> None:
    pipe = Pipe(tmp_path / "pipe")
    (folder / "server.py").write_text(STARTS.format(path=str(pipe.path), own_session=own_session) + "time.sleep(600)\n")
    control = subprocess.Popen([sys.executable, "-c", CHECKS, str(folder)])
    assert pipe.read() == b"here"
    control.kill()
    control.wait(60)
    assert pipe.read() == b""
    pipe.close()
