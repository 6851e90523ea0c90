"""``/metrics`` as Prometheus reads it."""

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.control.world import World, submitted
from turnout.client.view import JobState
from turnout.control import metrics
from turnout.messages import LATENCY_BOUNDS_S, DeviceMetric, GatewayCounters, JobStatus

JOB = JobStatus(
    "digits-1",
    "digits",
    "OPEN",
    "buffered",
    version=7,
    counted=140,
    duplicates=2,
    refused={"stale": 3},
    lost=1,
    metrics={'odd "name"\n': 0.5},
    ack_ms={"p50": 4.0, "p99": 20.0},
)
GATEWAY = GatewayCounters(
    0,
    {"task": 3},
    {"path": 1},
    connections=4,
    uptime_s=9.5,
    answers={"task": {"OK": 2, "RETRY": 1}},
    latency={"task": [2, 0, 1, *[0] * (len(LATENCY_BOUNDS_S) - 2)]},
    latency_s={"task": 0.003},
    bytes_in=100,
    bytes_out=200,
)


def values(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by its name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_results_are_counted_by_outcome_and_reason() -> None:
    found = values(metrics.render({}, {"digits-1": JOB}, []))
    results = {labels[1:]: value for (name, labels), value in found.items() if name == "turnout_results_total"}
    assert results == {
        (("outcome", "counted"), ("reason", "")): 140,
        (("outcome", "duplicate"), ("reason", "")): 2,
        (("outcome", "refused"), ("reason", "stale")): 3,
    }
    assert found["turnout_model_metric", (("job", "digits-1"), ("metric", 'odd "name"\\n'))] == 0.5
    assert found["turnout_ack_seconds", (("job", "digits-1"), ("quantile", "0.99"))] == 0.02


def test_each_metric_of_a_model_says_which_version_was_measured() -> None:
    by_devices = (DeviceMetric("federated/loss", 5, 8, 80.0, 0.25),)
    measured = {"metrics": {"accuracy": 0.5, "federated/loss": 0.25}, "metrics_version": 6, "by_devices": by_devices}
    found = values(metrics.render({}, {"digits-1": msgspec.structs.replace(JOB, **measured)}, []))
    versions = {
        dict(labels)["metric"]: value
        for (name, labels), value in found.items()
        if name.endswith("_version") and "metric" in dict(labels)
    }
    assert versions == {"accuracy": 6, "federated/loss": 5}


def test_what_a_gateway_refused_is_counted_once_by_job() -> None:
    told = GatewayCounters(0, refused={"path": 1, "shape": 5}, refused_of={"digits-1": {"shape": 3}, "b": {"shape": 1}})
    found = values(metrics.render({}, {}, [told]))
    refused = {labels[1:]: value for (name, labels), value in found.items() if "gateway_refused" in name}
    assert refused == {
        (("job", "digits-1"), ("reason", "shape")): 3,
        (("job", "b"), ("reason", "shape")): 1,
        (("job", ""), ("reason", "shape")): 1,
        (("job", ""), ("reason", "path")): 1,
    }


def test_every_state_that_a_job_may_be_in_has_a_value() -> None:
    found = values(metrics.render({}, {"digits-1": JOB}, []))
    states = {dict(labels)["state"]: value for (name, labels), value in found.items() if name == "turnout_job_state"}
    assert states == {"RECOVER": 0, "OPEN": 1, "PAUSED": 0, "FULL": 0, "ENDING": 0, "ENDED": 0}


def test_requests_are_counted_by_gateway_kind_and_status() -> None:
    found = values(metrics.render({}, {}, [GATEWAY]))
    labels = (("gateway", "0"), ("kind", "task"))
    assert found["turnout_requests_total", (*labels, ("status", "RETRY"))] == 1
    assert found["turnout_request_seconds_bucket", (labels[0], labels[1], ("le", "0.0005"))] == 2
    assert found["turnout_request_seconds_bucket", (labels[0], labels[1], ("le", "+Inf"))] == 3
    assert found["turnout_request_seconds_count", labels] == 3
    assert found["turnout_network_bytes_total", (("direction", "out"), ("gateway", "0"))] == 200


def test_names_and_kinds_are_as_prometheus_wants_them() -> None:
    families = {family.name: family for family in text_string_to_metric_families(metrics.render({}, {}, [GATEWAY]))}
    for metric in metrics.ALL:
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert families[metric.name.removesuffix("_total")].documentation == metric.about


def test_however_many_jobs_run_the_labels_are_bounded() -> None:
    number = metrics.JOBS_LABELLED_MAX + 5
    jobs = {f"job-{i}": JobStatus(f"job-{i}", "digits", "OPEN", "buffered") for i in range(number)}
    found = values(metrics.render({JobState.RUNNING: number}, jobs, []))
    assert len({dict(labels)["job"] for _, labels in found if "job" in dict(labels)}) == metrics.JOBS_LABELLED_MAX
    assert found["turnout_jobs_unlabelled", ()] == 5
    assert found["turnout_jobs", (("state", "running"),)] == number


@pytest.mark.anyio
async def test_the_page_is_of_what_the_jobs_said_last(world: World) -> None:
    job_id = await submitted(world)
    world.start(job_id, JobStatus(job_id, "digits", "OPEN", "buffered", version=3))
    await world.api.sampler.take()
    answer = await world.call("GET", "/metrics")
    assert answer.headers["content-type"] == metrics.MEDIA_TYPE
    assert values(answer.body.decode())["turnout_model_version", (("job", job_id),)] == 3
