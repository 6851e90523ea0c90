"""The jobs ever submitted and how they ended, and the tokens: one SQLite file.

Its migrations are numbered in ``migrations/``.
"""

import hashlib
import sqlite3
from pathlib import Path

import msgspec

from turnout.client.view import UNFINISHED, JobState
from turnout.errors import TurnoutError
from turnout.messages import Message, RunningJob
from turnout.storage import migrations, private

PACKAGE = "turnout.control"  #: Whose migrations make the schema.


class StoredJob(Message, frozen=True):
    """One row. Times are seconds since 1970; ``announcement`` is without ``address`` and ``blobs``."""

    job_id: str
    name: str
    state: JobState
    submitted_at: float
    finished_at: float | None
    reason: str
    announcement: RunningJob


class StoredToken(Message, frozen=True):
    """One row. ``scope`` is a word of ``view.Scope``."""

    token_id: str
    name: str
    scope: str
    sha256: bytes
    created_at: float


class Store:
    """Every method is one transaction, durable when it returns."""

    def __init__(self, path: Path | str) -> None:
        """Open or make the file. Raises TurnoutError when a newer turnout has written it."""
        if path != ":memory:":
            check(Path(path))
            private.touch(Path(path))
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        migrations.migrate(self._db, migrations.scripts(PACKAGE))

    def add(self, job: RunningJob, now: float) -> None:
        """Store a submitted job as running."""
        announcement = msgspec.json.encode(msgspec.structs.replace(job, address="", blobs=""))
        self._db.execute(
            "INSERT INTO job (id, name, state, submitted_at, announcement) VALUES (?, ?, ?, ?, ?)",
            (job.job_id, job.name, JobState.RUNNING, now, announcement),
        )

    def cancelling(self, job_id: str) -> None:
        """A person has cancelled the job."""
        self._db.execute(
            "UPDATE job SET state = ? WHERE id = ? AND state = ?", (JobState.CANCELLING, job_id, JobState.RUNNING)
        )

    def finish(self, job_id: str, state: JobState, reason: str, now: float) -> None:
        """Store how the job ended; a job that has ended already keeps its first end."""
        self._db.execute(
            "UPDATE job SET state = ?, reason = ?, finished_at = ? WHERE id = ? AND state IN (?, ?)",
            (state, reason, now, job_id, *UNFINISHED),
        )

    def revive(self, job_id: str) -> None:
        """A job that has ended runs again."""
        self._db.execute(
            "UPDATE job SET state = ?, reason = '', finished_at = NULL WHERE id = ?", (JobState.RUNNING, job_id)
        )

    def delete(self, job_id: str) -> None:
        """Forget a job that has ended."""
        self._db.execute("DELETE FROM job WHERE id = ? AND state NOT IN (?, ?)", (job_id, *UNFINISHED))

    def get(self, job_id: str) -> StoredJob | None:
        """The job with this id."""
        rows = self._select("WHERE id = ?", job_id)
        return rows[0] if rows else None

    def jobs(self, limit: int) -> list[StoredJob]:
        """The jobs submitted last, newest first."""
        return self._select("ORDER BY submitted_at DESC, id LIMIT ?", limit)

    def unfinished(self) -> list[StoredJob]:
        """The jobs that have not ended, oldest first."""
        return self._select("WHERE state IN (?, ?) ORDER BY submitted_at, id", *UNFINISHED)

    def add_token(self, token: StoredToken) -> None:
        """Store a token's digest."""
        self._db.execute(
            "INSERT INTO token (id, name, scope, sha256, created_at) VALUES (?, ?, ?, ?, ?)",
            (token.token_id, token.name, token.scope, token.sha256, token.created_at),
        )

    def delete_token(self, token_id: str) -> None:
        """Forget a token."""
        self._db.execute("DELETE FROM token WHERE id = ?", (token_id,))

    def tokens(self) -> list[StoredToken]:
        """All tokens, oldest first."""
        rows = self._db.execute("SELECT id, name, scope, sha256, created_at FROM token ORDER BY created_at, id")
        return [StoredToken(*row) for row in rows]

    def open_link(self, code: str, expires_at: float, now: float) -> bool:
        """Note that a link to the dashboard is opened; False when it was before. Those long expired are forgotten."""
        self._db.execute("DELETE FROM opened_link WHERE expires_at < ?", (now,))
        digest = hashlib.sha256(code.encode()).digest()
        return self._db.execute("INSERT OR IGNORE INTO opened_link VALUES (?, ?)", (digest, expires_at)).rowcount == 1

    def end_session(self, cookie: str, expires_at: float, now: float) -> None:
        """Note that a session is over before its time. It is kept with the opened links, as what works no more."""
        self.open_link(cookie, expires_at, now)

    def is_ended(self, cookie: str) -> bool:
        """Whether this session was ended."""
        digest = hashlib.sha256(cookie.encode()).digest()
        return self._db.execute("SELECT 1 FROM opened_link WHERE sha256 = ?", (digest,)).fetchone() is not None

    def counts(self) -> dict[JobState, int]:
        """How many jobs there are in each state."""
        found = dict(self._db.execute("SELECT state, count(*) FROM job GROUP BY state"))
        return {state: found.get(state, 0) for state in JobState}

    def close(self) -> None:
        self._db.close()

    def _select(self, rest: str, *values: str | int) -> list[StoredJob]:
        columns = "id, name, state, submitted_at, finished_at, reason, announcement"
        return [
            StoredJob(
                job_id, name, JobState(state), submitted, finished, reason, msgspec.json.decode(said, type=RunningJob)
            )
            for job_id, name, state, submitted, finished, reason, said in self._db.execute(
                f"SELECT {columns} FROM job {rest}", values
            )
        ]


def check(path: Path) -> None:
    """Raise TurnoutError for a file that a newer turnout has written; no byte of it is changed."""
    if not path.exists() or not path.stat().st_size:
        return
    known = len(migrations.scripts(PACKAGE))
    with migrations.untouched(path) as db:
        done = migrations.done(db)
    if done > known:
        raise TurnoutError(
            f"{path} was written by a newer turnout (schema {done}, this one knows {known}), and nothing was changed: "
            "update turnout, or choose another data folder with --data"
        )
