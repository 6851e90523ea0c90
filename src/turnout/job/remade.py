"""A job's last account of itself, made anew from its journal.

``final.json`` is written once, after the last commit: a disk that loses its newest files with the power, or a person,
may take it, and the job is over, so no process of it will write another. All that is in it comes from the journal and
the job folder; how long answers and commits took, and a seed given at the start, are in neither and do not come back.
Nothing of the job's own code runs for it.
"""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec
import numpy as np

from turnout.blobs.base import SUFFIX, BlobRef
from turnout.blobs.folder import BlobStore
from turnout.errors import TurnoutError
from turnout.job.compose import parts_of, rules_of
from turnout.job.core import snapshots
from turnout.job.core.standing import Standing
from turnout.job.core.status import status_of
from turnout.job.folder.directory import BLOBS, FINAL, FOLDER, JOURNAL
from turnout.job.folder.folder import settings_of
from turnout.job.journal import damage
from turnout.job.journal.journal import KEY_BYTES, SavedJob, Snapshot
from turnout.job.journal.sqlite import read_snapshot
from turnout.job.workflow.ranking import SavedRanking
from turnout.messages import JobStatus
from turnout.storage import durable
from turnout.text.printable import printable_json
from turnout.wire.tensors import read_safetensors, to_safetensors

NO_KEY = bytes(KEY_BYTES)  #: For a core that opens and seals nothing.


def read_final(directory: Path) -> JobStatus | None:
    """The account, as the job wrote it; None when it is missing or damaged."""
    try:
        return msgspec.json.decode((directory / FINAL).read_bytes(), type=JobStatus)
    except (OSError, msgspec.MsgspecError):
        return None


def write_final(directory: Path, status: JobStatus) -> None:
    """Durable when it returns: people's tools decide by it. Raises OSError. Escaped, so that ``cat`` may show it."""
    durable.write(directory / FINAL, printable_json(msgspec.json.format(msgspec.json.encode(status))).encode())


def remake_final(directory: Path, state: str, reason: str) -> JobStatus:
    """The account of a job that is over, by its journal. ``state`` and ``reason`` say how it ended.

    Raises TurnoutError or OSError when it cannot be made.
    """
    snapshot = read_snapshot(directory / JOURNAL)
    if snapshot is None:
        raise TurnoutError(f"{directory / JOURNAL} holds no commit")
    spec = settings_of(directory / FOLDER, accepted=True)
    evaluates = bool(snapshot.of(SavedRanking).measured)
    parts = parts_of(spec, directory.name, NO_KEY, snapshot.model.size, evaluates=evaluates, rng=Random())
    standing = Standing(rules_of(spec, directory.name), parts, snapshot.model)
    snapshots.restore_sums(standing, snapshot)
    snapshots.restore_rest(standing, snapshot)
    blob = _newest_blob(directory, snapshot)
    if blob is not None:
        standing.models.publish(snapshot.version, blob)
    status = status_of(standing, snapshot.of(SavedJob).job_time)
    newest = {"version": snapshot.version, "model_sha256": blob.sha256 if blob is not None else ""}
    over = {"state": state, "finished": reason, "waiting_for": reason, "places": 0}
    return msgspec.structs.replace(status, seed=spec.seed, journal="durable", **over, **newest)


def _newest_blob(directory: Path, snapshot: Snapshot) -> BlobRef | None:
    """The file of the newest model, written again if it is lost; None when nothing tells its tensors' names."""
    schema = None
    for path in _blobs(directory):
        try:
            data = path.read_bytes()
            vector, schema = read_safetensors(data)
        except (OSError, TurnoutError):
            continue
        if np.array_equal(vector, snapshot.model):
            return BlobRef(path.stem, len(data))
    if schema is None:
        return None
    return BlobStore(directory / BLOBS).put(to_safetensors(snapshot.model, schema))


def _blobs(directory: Path) -> Iterator[Path]:
    """All models that there are, that of the newest version first."""
    store = directory / BLOBS
    published = damage.published(directory)
    if published is not None:
        yield store / f"{published.sha256}{SUFFIX}"
    yield from sorted(store.glob(f"*{SUFFIX}"))
