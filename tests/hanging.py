"""No test hangs for ever: it fails, or its process ends.

The first limit is that of pytest-timeout: a signal that fails the test, so that what it started is ended and what it
printed is shown. Not every test notices it: an event loop may swallow what the signal raises, and nothing watches the
teardown of a test that has failed. The second limit ends the process, with the stacks of all its threads; xdist then
fails the test and runs the others in a new process. It also ends a process that hangs after its last test.
"""

import faulthandler
import os

import pytest

TEST_S_MAX = 300.0  #: A test that needs longer says so: ``@pytest.mark.timeout(seconds)``.
GRACE_S = 60.0  #: From the first limit to the second.


class Hangs:
    """A plugin of pytest, in each process that runs tests; ``--timeout`` goes before ``test_s_max``."""

    def __init__(self, config: pytest.Config, test_s_max: float = TEST_S_MAX, grace_s: float = GRACE_S) -> None:
        self._grace_s = grace_s
        self._stderr = os.dup(2)  # what tests write there is captured
        if config.pluginmanager.hasplugin("timeout"):
            config.option.timeout = config.option.timeout or test_s_max
            test_s_max = config.option.timeout
        self._test_s_max = test_s_max

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self._watch(item)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        self._watch(item)  # again: pytest ends every watch when a test fails

    def pytest_runtest_logfinish(self) -> None:
        faulthandler.cancel_dump_traceback_later()  # a worker of xdist may have to wait for its next test

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        self._end_in(self._test_s_max + self._grace_s)  # a worker of xdist stays until the last test of all others

    def _watch(self, item: pytest.Item) -> None:
        marker = item.get_closest_marker("timeout")
        self._end_in((marker.args[0] if marker else self._test_s_max) + self._grace_s)

    def _end_in(self, seconds: float) -> None:
        faulthandler.dump_traceback_later(seconds, exit=True, file=self._stderr)
