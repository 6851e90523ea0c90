"""From a job to a snapshot of it, and back."""

from turnout.job.account.tally import Tally
from turnout.job.core.pause import Pause
from turnout.job.core.standing import TASK_BLOCK, Standing
from turnout.job.journal.journal import Snapshot
from turnout.job.places.counted import CountedTasks
from turnout.job.workflow.federated import Federated
from turnout.job.workflow.made import Made


def taken(core: Standing, now: float, closes: bool) -> Snapshot:
    """All of ``core`` that must survive. ``closes``: this is the commit of a new version."""
    parts = core.parts
    total, total_weight, buffered = parts.aggregator.snapshot()
    changes = parts.places.changes(closes)
    whole = changes is None or core.rules.whole_snapshots
    return Snapshot(
        commit=core.commits.last + 1,
        version=core.version,
        model=core.model,
        total=total,
        total_weight=total_weight,
        buffered=buffered,
        counted=core.counted.snapshot(),
        tasks=core.counted.tasks,
        checksum=core.counted.checksum,
        leases=parts.places.live.all() if whole else (),
        taken=parts.places.taken() if whole and not closes else {},
        reserved_until=parts.places.next_task + TASK_BLOCK,
        blobs=core.models.all(),
        workflow=parts.workflow.snapshot(),
        optimizer=parts.optimizer.snapshot(),
        rng=parts.rng.getstate(),
        job_time=now,
        next_appointment=parts.pacing.next_free,
        durations=parts.places.lease_time.durations(),
        tally=core.tally.snapshot(),
        pause=(core.pause.since, core.pause.total_s),
        groups=core.groups.snapshot(),
        best=parts.ranking.best,
        measured=parts.ranking.measured,
        ending=core.remembered_ending,
        federated=core.federated.snapshot(),
        fleets=parts.places.selection.snapshot(),
        bases=core.bases.snapshot(),
        warned=core.warnings.all(),
        evaluation_fails=parts.evaluation.fails,
        made=core.made.snapshot(),
        void_below=core.void_below,
        pause_reason=core.pause.reason,
        typical=core.typical.snapshot(),
        changes=changes,
        whole=whole,
    )


def restore_sums(core: Standing, durable: Snapshot) -> None:
    """What results change. Nothing else goes back when a commit fails: tasks given out since then stand."""
    core.version, core.model = durable.version, durable.model
    core.counted = CountedTasks(durable.counted, durable.tasks, durable.checksum)
    core.parts.aggregator.restore(durable.total, durable.total_weight, durable.buffered)
    core.parts.optimizer.restore(durable.optimizer)
    core.parts.workflow.restore(durable.workflow)
    core.tally = Tally.restore(durable.tally)
    core.made = Made.restore(durable.made, core.tally.counted, durable.buffered)
    core.groups.restore(durable.groups)
    core.federated = Federated(durable.federated)
    core.typical.restore(durable.typical)
    if core.pause.reason and not durable.pause_reason:  # the return to an earlier model did not happen
        core.pause = Pause(*durable.pause)


def restore_rest(core: Standing, durable: Snapshot) -> None:
    """What the next process needs beside the sums."""
    core.commits.last = durable.commit
    core.parts.places.recover(durable.leases, durable.taken, durable.reserved_until)
    core.groups.recover(durable.leases)
    core.parts.places.selection.restore(durable.fleets, durable.job_time)
    core.bases.restore(durable.bases)
    core.models.recover(durable.blobs, before=durable.version)
    core.parts.rng.setstate(durable.rng)
    core.parts.pacing.next_free = durable.next_appointment
    core.parts.places.lease_time.restore(durable.durations)
    core.pause = Pause(*durable.pause, durable.pause_reason)
    core.void_below = core.void_sure = durable.void_below
    present = {version for version, _ in durable.blobs} | {durable.version}
    core.parts.ranking.restore(durable.best, durable.measured, present)
    core.parts.evaluation.restore(core.parts.ranking.measured)
    core.parts.evaluation.fails = durable.evaluation_fails
    core.warnings.restore(durable.warned)
