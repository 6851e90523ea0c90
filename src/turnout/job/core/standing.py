"""Where a job stands: all that its core keeps, and what can be read from it.

``core.py`` changes it, ``snapshots.py`` makes it durable, ``status.py`` tells people.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from turnout.aggregator.typical import Norms, TypicalNorm
from turnout.blobs.base import BlobRef
from turnout.job.account.groups import Groups
from turnout.job.account.tally import Tally
from turnout.job.account.warnings import Warnings
from turnout.job.core.commits import Commits
from turnout.job.core.ending import Ending
from turnout.job.core.held import Held
from turnout.job.core.parts import Parts, Rules
from turnout.job.core.pause import Pause
from turnout.job.core.published import Models
from turnout.job.core.staged import Staged
from turnout.job.places.counted import CountedTasks
from turnout.job.places.leases import LiveLeases
from turnout.job.workflow.bases import Bases
from turnout.job.workflow.federated import Federated
from turnout.job.workflow.made import Made
from turnout.messages import PausedBy

TASK_BLOCK = 65_536  #: Task numbers made durable at once, before they are given out. A new block at half of it.


@dataclass(slots=True)
class Standing:
    """Of one job, now."""

    rules: Rules
    parts: Parts
    model: NDArray[np.float32]
    version: int = 0
    commits: Commits = field(default_factory=Commits)
    counted: CountedTasks = field(default_factory=CountedTasks)
    tally: Tally = field(default_factory=Tally)
    groups: Groups = field(default_factory=Groups)
    bases: Bases = field(default_factory=Bases)
    federated: Federated = field(default_factory=Federated)
    models: Models = field(default_factory=Models)
    pause: Pause = field(default_factory=Pause)
    warnings: Warnings = field(default_factory=Warnings)
    staged: Staged = field(default_factory=Staged)
    held: Held = field(default_factory=Held)
    made: Made = field(default_factory=Made)
    #: An ending of the job, or a divergence, lies between the giving out of the tasks below this number and now: their
    #: results do not count any more, unless they are counted.
    void_below: int = 0
    void_sure: int = 0  #: As it is durable.
    #: Of ``typical``, when the newest version was published; after a restart, as of its last commit.
    typical_before: Norms | None = None
    diverged: str = ""  #: Why the job is to go back to its best version, as soon as no commit is under way.
    #: Training diverged, and the model of this version is being read from its file.
    returning_to: int | None = None
    typical: TypicalNorm = field(init=False)
    _retired: list[BlobRef] = field(default_factory=list)
    _ending: Ending | None = None

    def __post_init__(self) -> None:
        self.typical = TypicalNorm.of(self.model, self.rules.update_norm_max)

    @property
    def _live(self) -> LiveLeases:
        return self.parts.places.live

    def _deadline(self) -> float | None:
        """The workflow's, in job time; None while it has none or the job is paused."""
        return self.pause.when(self.parts.workflow.deadline())

    def places(self) -> int:
        """How many leases may live now."""
        if self.pause.on or self._ending is not None:
            return 0
        return self.parts.workflow.places(self.parts.aggregator.count)

    @property
    def state(self) -> str:
        if self._ending is not None:
            return "CLOSED" if self._ending.announced else "CLOSING"
        if self.commits.trouble:
            return "FULL"
        if self.models.newest() is None:
            return "RECOVER"
        if self.paused_by is not None:
            return "PAUSED"
        return "OPEN" if self.commits.under_way is None else "COMMITTING"

    @property
    def paused_by(self) -> PausedBy | None:
        """Who paused the job; None while it is not paused."""
        if self._ending is not None:
            return None
        if self.pause.on:
            return PausedBy.DIVERGENCE if self.pause.reason else PausedBy.PERSON
        return PausedBy.ROUNDS if self.parts.workflow.paused else None

    @property
    def lasting_state(self) -> str:
        """The state for people, without the flicker of commits."""
        return "OPEN" if self.state == "COMMITTING" else self.state

    @property
    def ended(self) -> bool:
        return self._ending is not None and self._ending.announced

    def next_tick(self, now: float) -> float | None:
        """When a Tick is due, unless another event comes first; None: not before one does."""
        due = [self._live.next_expiry(), self.commits.retry_at(now)]
        if self.commits.possible(now) and self.returning_to is None:  # else the next occasion is an event
            due += self._occasions(now)
        return min((at for at in due if at is not None), default=None)

    def _occasions(self, now: float) -> list[float | None]:
        """When there may be something to do while no commit is under way."""
        commit = self.commits.when(now, self._must_commit())
        if self._ending is None:
            return [commit, self._deadline(), self.pause.when(self.rules.time_max_s)]
        return [commit, self._ending.drains_until] if self._ending.draining else []

    def _must_commit(self) -> bool:
        places = self.parts.places
        return bool(self.staged.fresh) or places.reserved_until - places.next_task < TASK_BLOCK // 2

    def uncommitted(self) -> int:
        """Results staged and not yet durable."""
        return len(self.staged)

    def committing_for(self, now: float) -> float:
        """How long the commit under way has taken so far, in seconds."""
        return now - self.commits.under_way.since if self.commits.under_way is not None else 0.0

    @property
    def remembered_ending(self) -> str:
        """Why the job ends, if only its journal can tell the next process; empty if not."""
        return self._ending.reason if self._ending is not None and self._ending.remembered else ""

    @property
    def draining_until(self) -> float | None:
        """Till then at most, in job time, an ending job takes results; None while none ends, and when it takes none."""
        return self._ending.drains_until if self._ending is not None and self._ending.draining else None

    @property
    def ending(self) -> str:
        """Why the job ends or ended; empty while it goes on."""
        return self._ending.reason if self._ending else ""
