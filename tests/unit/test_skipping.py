"""A run in CI that skips what is not listed fails."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[2]
SKIPS_ONE = "import pytest\ndef test_one(): pytest.skip('no such thing here')\ndef test_two(): pass\n"


def ran(pytester: pytest.Pytester, ci: str, *options: str) -> pytest.RunResult:
    """A run of its own, of one test that is skipped and one that passes, under the plugin."""
    pytester.makeconftest(
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from tests.skipping import Skips, in_ci\n"
        "def pytest_configure(config):\n"
        "    if not hasattr(config, 'workerinput'): config.pluginmanager.register(Skips(in_ci()))\n"
    )
    pytester.makepyfile(test_it=SKIPS_ONE)
    pytester.makeini("[pytest]")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CI", ci)
        environment.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they are slow to import
        return pytester.runpytest_subprocess(*options)


def test_an_unlisted_skip_fails_a_run_in_ci(pytester: pytest.Pytester) -> None:
    result = ran(pytester, "true")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["FAILED test_it.py::test_one: skipped, and not listed*"])


def test_so_does_one_that_a_worker_reports(pytester: pytest.Pytester) -> None:
    assert ran(pytester, "true", "-p", "xdist", "-n", "1").ret == pytest.ExitCode.TESTS_FAILED


def test_elsewhere_a_skip_passes(pytester: pytest.Pytester) -> None:
    assert ran(pytester, "").ret == pytest.ExitCode.OK
