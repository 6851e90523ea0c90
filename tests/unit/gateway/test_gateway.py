"""A gateway put together: what one part lets in, the next does not turn away."""

import pytest

from turnout.dispatcher.pending import DispatcherLimits
from turnout.gateway.gateway import connection_limits

MIB = 1024 * 1024


@pytest.mark.parametrize(("held", "queued"), [(1024 * MIB, 1024 * MIB), (MIB, 256 * MIB), (None, 256 * MIB)])
def test_as_many_results_as_a_gateway_holds_may_wait_for_a_job(held: int | None, queued: int) -> None:
    limits = None if held is None else DispatcherLimits(results_bytes_max=held)
    assert connection_limits(limits).queue_bytes_max == queued
