"""``/metrics``: what all processes of a server have counted, in the text format of Prometheus. Pure.

Gateways and jobs count for themselves and tell control, which only writes down what it was told: there is nothing here
that a client library would count. No label names a device; jobs have a label each, up to ``JOBS_LABELLED_MAX``.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate

from turnout.client.view import JobState
from turnout.messages import LATENCY_BOUNDS_S, GatewayCounters, JobStatus
from turnout.text.printable import printable

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
JOBS_LABELLED_MAX = 100  #: The oldest running jobs.

Labels = dict[str, str]
Line = tuple[str, Labels, float]  #: A suffix of the metric's name, its labels and its value.


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; ``kind`` is Prometheus's."""

    name: str
    kind: str
    about: str


JOBS = Metric("turnout_jobs", "gauge", "Jobs by state.")
UNLABELLED = Metric("turnout_jobs_unlabelled", "gauge", "Running jobs beyond those that have metrics of their own.")
RESULTS = Metric("turnout_results_total", "counter", "Results by outcome: counted, duplicate, or refused for a reason.")
LOST = Metric("turnout_tasks_lost_total", "counter", "Tasks whose lease expired without a result.")
VERSION = Metric("turnout_model_version", "gauge", "The newest version of the job's model.")
BUFFERED = Metric("turnout_buffered_results", "gauge", "Results counted towards the next version.")
GOAL = Metric("turnout_buffer_goal", "gauge", "Results that make the next version.")
PLACES = Metric("turnout_places", "gauge", "Most devices that may train at once.")
TRAINING = Metric("turnout_devices_training", "gauge", "Devices that hold a lease.")
WAITING = Metric("turnout_devices_waiting", "gauge", "Devices that were told to ask again later and will, about.")
LEASE = Metric("turnout_oldest_lease_seconds", "gauge", "Age of the oldest lease.")
STATE = Metric("turnout_job_state", "gauge", "1 for the state that the job is in, 0 for the others.")
UPTIME = Metric("turnout_job_seconds_total", "counter", "Time for which the job has run, over all its processes.")
MEASURED = Metric("turnout_model_metric", "gauge", "What the job's evaluation measured last, by its own names.")
MEASURED_VERSION = Metric("turnout_model_metric_version", "gauge", "The version of the model that was measured.")
ACK = Metric("turnout_ack_seconds", "summary", "From a result to its answer, within the job; the last thousand.")
COMMIT = Metric("turnout_commit_seconds", "summary", "How long writing a commit took; the last thousand.")
REQUESTS = Metric(
    "turnout_requests_total",
    "counter",
    "Requests of devices by kind and by status: the protocol's, or HTTP's where the gateway answered by itself.",
)
SECONDS = Metric("turnout_request_seconds", "histogram", "From the end of a request's head to its answer.")
REFUSED = Metric(
    "turnout_gateway_refused_total",
    "counter",
    "What a gateway refused by itself, by reason and, where it was a result of a running job, by job.",
)
CONNECTIONS = Metric("turnout_connections", "gauge", "Open connections of devices.")
BYTES = Metric("turnout_network_bytes_total", "counter", "Bytes that a gateway received from devices and sent them.")
GATEWAY_UPTIME = Metric("turnout_gateway_uptime_seconds", "gauge", "Time since the gateway's process was started.")

OWN_STATES = ("RECOVER", "OPEN", "PAUSED", "FULL", "ENDING", "ENDED")  #: What a job says of itself, see its core.
METRICS_MAX = 16  #: Of a job's own, that are shown: a hook may name as many as it likes.
NAME_CHARS_MAX = 64


def render(
    counts: Mapping[JobState, int], statuses: Mapping[str, JobStatus], gateways: Iterable[GatewayCounters]
) -> str:
    """All metrics. ``counts`` is of all jobs, ``statuses`` of the running ones."""
    labelled = list(statuses.values())[:JOBS_LABELLED_MAX]
    every = list(gateways)
    tables: list[tuple[Metric, Iterable[Line]]] = [
        (JOBS, [("", {"state": state}, count) for state, count in counts.items()]),
        (UNLABELLED, [("", {}, counts.get(JobState.RUNNING, 0) - len(labelled))]),
        *_of_jobs(labelled),
        *_of_gateways(every),
    ]
    return "".join(text for metric, lines in tables for text in _written(metric, lines))


def _of_jobs(jobs: list[JobStatus]) -> Iterator[tuple[Metric, Iterable[Line]]]:
    yield RESULTS, [line for job in jobs for line in _results(job)]
    numbers = (
        (LOST, "lost"),
        (VERSION, "version"),
        (BUFFERED, "buffered"),
        (GOAL, "goal"),
        (PLACES, "places"),
        (TRAINING, "training"),
        (WAITING, "waiting"),
        (LEASE, "oldest_lease_s"),
        (UPTIME, "uptime_s"),
    )
    for metric, name in numbers:
        yield metric, [("", {"job": job.job_id}, getattr(job, name)) for job in jobs]
    yield (
        STATE,
        [("", {"job": job.job_id, "state": each}, int(each == job.state)) for job in jobs for each in OWN_STATES],
    )
    measured = [(job.job_id, name, *each) for job in jobs for name, each in _measured(job).items()]
    yield MEASURED, [("", {"job": job_id, "metric": name}, value) for job_id, name, value, _ in measured]
    yield MEASURED_VERSION, [("", {"job": job_id, "metric": name}, version) for job_id, name, _, version in measured]
    for metric, name in ((ACK, "ack_ms"), (COMMIT, "commit_ms")):
        yield metric, [line for job in jobs for line in _quantiles(job.job_id, getattr(job, name))]


def _measured(job: JobStatus) -> dict[str, tuple[float, int]]:
    """Value and version by label. Of names that make the same label the first: Prometheus takes no page that says a
    thing twice."""
    found: dict[str, tuple[float, int]] = {}
    for name, value in list(job.metrics.items())[:METRICS_MAX]:
        found.setdefault(printable(name[:NAME_CHARS_MAX]), (value, job.version_of(name)))
    return found


def _results(job: JobStatus) -> Iterator[Line]:
    yield "", {"job": job.job_id, "outcome": "counted", "reason": ""}, job.counted
    yield "", {"job": job.job_id, "outcome": "duplicate", "reason": ""}, job.duplicates
    for reason, count in job.refused.items():
        yield "", {"job": job.job_id, "outcome": "refused", "reason": reason}, count


def _quantiles(job_id: str, measured_ms: Mapping[str, float]) -> Iterator[Line]:
    for name, quantile in (("p50", "0.5"), ("p99", "0.99")):
        if name in measured_ms:
            yield "", {"job": job_id, "quantile": quantile}, measured_ms[name] / 1000


def _of_gateways(gateways: list[GatewayCounters]) -> Iterator[tuple[Metric, Iterable[Line]]]:
    named = [({"gateway": str(told.gateway)}, told) for told in gateways]
    yield (
        REQUESTS,
        [
            ("", {**label, "kind": kind, "status": status}, count)
            for label, told in named
            for kind, answers in told.answers.items()
            for status, count in answers.items()
        ],
    )
    yield SECONDS, [line for label, told in named for line in _histogram(label, told)]
    yield REFUSED, [line for label, told in named for line in _refused(label, told)]
    yield CONNECTIONS, [("", label, told.connections) for label, told in named]
    yield (
        BYTES,
        [
            ("", {**label, "direction": direction}, count)
            for label, told in named
            for direction, count in (("in", told.bytes_in), ("out", told.bytes_out))
        ],
    )
    yield GATEWAY_UPTIME, [("", label, told.uptime_s) for label, told in named]


def _refused(label: Labels, told: GatewayCounters) -> Iterator[Line]:
    of_none = dict(told.refused)
    for job_id, of_job in told.refused_of.items():
        for reason, count in of_job.items():
            of_none[reason] -= count
            yield "", {**label, "reason": reason, "job": job_id}, count
    for reason, count in of_none.items():
        yield "", {**label, "reason": reason, "job": ""}, count


def _histogram(label: Labels, told: GatewayCounters) -> Iterator[Line]:
    for kind, counts in told.latency.items():
        labels = {**label, "kind": kind}
        bounds = (*(f"{bound:g}" for bound in LATENCY_BOUNDS_S), "+Inf")
        for bound, below in zip(bounds, accumulate(counts), strict=True):
            yield "_bucket", {**labels, "le": bound}, below
        yield "_sum", labels, told.latency_s.get(kind, 0.0)
        yield "_count", labels, sum(counts)


def _written(metric: Metric, lines: Iterable[Line]) -> Iterator[str]:
    yield f"# HELP {metric.name} {metric.about}\n# TYPE {metric.name} {metric.kind}\n"
    for suffix, labels, value in lines:
        inner = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
        yield f"{metric.name}{suffix}{{{inner}}} {value!r}\n"


def _escaped(text: str) -> str:
    return printable(text).replace("\\", "\\\\").replace('"', '\\"')


ALL = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
