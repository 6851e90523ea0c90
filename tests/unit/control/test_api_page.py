"""docs/API.md has every route and every metric, and none that is not there."""

import re
from pathlib import Path

import pytest

from tests.unit.control.world import World
from turnout.control import metrics
from turnout.control.routes.watching import HEARTBEAT_S, WATCHERS_MAX
from turnout.control.sampler import JOBS_SAMPLED_MAX
from turnout.control.samples import SAMPLES_MAX

PAGE = (Path(__file__).parents[3] / "docs" / "API.md").read_text()


@pytest.mark.anyio
async def test_every_route_is_on_the_page_with_its_scope(world: World) -> None:
    documented = re.findall(r"^\| `([A-Z]+) (/\S+)` \| (\w+) \|", PAGE, re.MULTILINE)
    operations = [(op.method, op.path, op.scope or "none") for op in world.api.operations if not op.deprecated]
    assert sorted(documented) == sorted(operations)


def test_every_metric_is_on_the_page() -> None:
    documented = re.findall(r"^\| `(turnout_\w+)` \|", PAGE, re.MULTILINE)
    assert sorted(documented) == sorted(metric.name for metric in metrics.ALL)


def test_bounds_that_the_page_names_are_those_of_the_code() -> None:
    assert f"each of the last {SAMPLES_MAX} seconds" in PAGE
    assert f"At most {WATCHERS_MAX} watchers" in PAGE
    assert f"at most {JOBS_SAMPLED_MAX}\nrunning jobs" in PAGE
    assert f"each {HEARTBEAT_S:g} seconds" in PAGE
    assert f"the {metrics.JOBS_LABELLED_MAX} oldest running jobs" in PAGE
