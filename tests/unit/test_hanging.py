"""Tests that hang end, whatever they hang in."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[2]
CONFTEST = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from tests.hanging import Hangs

def pytest_configure(config):
    config.pluginmanager.register(Hangs(config, test_s_max=0.2, grace_s=1.0))
"""
TESTS = """
import threading

def test_that_hangs():
    threading.Event().wait()

def test_after_it():
    print("ran")
"""
TEARDOWN = """
import pytest

@pytest.fixture(autouse=True)
def hangs_too():
    yield
    threading.Event().wait()
"""
AT_THE_EXIT = """
import threading

def test_that_passes():
    threading.Thread(target=threading.Event().wait).start()
"""


def ran(pytester: pytest.Pytester, tests: str, *options: str) -> pytest.RunResult:
    """A run of its own, in which a test may take 0.2 s and what it leaves behind another second."""
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_it=tests)
    pytester.makeini("[pytest]")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they are slow to import
        return pytester.runpytest_subprocess("-p", "timeout", *options, timeout=60)


def test_a_test_that_hangs_fails_with_its_stack_and_the_next_one_runs(pytester: pytest.Pytester) -> None:
    result = ran(pytester, TESTS)

    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["> *threading.Event().wait()", "*Timeout (>0.2s)*"])


def test_a_test_that_hangs_on_ends_its_process_with_all_stacks(pytester: pytest.Pytester) -> None:
    result = ran(pytester, TESTS + TEARDOWN)

    assert result.ret == 1
    result.stderr.fnmatch_lines(["Timeout (0:00:01.2*)!", "*in hangs_too"])


def test_xdist_fails_it_and_says_which_it_was(pytester: pytest.Pytester) -> None:
    result = ran(pytester, TESTS + TEARDOWN, "-p", "xdist", "-n", "1")

    assert result.ret == 1
    result.stdout.fnmatch_lines(["worker 'gw0' crashed while running 'test_it.py::test_that_hangs'"])


def test_a_process_that_hangs_after_its_tests_ends(pytester: pytest.Pytester) -> None:
    result = ran(pytester, AT_THE_EXIT)

    result.assert_outcomes(passed=1)
    assert result.ret == 1
    result.stderr.fnmatch_lines(["Timeout (0:00:01*)!"])
