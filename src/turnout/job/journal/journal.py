"""What survives a crash of the job process: one snapshot, replaced whole by each commit.

``sqlite.py`` keeps it on disk, ``memory.py`` within one process only. ``form.py`` says what its parts are as bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from turnout.errors import TurnoutError
from turnout.job.places.rows import K, Rows, Table, V

KEY_BYTES = 32
MODEL = "model"  #: The name of the newest model among the vectors.
S = TypeVar("S", bound=msgspec.Struct)
Vectors = Mapping[str, NDArray[Any]]
Tables = Mapping[Table[Any, Any], Rows[Any, Any]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a job must not forget, as of one commit. Nothing in it is changed after it was made."""

    commit: int  #: Counts the commits of this job, from 1.
    version: int
    vectors: Vectors  #: By name: the model, the running sum, the optimizer's state.
    sections: Mapping[type[msgspec.Struct], msgspec.Struct]  #: What each part has saved, by what that is.
    tables: Tables  #: Whole, or what changed since the commit before.

    @property
    def model(self) -> NDArray[np.float32]:
        return self.vectors[MODEL]

    def of(self, kind: type[S]) -> S:
        """What one part has saved."""
        section = self.sections[kind]
        assert isinstance(section, kind)
        return section

    def rows(self, table: Table[K, V]) -> Mapping[K, V]:
        """A whole table, by key."""
        rows = self.tables[table]
        assert rows.whole, f"these are only the changes of {table.name}"
        return rows.came

    def after(self, before: "Snapshot | None") -> "Snapshot":
        """The same with whole tables, where ``before`` is the commit before."""
        known = before.tables if before is not None else {}
        assert all(rows.whole or table in known for table, rows in self.tables.items()), "changes of what nobody knows"
        whole = {table: rows if rows.whole else rows.after(known[table].came) for table, rows in self.tables.items()}
        return replace(self, tables=whole)

    def but(
        self, *sections: msgspec.Struct, vectors: Vectors | None = None, tables: Tables | None = None
    ) -> "Snapshot":
        """The same with these in the place of those of their kinds or names."""
        return replace(
            self,
            sections={**self.sections, **{type(section): section for section in sections}},
            vectors={**self.vectors, **(vectors or {})},
            tables={**self.tables, **(tables or {})},
        )


class SavedJob(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is a matter of no single part, as of a commit."""

    job_time: float
    ending: str = ""  #: Why the job is over, where nothing else says so.
    void_below: int = 0  #: The job has ended, or diverged, since these tasks were given out.


class SavedRandom(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The state of the job's random numbers, as of a commit."""

    state: tuple[int, tuple[int, ...], float | None]


class JournalDamaged(TurnoutError):
    """What is on disk is not what was committed. Nothing may be trained on top of it."""


class JournalUnusable(TurnoutError):
    """This journal is whole, and not for this program or this job."""


class DiskError(OSError):
    """A commit failed where it is kept; whether it happened is open."""


class Fenced(TurnoutError):
    """A newer process has taken the job over: this one must end at once and answer nobody."""


class Journal(Protocol):
    """One job's memory, held by one incarnation of its process. Called from one thread at a time, not on the loop.

    A vector or a section that is the same object as in the last commit need not be written again.
    """

    durable: bool  #: Whether a commit survives the end of the process.
    key: bytes  #: What the job seals its leases with; lives as long as the snapshots.
    incarnation: int  #: Counts the processes that have held this journal, from 1.

    def load(self) -> Snapshot | None:
        """The last committed snapshot with whole tables, from where it is kept; None before the first commit.

        After a commit whose fate is unknown it is first settled: what this returns cannot be lost any more.
        Raises OSError when it cannot be read now, JournalDamaged when it never will be, and Fenced when a newer
        incarnation holds the journal: the last commit may be that one's, and says nothing about ours.
        """
        ...

    def commit(self, snapshot: Snapshot) -> None:
        """Replace the snapshot; its number follows that of the last. When it raises OSError, ``load`` tells whether
        it happened.

        Raises Fenced when a newer incarnation holds the journal: nothing was changed.
        """
        ...

    def close(self) -> None: ...
