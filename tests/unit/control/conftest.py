"""Control for the tests of this folder."""

from pathlib import Path

import pytest

from tests.unit.control.world import World


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return World(tmp_path)
