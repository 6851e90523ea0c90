"""What works on a system that no server runs on."""

import subprocess
import sys
from pathlib import Path

import pytest

#: Windows, as far as imports go: it has none of these.
ELSEWHERE = """
import os, signal, sys
for name in ("fcntl", "resource", "pwd", "grp", "termios", "uvloop"):
    sys.modules[name] = None
for name in ("SIGKILL", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGCHLD"):
    delattr(signal, name)
for name in ("getuid", "fork", "setpgid", "O_NOFOLLOW", "O_CLOEXEC"):
    delattr(os, name)
from turnout.cli import main
main()
"""


def elsewhere(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ELSEWHERE, *arguments], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def folder(tmp_path: Path) -> str:
    assert elsewhere("new", str(tmp_path / "job")).returncode == 0
    return str(tmp_path / "job")


def test_commands_that_need_a_server_on_this_machine_say_that_there_is_none(folder: str) -> None:
    for command in (("up",), ("run", folder), ("demo",)):
        found = elsewhere(*command)
        assert found.returncode == 1
        (line,) = found.stderr.splitlines()
        assert "the server of turnout runs on Linux and macOS" in line
        assert "WSL 2" in line


def test_the_doctor_says_so_too() -> None:
    found = elsewhere("doctor")
    assert found.returncode == 1
    assert "WRONG  system" in found.stdout
    assert found.stderr == ""


def test_commands_that_talk_to_a_server_elsewhere_work(folder: str) -> None:
    assert elsewhere("check", folder).returncode == 0
    assert "nothing answers" in elsewhere("jobs", "--server", "http://127.0.0.1:9").stderr
