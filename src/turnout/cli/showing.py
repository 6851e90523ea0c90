"""One job in full, as lines for people."""

import time
from collections.abc import Iterator

from turnout.client.listing import columns, state_of
from turnout.client.view import UNFINISHED, JobState, JobView
from turnout.local.view import refused
from turnout.messages import DeviceMetric, FleetGroup, JobStatus
from turnout.text.ages import ago

LABEL_WIDTH = 12
FLEET = ("PLATFORM", "APP", "ASKED", "TASKS", "TRAINING", "COUNTED", "REFUSED", "LOST", "ZEROS", "")


def described(view: JobView, now: float | None = None) -> list[str]:
    """A line for each thing to know, the most important first. ``now`` is seconds since 1970; by default it is now."""
    facts = _facts(view, time.time() if now is None else now)
    return [f"{label:<{LABEL_WIDTH}}{text}".rstrip() for label, text in facts]


def _facts(view: JobView, now: float) -> Iterator[tuple[str, str]]:
    status = view.status
    yield "job", f"{view.job_id}, named {view.name!r}"
    yield "state", state_of(view)
    if view.edge_method:
        yield "method", view.edge_method
    if view.finished_at is None:
        yield "since", f"{ago(now - view.submitted_at)} ago"
    else:
        yield "ended", f"{ago(now - view.finished_at)} ago, after {ago(view.finished_at - view.submitted_at)}"
    if view.reason:
        yield "because", view.reason
    if status is None:
        yield "", "it has not said anything yet" if view.state in UNFINISHED else "it left no account of itself"
        return
    if not view.fresh:
        yield "", "it does not answer just now; this is what it said last"
    if view.state in UNFINISHED and status.waiting_for:
        yield "waits for", status.waiting_for
    yield from _learned(status)
    if view.state in UNFINISHED:
        yield (
            "devices",
            f"{status.training} training of {status.places} places, about {status.waiting} waiting, {status.lost} lost",
        )
        yield "buffer", f"{status.buffered} of {status.goal} results for version {status.version + 1}"
    elif status.buffered:
        again = "; turnout start continues with them" if view.state is not JobState.COMPLETED else ""
        yield "left", f"{status.buffered} counted results are in no version{again}"
    yield from _work(status)
    for warning in status.warnings:
        yield "warning", warning


def _learned(status: JobStatus) -> Iterator[tuple[str, str]]:
    yield "model", f"version {status.version} ({status.workflow})"
    if status.metrics:
        values = ", ".join(f"{name} {value:.4g}" for name, value in status.metrics.items())
        yield "metrics", f"{values} (version {status.metrics_version})"
    else:
        yield "metrics", "not evaluated"
    if status.best_metric is not None:
        yield "best", f"version {status.best_version}: {status.best_metric:.4g}"
    if len(status.kept) > 1:
        yield "kept", "versions " + ", ".join(str(model.version) for model in status.kept)


def _work(status: JobStatus) -> Iterator[tuple[str, str]]:
    yield "results", f"{status.counted} counted, {status.duplicates} sent again, {refused(status.refused)}"
    if status.measured:
        yield "", f"{status.measured} of them only measured the model"
    if status.dropped:
        yield "", f"{status.dropped} of them were dropped where training diverged, and are in no version"
    for metric in status.by_devices:
        yield "by devices", _by_devices(metric)
    if status.metrics_left_out:
        yield "left out", f"metrics of {status.metrics_left_out} counted results; the newest: {status.newest_left_out}"
    if status.staleness:
        behind = ", ".join(f"{versions} behind: {count}" for versions, count in sorted(status.staleness.items())[:8])
        yield "staleness", behind
    for label, times in (("answers", status.ack_ms), ("commits", status.commit_ms)):
        if times:
            yield label, ", ".join(f"{name} {value:.1f} ms" for name, value in times.items())
    if status.journal:
        yield "journal", status.journal
    if status.fleet:
        yield from zip(("fleet", *[""] * len(status.fleet)), columns(FLEET, map(_group, status.fleet)), strict=True)
        for group in status.fleet:
            if group.newest_refusal:
                yield "", f"{_named(group)}: {refused(group.refusals)}; the newest: {group.newest_refusal}"


def _group(group: FleetGroup) -> tuple[str, ...]:
    note = "" if group.counted or not group.asked else "never counted"
    if group.zeros and group.zeros >= group.counted:
        note = "only zeros: it does not train"
    numbers = (group.asked, group.given, group.training, group.counted, group.refused, group.lost, group.zeros)
    return group.platform or "-", group.app_version or "-", *map(str, numbers), note


def _named(group: FleetGroup) -> str:
    return f"{group.platform or '-'} {group.app_version or '-'}"


def _by_devices(metric: DeviceMetric) -> str:
    """With what it was made of: a mean alone hides the devices that the model fails."""
    made_of = f"{metric.devices:,} devices with {metric.examples:,.0f} examples measured version {metric.version}"
    percentiles = "".join(f", {name} {value:.4g}" for name, value in metric.percentiles.items())
    by_device = f"by device {metric.mean_by_device:.4g}, spread {metric.spread:.4g}{percentiles}"
    return f"{metric.name} {metric.mean:.4g} by examples; {by_device}; {made_of}"
