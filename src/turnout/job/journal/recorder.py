"""What a job's process is doing right now, in a few bytes of a file that outlive it however it dies.

For whoever looks afterwards: the next process of the job says what the last one was interrupted in, and the chaos
harness counts it. It is also a witness: a journal that holds less than what was durable here is damaged, and the model
that is named here is the newest that devices were given.
"""

import os
import struct
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import msgspec

from turnout.job.folder.directory import RECORDER
from turnout.storage import private

_LAYOUT = struct.Struct("<BBxxIQQ")
_NEWEST = struct.Struct("<Q32s")  # behind it; earlier releases wrote none


class Published(msgspec.Struct, frozen=True):
    """The newest version that devices were given, and its blob."""

    version: int
    sha256: str


class Phase(IntEnum):
    """Where the process is between two acknowledgements."""

    RECOVERY = 0  #: From its start to its first commit.
    OPEN = 1
    COMMITTING = 2  #: A transaction is being written.
    COMMITTED = 3  #: It is durable, and those who wait for it have not all been answered yet.
    ENDED = 4  #: By itself.
    STOPPED = 5  #: It was told to end, and let go of everything.


@dataclass(frozen=True, slots=True)
class Moment:
    """One reading."""

    phase: Phase
    closing: bool  #: The commit under way makes a new version.
    staged: int  #: Results in the sum that are not acknowledged.
    commit: int  #: The last or, while committing, the one under way.
    version: int

    @property
    def durable(self) -> int:
        """The last commit that is durable for sure."""
        return self.commit - 1 if self.phase is Phase.COMMITTING else self.commit

    @property
    def in_order(self) -> bool:
        """Whether nothing was interrupted."""
        return self.phase in (Phase.ENDED, Phase.STOPPED)

    def __str__(self) -> str:
        """As the end of a sentence that begins with when it was interrupted."""
        match self.phase:
            case Phase.RECOVERY:
                return f"while it recovered commit {self.commit}"
            case Phase.COMMITTING:
                what = f"closed version {self.version}" if self.closing else f"wrote commit {self.commit}"
                return f"while it {what}, with {self.staged} results not acknowledged"
            case Phase.COMMITTED:
                return f"after commit {self.commit} was durable and before who waits for it was answered"
            case Phase.OPEN:
                return f"between commits, with {self.staged} results not acknowledged"
            case Phase.ENDED:
                return "after its end"
            case Phase.STOPPED:
                return "after it was told to end"


def read(folder: Path) -> Moment | None:
    """What the process that has this job directory did last; None when there was none."""
    try:
        found = (folder / RECORDER).read_bytes()[: _LAYOUT.size]
        phase, closing, staged, commit, version = _LAYOUT.unpack(found)
        return Moment(Phase(phase), bool(closing), staged, commit, version)
    except (OSError, struct.error, ValueError):
        return None


def newest(folder: Path) -> Published | None:
    """What the process that has this job directory published last; None when nothing tells."""
    try:
        version, sha256 = _NEWEST.unpack((folder / RECORDER).read_bytes()[_LAYOUT.size :])
        return Published(version, sha256.hex())
    except (OSError, struct.error):
        return None


class Recorder:
    """The writing end; a note costs about a microsecond and waits for no disk. On a full disk notes may be missing."""

    def __init__(self, folder: Path) -> None:
        """``before`` is what the last process left."""
        self.before = read(folder)
        self._noted = b""
        self._fd = private.create(folder / RECORDER, os.O_RDWR)
        if self.before is not None:
            self.note(Phase.RECOVERY, 0, self.before.durable, self.before.version)

    def note(self, phase: Phase, staged: int, commit: int, version: int, closing: bool = False) -> None:
        """This is the case from now on."""
        note = _LAYOUT.pack(phase, closing, staged, commit, version)
        if note == self._noted:
            return
        try:
            os.pwrite(self._fd, note, 0)
            self._noted = note
        except OSError:
            self._noted = b""

    def published(self, newest: Published) -> None:
        """Devices may have this version from now on."""
        try:
            os.pwrite(self._fd, _NEWEST.pack(newest.version, bytes.fromhex(newest.sha256)), _LAYOUT.size)
        except OSError:
            pass

    def close(self, told_to_end: bool = False) -> None:
        if told_to_end and self._noted:
            phase, _, _, commit, version = _LAYOUT.unpack(self._noted)
            self.note(Phase.STOPPED, 0, commit - (phase == Phase.COMMITTING), version)
        os.close(self._fd)
