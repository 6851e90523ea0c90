"""A job's account of itself, for people."""

from turnout.job.core import JobCore
from turnout.messages import JobStatus


def status_of(core: JobCore, now: float) -> JobStatus:
    """What the CLI and the dashboard show. ``counted`` leaves out what is not durable yet."""
    parts, tally = core.parts, core.tally
    newest = core.models.newest()
    live, buffered = len(parts.places.live), parts.aggregator.count
    return JobStatus(
        job_id=core.rules.job_id,
        name=core.rules.name,
        state=core.state,
        workflow=parts.workflow.name,
        version=newest[0] if newest else 0,
        buffered=buffered,
        goal=parts.workflow.goal,
        places=parts.workflow.places(buffered),
        training=live,
        lost=tally.lost,
        counted=tally.counted - core.uncommitted(),
        duplicates=tally.duplicates,
        refused=dict(tally.refused),
        staleness=dict(tally.staleness),
        metrics=parts.evaluation.metrics,
        metrics_version=parts.evaluation.version,
        model_sha256=newest[1].sha256 if newest else "",
        uptime_s=now,
        waiting_for=_waiting_for(core, now),
        warnings=tuple(core.warnings),
        finished=core.ending,
    )


def _waiting_for(core: JobCore, now: float) -> str:
    if core.disk_error:
        return f"the disk, so that no result is acknowledged: {core.disk_error}"
    workflow, live = core.parts.workflow, len(core.parts.places.live)
    return core.ending or workflow.words(core.parts.aggregator.count, live, core.version, now)
