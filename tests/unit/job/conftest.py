"""The job that most tests of this folder talk to."""

import pytest

from tests.unit.job.a_job import Job, new_job
from turnout.job.workflow.buffered import Buffered


@pytest.fixture
def job() -> Job:
    """Buffered: four places, versions of two results, at most three versions stale."""
    return new_job(lambda: Buffered(concurrency=4, goal=2, staleness_max=3))
