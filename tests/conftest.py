"""What all tests share."""

import importlib.util

import pytest

#: They need NVIDIA FLARE, which has an environment of its own: ``make test-flare`` runs them.
collect_ignore = [] if importlib.util.find_spec("nvflare") else ["flare"]


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio, which is what every process of turnout runs on."""
    return "asyncio"
