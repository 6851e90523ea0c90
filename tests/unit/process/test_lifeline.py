"""A child notices the end of its parent."""

import os
import subprocess
import sys

import pytest

from turnout.process.lifeline import EXIT_ORPHANED

CHILD = """
import sys, threading
from turnout.process.lifeline import watch
over = threading.Event()
watch(int(sys.argv[1]), {end}, grace_s={grace_s})
print("ready", flush=True)
over.wait()
"""


def orphan(end: str, grace_s: float) -> int:
    """The exit code of a child whose parent's end of the pipe closes; ``end`` is what it calls then."""
    read, write = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(end=end, grace_s=grace_s), str(read)],
        pass_fds=(read,),
        stdout=subprocess.PIPE,
    )
    os.close(read)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == b"ready\n"
    os.close(write)
    return child.wait(10)


def test_a_child_is_told_of_the_end_of_its_parent_and_ends_as_it_likes() -> None:
    assert orphan("over.set", grace_s=60) == 0


@pytest.mark.parametrize("end", ["int", "threading.Event().wait"])
def test_a_child_that_does_not_end_by_itself_is_ended(end: str) -> None:
    assert orphan(end, grace_s=0) == EXIT_ORPHANED
