"""docs/DATA_MODEL.md names exactly the tables and sections that there are."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from turnout.job.journal.form import SECTIONS, TABLES, VECTORS
from turnout.storage import migrations

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "DATA_MODEL.md").read_text()


def first_column(heading: str, title: str) -> list[str]:
    """The names in the table of a section of the page whose first column has this title."""
    part = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = part.partition(f"| {title} |")[2].partition("\n\n")[0]
    return re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)


def tables_of(package: str) -> list[str]:
    """As the newest schema has them."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrations.migrate(db, migrations.scripts(package))
        return sorted(name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'"))


@pytest.mark.parametrize(
    ("heading", "package"), [("The journal of a job", "turnout.job.journal"), ("Control's store", "turnout.control")]
)
def test_the_page_has_every_table_and_no_other(heading: str, package: str) -> None:
    assert sorted(first_column(heading, "table")) == tables_of(package)


def test_the_page_has_every_section_and_no_other() -> None:
    assert first_column("The journal of a job", "section") == list(SECTIONS)


def test_the_modules_that_are_said_to_save_are_there() -> None:
    named = re.findall(r"`((?:job|aggregator)/[\w/]+\.py)`", PAGE)
    assert len(named) > len(SECTIONS)
    assert [name for name in named if not (ROOT / "src" / "turnout" / name).exists()] == []


def test_tables_of_rows_and_vectors_are_where_the_form_says() -> None:
    """The form of a commit names tables that the newest schema has."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrations.migrate(db, migrations.scripts("turnout.job.journal"))
        for table in TABLES:
            columns = [row[1] for row in db.execute(f"PRAGMA table_info({table.name})")]
            assert columns == list(table.columns)
    assert list(VECTORS) == ["model", "total", "optimizer"]
