"""How a SQLite file comes to the schema of this release: numbered scripts, each in a transaction, each once."""

import sqlite3
from importlib import resources


def scripts(package: str) -> list[str]:
    """The scripts in the ``migrations`` folder of a package, in the order of their numbers."""
    files = [file for file in resources.files(package).joinpath("migrations").iterdir() if file.name.endswith(".sql")]
    return [file.read_text("utf-8") for file in sorted(files, key=lambda file: file.name)]


def done(db: sqlite3.Connection) -> int:
    """How many of them this file has had; more than there are: a newer release has written it."""
    (number,) = db.execute("PRAGMA user_version").fetchone()
    return int(number)


def migrate(db: sqlite3.Connection, scripts: list[str]) -> None:
    """Run those that the file has not had."""
    before = done(db)
    for number, script in enumerate(scripts[before:], start=before + 1):
        db.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
