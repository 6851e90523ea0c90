"""What a person can go back to when a job's journal is damaged or gone: said, never done without being asked."""

import hashlib
import logging
from pathlib import Path

import msgspec

from turnout.blobs.base import SUFFIX
from turnout.errors import TurnoutError
from turnout.job.folder.directory import BLOBS, JOURNAL, PUBLISHED
from turnout.job.journal import recorder
from turnout.job.journal.journal import JournalDamaged, Snapshot
from turnout.job.journal.recorder import Moment, Published
from turnout.storage import durable

logger = logging.getLogger("turnout.job")


def note_published(directory: Path, newest: Published) -> bool:
    """Keep it beside the journal, durably: that a job has run is known by it, should the journal be lost.

    Returns whether it was written.
    """
    target = directory / PUBLISHED
    try:
        durable.write(target, msgspec.json.encode(newest))
    except OSError as error:
        logger.warning("cannot note the published version in %s: %s", target, error)
        return False
    return True


def published(directory: Path) -> Published | None:
    """What was noted last; None when nothing was, or nothing that can be read."""
    try:
        return msgspec.json.decode((directory / PUBLISHED).read_bytes(), type=Published)
    except (OSError, msgspec.MsgspecError):
        return None


def newest_first(directory: Path) -> list[Published]:
    """What the notes of a job name: the recorder's is of the last moment of a process, but may be lost with the power;
    the other may be a moment older, and is durable.
    """
    found = {recorder.newest(directory), published(directory)}
    return sorted((noted for noted in found if noted is not None), key=lambda noted: noted.version, reverse=True)


def explained(error: TurnoutError, directory: Path) -> str:
    """What a person reads who has to decide what to do."""
    return f"{error}. {advice(directory)}" if isinstance(error, JournalDamaged) else str(error)


def advice(directory: Path) -> str:
    """Sentences to follow the words of a JournalDamaged: the last good version, and the ways out."""
    job_id = directory.name
    restore = f"restore a backup with: turnout restore {job_id} FILE"
    good = _last_good(directory)
    if good is None:
        return f"Nothing was trained on top of it. No model of this job is intact here; {restore}"
    version, path = good
    return (
        f"Nothing was trained on top of it. The last good version is {version}, whole in {path}; {restore}; or submit "
        "a new job that starts from that file (as model.safetensors in its folder)"
    )


def check_presence(directory: Path) -> None:
    """Raise JournalDamaged when the journal of a job that has run is not there."""
    if newest_first(directory) and not (directory / JOURNAL).exists():
        raise JournalDamaged(f"{directory / JOURNAL} is gone, though this job has run")


def check_witness(directory: Path, before: Moment | None, snapshot: Snapshot | None) -> None:
    """Raise JournalDamaged when the journal is older than what the last process saw committed.

    SQLite drops the end of a damaged log without a word; those commits were acknowledged.
    """
    durable = snapshot.commit if snapshot else 0
    if before is not None and durable < before.durable:
        raise JournalDamaged(
            f"{directory / JOURNAL} is damaged: it ends at commit {durable}, but commit {before.durable} was durable"
        )


def _last_good(directory: Path) -> tuple[int, Path] | None:
    for noted in newest_first(directory):
        path = directory / BLOBS / f"{noted.sha256}{SUFFIX}"
        try:
            if hashlib.sha256(path.read_bytes()).hexdigest() == noted.sha256:
                return noted.version, path
        except OSError:
            continue
    return None
