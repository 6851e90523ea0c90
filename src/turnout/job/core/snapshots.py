"""From a job to a snapshot of it, and back: which parts save themselves, each in its own module."""

from collections.abc import Mapping
from itertools import takewhile
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from turnout.aggregator.mean import SavedSum
from turnout.aggregator.typical import Norms
from turnout.job.account.groups import SavedGroups
from turnout.job.account.tally import SavedTally
from turnout.job.account.warnings import SavedWarnings
from turnout.job.core.standing import Standing
from turnout.job.journal.journal import MODEL, SavedJob, SavedRandom, Snapshot
from turnout.job.places.counted import COUNTED, SavedCounted
from turnout.job.places.fleets import SavedFleets
from turnout.job.places.leases import LEASES
from turnout.job.places.pacing import SavedPacing
from turnout.job.places.places import TAKEN, SavedPlaces
from turnout.job.workflow.bases import SavedBases
from turnout.job.workflow.evaluation import SavedEvaluation
from turnout.job.workflow.federated import SavedFederated
from turnout.job.workflow.made import SavedMade
from turnout.job.workflow.pause import SavedPause
from turnout.job.workflow.published import SavedModels
from turnout.job.workflow.ranking import SavedRanking
from turnout.job.workflow.workflow import SavedWorkflow

OPTIMIZER = "optimizer {}"  #: The names of its vectors.


class Durable(Protocol):
    """A part that saves itself."""

    def save(self) -> Any: ...
    def load(self, saved: Any) -> None: ...


Kinds = Mapping[type[msgspec.Struct], Durable]


def sums_of(core: Standing) -> Kinds:
    """What results change, by what each saves. It goes back when a commit fails."""
    return {
        SavedSum: core.parts.aggregator,
        SavedCounted: core.counted,
        SavedWorkflow: core.parts.workflow,
        SavedTally: core.tally,
        SavedMade: core.made,
        SavedGroups: core.groups,
        SavedFederated: core.federated,
        Norms: core.typical,
    }


def rest_of(core: Standing) -> Kinds:
    """What only the next process needs."""
    return {
        SavedPlaces: core.parts.places,
        SavedPacing: core.parts.pacing,
        SavedModels: core.models,
        SavedBases: core.bases,
        SavedPause: core.pause,
        SavedRanking: core.parts.ranking,
        SavedEvaluation: core.parts.evaluation,
        SavedWarnings: core.warnings,
    }


def taken(core: Standing, now: float, closes: bool) -> Snapshot:
    """All of ``core`` that must survive. ``closes``: this is the commit of a new version."""
    parts = core.parts
    sections = {kind: part.save() for kinds in (sums_of(core), rest_of(core)) for kind, part in kinds.items()}
    sections[SavedFleets] = parts.places.selection.save()
    sections[SavedRandom] = SavedRandom(parts.rng.getstate())
    sections[SavedJob] = SavedJob(now, core.remembered_ending, core.void_below)
    optimizer = {OPTIMIZER.format(n): vector for n, vector in enumerate(parts.optimizer.snapshot())}
    leases, had = parts.places.rows(closes)
    return Snapshot(
        commit=core.commits.last + 1,
        version=core.version,
        vectors={MODEL: core.model, **parts.aggregator.vectors(), **optimizer},
        sections=sections,
        tables={COUNTED: core.counted.rows(), LEASES: leases, TAKEN: had},
    )


def lose_changes(core: Standing) -> None:
    """The commit for which the tables said what changed did not happen: the next says all."""
    core.parts.places.lose_changes()
    core.counted.lose_changes()


def restore_sums(core: Standing, durable: Snapshot) -> None:
    """What results change. Nothing else goes back when a commit fails: tasks given out since then stand."""
    core.version, core.model = durable.version, durable.model
    _load(sums_of(core), durable)
    core.counted.load_rows(durable.rows(COUNTED))
    core.parts.aggregator.load_vectors(durable.vectors)
    core.parts.optimizer.restore(_of_optimizer(durable))
    pause = durable.of(SavedPause)
    if core.pause.reason and not pause.reason:  # the return to an earlier model did not happen
        core.pause.load(pause)


def restore_rest(core: Standing, durable: Snapshot) -> None:
    """What the next process needs beside the sums."""
    parts, job, leases = core.parts, durable.of(SavedJob), durable.rows(LEASES)
    core.commits.last = durable.commit
    _load(rest_of(core), durable)
    parts.places.load_rows(leases, durable.rows(TAKEN))
    parts.places.selection.load(durable.of(SavedFleets), job.job_time)
    parts.rng.setstate(durable.of(SavedRandom).state)
    core.groups.recover(leases.values())
    core.void_below = core.void_sure = job.void_below
    parts.ranking.forget_all_but({version for version, _ in core.models.all()} | {durable.version})
    parts.evaluation.show(parts.ranking.measured)
    core.models.withdraw(durable.version)


def _load(kinds: Kinds, durable: Snapshot) -> None:
    for kind, part in kinds.items():
        part.load(durable.of(kind))


def _of_optimizer(durable: Snapshot) -> tuple[NDArray[np.float64], ...]:
    names = takewhile(durable.vectors.__contains__, map(OPTIMIZER.format, range(len(durable.vectors))))
    return tuple(durable.vectors[name] for name in names)
