"""What the tests against FLARE's clients share: a gateway whose jobs answer as told, and one with a real job."""

import pytest

from tests.contract.gateway.conftest import limits, world

__all__ = ["anyio_backend", "limits", "world"]


@pytest.fixture
def anyio_backend() -> str:
    """One event loop is enough here: the gateway's own suite runs on both."""
    return "asyncio"
