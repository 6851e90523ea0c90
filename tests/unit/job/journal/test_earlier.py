"""What earlier releases left out of their journals."""

import random

from turnout.aggregator.typical import Norms
from turnout.job.account.tally import SavedTally
from turnout.job.journal import earlier
from turnout.job.workflow.made import SavedMade
from turnout.job.workflow.workflow import SavedWorkflow


def state(counted: int, buffered: int) -> earlier.State:
    """As the first release wrote it."""
    return earlier.State(
        total_weight=2.0,
        buffered=buffered,
        tasks=counted,
        checksum=0,
        reserved_until=65_536,
        blobs=(),
        workflow=SavedWorkflow(),
        rng=random.Random(1).getstate(),
        job_time=1.0,
        next_appointment=0.0,
        durations=(),
        tally=SavedTally(counted),
        vectors={},
        counted={},
    )


def test_all_that_is_counted_and_not_in_the_sum_is_in_versions() -> None:
    sections = {type(section): section for section in earlier.sections(state(counted=7, buffered=2))}
    assert sections[SavedMade] == SavedMade(in_versions=5)


def test_the_norms_of_updates_begin_anew() -> None:
    sections = {type(section): section for section in earlier.sections(state(counted=7, buffered=2))}
    assert sections[Norms] == Norms()
