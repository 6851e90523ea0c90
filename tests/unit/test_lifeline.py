"""A child notices the end of its parent."""

import os
import subprocess
import sys
import threading

import pytest

from turnout.lifeline import EXIT_ORPHANED, watch


def test_the_end_of_the_parent_is_told_once() -> None:
    read, write = os.pipe()
    told = threading.Event()
    watch(read, told.set)
    assert not told.is_set()
    os.close(write)
    assert told.wait(5)


STUBBORN = """
import sys, threading
from turnout.lifeline import watch
watch(int(sys.argv[1]), {end}, grace_s=0.0)
print("ready", flush=True)
threading.Event().wait()
"""


@pytest.mark.parametrize("end", ["int", "threading.Event().wait"])
def test_a_child_that_does_not_end_by_itself_is_ended(end: str) -> None:
    read, write = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-c", STUBBORN.format(end=end), str(read)], pass_fds=(read,), stdout=subprocess.PIPE
    )
    os.close(read)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == b"ready\n"
    os.close(write)
    assert child.wait(10) == EXIT_ORPHANED
