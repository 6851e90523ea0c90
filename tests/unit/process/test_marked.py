"""Processes that carry a mark in their environment are ended, and no others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from turnout.process.marked import MARK, kill_marked, new_mark

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows the environment of other processes")
SLEEP = ["sleep", "600"]


@linux
def test_only_processes_with_this_mark_are_killed() -> None:
    mark = new_mark()
    marked, other = (
        subprocess.Popen(SLEEP, env={**os.environ, **each}, start_new_session=True) for each in (mark, new_mark())
    )
    kill_marked(mark[MARK])
    assert marked.wait() == -9
    assert other.poll() is None
    other.kill()
    other.wait()


def test_where_no_processes_are_shown_nothing_is_killed(tmp_path: Path) -> None:
    kill_marked(new_mark()[MARK], tmp_path / "proc")


def test_a_process_that_has_just_ended_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "4194305").mkdir()
    kill_marked(new_mark()[MARK], tmp_path)
