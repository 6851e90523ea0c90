"""Where a job stands: all that its core keeps, and what can be read from it.

``core.py`` and what it is made of change it, ``snapshots.py`` makes it durable, ``status.py`` tells people.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from turnout.aggregator.typical import Norms, TypicalNorm
from turnout.blobs.base import BlobRef
from turnout.job.account.groups import Groups
from turnout.job.account.tally import Tally
from turnout.job.account.warnings import Warnings
from turnout.job.core import states
from turnout.job.core.commits import Commits
from turnout.job.core.events import Answer, Effect, Result, TaskAsked
from turnout.job.core.held import Held
from turnout.job.core.parts import Parts, Rules
from turnout.job.core.staged import Staged
from turnout.job.core.states import Draining, Failed, Happened, Idle, Open, Over, Recovering, State
from turnout.job.core.story import EVERY, Story
from turnout.job.places.counted import CountedTasks
from turnout.job.places.places import TASK_BLOCK
from turnout.job.workflow.bases import Bases
from turnout.job.workflow.federated import Federated
from turnout.job.workflow.made import Made
from turnout.job.workflow.pause import Pause
from turnout.job.workflow.published import Models
from turnout.messages import PausedBy, ResultResponse, TaskResponse


@dataclass(slots=True)
class Standing:
    """Of one job, now."""

    rules: Rules
    parts: Parts
    model: NDArray[np.float32]
    #: Whether ``invariants.py`` looks after every event: in tests and in the simulation. In a job that runs it would
    #: take longer than the event; what a commit makes durable is looked at there, too.
    checks: bool = False
    version: int = 0
    state: State = field(default_factory=Recovering)
    word: str = "RECOVER"  #: The state for people, without the flicker of commits.
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
    story: Story = field(default_factory=Story)
    #: An ending of the job, or a divergence, lies between the giving out of the tasks below this number and now: their
    #: results do not count any more, unless they are counted.
    void_below: int = 0
    void_sure: int = 0  #: As it is durable.
    #: Of ``typical``, when the newest version was published; after a restart, as of its last commit.
    typical_before: Norms = field(default_factory=Norms)
    diverged: str = ""  #: Why the job is to go back to its best version, as soon as no commit is under way.
    typical: TypicalNorm = field(init=False)
    retired: list[BlobRef] = field(default_factory=list)  #: Models that go once the next commit is durable.

    def __post_init__(self) -> None:
        self.typical = TypicalNorm.of(self.model, self.rules.update_norm_max)

    # --- changes -----------------------------------------------------------------------------------------------

    def to(self, happened: Happened, after: State, now: float) -> None:
        """The next state."""
        if type(after) is not type(self.state):
            self.story.add(now, EVERY, happened.value, type(after).__name__)
        self.state = states.moved(self.state, happened, after)
        self.name_state()

    def name_state(self) -> None:
        """The state, the pause or the trouble with the disk changed: find the word for people anew."""
        self.word = self.word_now()

    def word_now(self) -> str:
        paused, full = self.paused_by is not None, self.commits.trouble is not None
        return states.word(self.state, paused=paused, full=full)

    # --- what can be read --------------------------------------------------------------------------------------

    def holding(self) -> bool:
        """Whether what comes in has to do with what is not durable yet: a full sum's version, or the job's end."""
        state = self.state
        return state.holds or (state.counts and self.parts.aggregator.count >= self.parts.workflow.goal)

    def hold(self, event: TaskAsked | Result, otherwise: TaskResponse | ResultResponse) -> list[Effect]:
        """Answer after the commit, or now with ``otherwise`` where too much waits."""
        return [] if self.held.add(event) else [Answer(event.ticket, otherwise)]

    def deadline(self) -> float | None:
        """The workflow's, in job time; None while it has none or the job is paused."""
        return self.pause.when(self.parts.workflow.deadline())

    def places(self) -> int:
        """How many leases may live now."""
        if self.pause.on or self.state.end is not None:
            return 0
        return self.parts.workflow.places(self.parts.aggregator.count)

    @property
    def paused_by(self) -> PausedBy | None:
        """Who paused the job; None while it is not paused."""
        if self.state.end is not None:
            return None
        if self.pause.on:
            return PausedBy.DIVERGENCE if self.pause.reason else PausedBy.PERSON
        return PausedBy.ROUNDS if self.parts.workflow.paused else None

    @property
    def ended(self) -> bool:
        return isinstance(self.state, Over)

    def next_tick(self, now: float) -> float | None:
        """When a Tick is due, unless another event comes first; None: not before one does."""
        commits = self.commits.state
        due = [self.parts.places.live.next_expiry()]
        if type(commits) is Failed and now < commits.retry_at:
            due.append(commits.retry_at)
        elif type(commits) in (Idle, Failed):  # else the next occasion is an event
            due += self._occasions()
        return min((at for at in due if at is not None), default=None)

    def _occasions(self) -> list[float | None]:
        """When there may be something to do while no commit is under way."""
        match self.state:
            case Open() | Recovering(None):
                due = self.commits.when(self.must_commit())
                return [due, self.deadline(), self.pause.when(self.rules.time_max_s)]
            case Draining(_, until):
                return [self.commits.when(self.must_commit()), until]
            case Recovering():
                return [self.commits.when(self.must_commit())]
        return []

    def must_commit(self) -> bool:
        places = self.parts.places
        return bool(self.staged.fresh) or places.reserved_until - places.next_task < TASK_BLOCK // 2

    def uncommitted(self) -> int:
        """Results staged and not yet durable."""
        return len(self.staged)

    def committing_for(self, now: float) -> float:
        """How long the commit under way has taken so far, in seconds."""
        writing = self.commits.writing
        return now - writing.since if writing is not None else 0.0

    @property
    def remembered_ending(self) -> str:
        """Why the job ends, if only its journal can tell the next process; empty if not."""
        end = self.state.end
        return end.reason if end is not None and end.remembered else ""

    @property
    def draining_until(self) -> float | None:
        """Till then at most, in job time, an ending job takes results; None while none ends, and when it takes none."""
        return self.state.until if isinstance(self.state, Draining) else None

    @property
    def ending(self) -> str:
        """Why the job ends or ended; empty while it does not."""
        return self.state.end.reason if self.state.end is not None else ""
