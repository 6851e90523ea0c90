"""What a gateway counts, and for how long it tells the jobs apart."""

import pytest

from tests.unit.gateway.fakes import FakeDispatcher, schema_of
from turnout.gateway.counters import JOBS_MAX, Counters
from turnout.gateway.http1.server import GatewayServer


def no_model(job_id: str) -> None:
    raise AssertionError("nobody asks for a model here")


def test_refusals_are_told_apart_for_the_jobs_that_run_however_many_there_have_been() -> None:
    counters = Counters(0.0, float)
    for number in range(JOBS_MAX + 1):
        job_id = f"job-{number}"
        counters.refuse("shape", job_id)
        assert counters.snapshot(0, 0.0).refused_of == {job_id: {"shape": 1}}
        counters.forget_unless(lambda running: False)
    told = counters.snapshot(0, 0.0)
    assert (told.refused, told.refused_of) == ({"shape": JOBS_MAX + 1}, {})


def test_of_more_jobs_at_once_than_are_told_apart_the_refusals_are_counted_without_a_job() -> None:
    counters = Counters(0.0, float)
    for number in range(JOBS_MAX + 1):
        counters.refuse("shape", f"job-{number}")
    assert len(counters.refused_of) == JOBS_MAX
    assert counters.refused == {"shape": JOBS_MAX + 1}
    counters.forget_unless(lambda job_id: job_id == "job-7")
    assert counters.refused_of == {"job-7": {"shape": 1}}


@pytest.mark.anyio
async def test_a_server_tells_jobs_apart_for_as_long_as_they_run() -> None:
    server = GatewayServer(FakeDispatcher(), schema_of, no_model)
    server.counters.refuse("shape", "small")
    server.counters.refuse("shape", "ended")
    await server.start([])
    await server.close()
    assert server.counters.refused_of == {"small": {"shape": 1}}
    assert server.counters.refused == {"shape": 2}
