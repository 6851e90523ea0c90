"""A job's account of itself, for people."""

from turnout.job.core.standing import Standing
from turnout.job.workflow.evaluation import failing
from turnout.messages import JobStatus, KeptModel
from turnout.text.ages import ago

PAUSED = "a person, who paused it {} ago and may resume it"
SLOW_COMMIT_S = 10.0  #: A commit that has taken longer is what the job waits for.


def status_of(core: Standing, now: float) -> JobStatus:
    """What the CLI and the dashboard show. ``counted`` leaves out what is not durable yet."""
    parts, tally = core.parts, core.tally
    newest = core.models.newest()
    live, buffered = len(parts.places.live), parts.aggregator.count
    oldest = parts.places.live.oldest()
    best = parts.ranking.best
    return JobStatus(
        job_id=core.rules.job_id,
        name=core.rules.name,
        state=core.word,
        workflow=parts.workflow.name,
        version=newest[0] if newest else 0,
        buffered=buffered,
        goal=parts.workflow.goal,
        places=core.places(),
        training=live,
        waiting=parts.pacing.waiting(now),
        lost=tally.lost,
        counted=tally.counted - core.uncommitted(),
        duplicates=tally.duplicates,
        refused=dict(tally.refused),
        metrics_left_out=tally.metrics_left_out,
        newest_left_out=tally.newest_left_out,
        staleness=dict(tally.staleness),
        metrics=_metrics(core),
        by_devices=core.federated.shown(),
        metrics_version=parts.evaluation.version,
        model_sha256=newest[1].sha256 if newest else "",
        uptime_s=now,
        waiting_for=_waiting_for(core, now),
        paused_by=core.paused_by,
        oldest_lease_s=now - oldest.granted_at if oldest else 0.0,
        warnings=_warnings(core),
        warned=core.warnings.all(),
        evaluation_fails=parts.evaluation.fails,
        finished=core.ending,
        fleet=core.groups.shown(),
        best_version=best[0] if best else 0,
        best_metric=best[1] if best else None,
        kept=_kept(core),
        dropped=core.made.dropped,
        measured=core.made.measured,
        reproducible=False,  # results arrive in wall time, in an order of their own
    )


def _metrics(core: Standing) -> dict[str, float]:
    """What the server measured comes first: a view of one metric shows that."""
    own, evaluation = core.parts.evaluation.metrics, core.parts.evaluation
    return {**own, **core.federated.newest()} if own or not evaluation.every else {}


def _warnings(core: Standing) -> tuple[str, ...]:
    """The last is the newest; what fails all the time comes after what came."""
    fails = core.parts.evaluation.fails
    return (*core.warnings.newest, *(() if fails is None else (failing(fails),)))


def _kept(core: Standing) -> tuple[KeptModel, ...]:
    """The models that do not go with the last device that needs them."""
    newest, ranking = core.models.newest(), core.parts.ranking
    return tuple(
        KeptModel(
            version, blob.sha256, blob.num_bytes, ranking.measured.get(version, {}), core.made.of_version.get(version)
        )
        for version, blob in core.models.all()
        if newest is not None and ranking.keeps(version, newest[0])
    )


def _waiting_for(core: Standing, now: float) -> str:
    committing_s = core.committing_for(now)
    if committing_s > SLOW_COMMIT_S:
        return f"the disk, so that no result is acknowledged: a commit has been under way for {committing_s:.0f} s"
    if core.commits.error:
        return f"the disk, so that no result is acknowledged: {core.commits.error}"
    if core.commits.trouble:
        return f"the disk, which does not take the next version: {core.commits.trouble.reason}"
    if core.ending:
        return _ends(core, now)
    workflow, live = core.parts.workflow, len(core.parts.places.live)
    words = workflow.words(core.parts.aggregator.count, live, core.version, core.pause.clock(now))
    oldest = core.parts.places.live.oldest()
    if oldest is not None:
        words += f"; oldest lease {ago(now - oldest.granted_at)}"
    if core.pause.since is not None:
        since = ago(now - core.pause.since)
        reason = core.pause.reason
        who = f"a person to resume or cancel it: {reason}; paused {since} ago" if reason else PAUSED.format(since)
        words = f"{who}; {words}"
    return words


def _ends(core: Standing, now: float) -> str:
    live, until = len(core.parts.places.live), core.draining_until
    if until is None or not live:
        return core.ending
    return f"{live} devices that are training, for {max(until - now, 0):.0f} s at most; then it ends: {core.ending}"
