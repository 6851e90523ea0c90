"""How a SQLite file comes to the schema of this release: numbered scripts, each in a transaction, each once."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib import resources
from pathlib import Path


def scripts(package: str) -> list[str]:
    """The scripts in the ``migrations`` folder of a package, in the order of their numbers."""
    files = [file for file in resources.files(package).joinpath("migrations").iterdir() if file.name.endswith(".sql")]
    return [file.read_text("utf-8") for file in sorted(files, key=lambda file: file.name)]


def done(db: sqlite3.Connection) -> int:
    """How many of them this file has had; more than there are: a newer release has written it."""
    (number,) = db.execute("PRAGMA user_version").fetchone()
    return int(number)


@contextmanager
def untouched(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that reads the file as it is, with its log, and changes no byte of either.

    What opens a file to write may fold the log into it, or set its mode, before it knows who wrote it.
    """
    log = path.with_name(f"{path.name}-wal")
    how = "mode=ro" if log.exists() else "mode=ro&immutable=1"  # without a log SQLite would make one
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)) as db:
        yield db


def migrate(db: sqlite3.Connection, scripts: list[str]) -> None:
    """Run those that the file has not had."""
    before = done(db)
    for number, script in enumerate(scripts[before:], start=before + 1):
        db.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
