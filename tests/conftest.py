"""What all tests share."""

import importlib.util
import os
import tempfile
from collections.abc import Iterator

import pytest

from tests.hanging import Hangs
from tests.skipping import Skips, in_ci

#: They need NVIDIA FLARE, which has an environment of its own: ``make test-flare`` runs them.
collect_ignore = [] if importlib.util.find_spec("nvflare") else ["flare"]


if importlib.util.find_spec("hypothesis"):  # FLARE's environment has none
    from hypothesis import settings

    settings.register_profile("turnout", deadline=None)  # no test asserts a time: the machine may be busy
    settings.load_profile("turnout")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Hangs(config), "hangs")
    if not hasattr(config, "workerinput"):  # a worker of xdist reports to the process that started it
        config.pluginmanager.register(Skips(strict=in_ci()), "skips")


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio, which is what every process of turnout runs on."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def servers_of_the_tests() -> Iterator[None]:
    """Servers that tests start are found by tests only, and not by what else this account does meanwhile."""
    with tempfile.TemporaryDirectory() as place:
        os.environ["XDG_STATE_HOME"] = place
        yield
    del os.environ["XDG_STATE_HOME"]
