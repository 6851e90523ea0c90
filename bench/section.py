"""A part of the benchmark with tables of its own: what it measures, what is kept of it, and how that is shown."""

import statistics
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bench import machine
from bench.clients import OwnClient
from bench.durability import JournalCell
from bench.machine import Disturbance
from bench.servers import ROOT
from bench.table import Cell, Goal

TABLES = ROOT / "bench" / "tables"  #: What the page is made of, a file for each section.


class Line(msgspec.Struct, frozen=True):
    """One row of a section's table, in one repeat.

    ``ratios`` compare it with a reference of the same repeat, and are much the same elsewhere: more is better.
    """

    row: str
    values: dict[str, float]
    ratios: dict[str, float] = {}


class Report(msgspec.Struct):
    """What the last run of a section found."""

    section: str
    date: str
    commit: str
    where: str
    settings: dict[str, Any]
    disturbances: dict[str, Disturbance] = {}
    cells: list[Cell] = []
    journal_cells: list[JournalCell] = []
    lines: list[Line] = []
    missing: dict[str, str] = {}  #: Of servers that are not in the tables, why.

    @property
    def errors(self) -> list[Cell]:
        return [cell for cell in (*self.cells, *self.journal_cells) if cell.outcome.errors]


@dataclass(frozen=True, slots=True)
class Bench:
    """What a section measures with."""

    folder: Path
    client: OwnClient
    options: Namespace
    report: Report
    say: Callable[[str], None]

    @property
    def quick(self) -> bool:
        return bool(self.options.quick)

    def repeats(self, most: int = 3) -> Iterator[int]:
        """The numbers of the repeats, each of which is watched."""
        for number in range(1, min(self.options.repeats, most) + 1):
            watch = machine.Watch()
            yield number
            self.disturbed(f"repeat {number}", watch)

    def disturbed(self, what: str, watch: machine.Watch) -> None:
        """A part of the section is over."""
        found = self.report.disturbances[what] = watch.end()
        self.say(f"{what}: {found}")

    def add(self, line: Line) -> None:
        """One more row was measured."""
        self.report.lines.append(line)
        self.say(f"{line.row}: " + ", ".join(f"{name} {figure(value)}" for name, value in line.values.items()))


@dataclass(frozen=True, slots=True)
class Section:
    """A table whose rows are ``Line``s. ``notes`` say how it is measured and what it compares with."""

    name: str
    title: str
    notes: str
    measure: Callable[[Bench], None]
    goals: Callable[[Report], list[Goal]] = lambda report: []  #: What must be reached, of what is in its table.

    def shown(self, report: Report) -> str:
        """What the page says of it."""
        return f"## {self.title}\n\n{self.notes.strip()}\n\n{table(report.lines)}\n"


def table(lines: Iterable[Line]) -> str:
    """Medians over the repeats, and ratios behind them."""
    rows: dict[str, list[Line]] = {}
    for line in lines:
        rows.setdefault(line.row, []).append(line)
    columns = list(dict.fromkeys(name for repeats in rows.values() for line in repeats for name in line.values))
    ratios = list(dict.fromkeys(name for repeats in rows.values() for line in repeats for name in line.ratios))
    shown = ["| | " + " | ".join((*columns, *ratios)) + " |", "|---|" + "---:|" * (len(columns) + len(ratios))]
    for row, repeats in rows.items():
        cells = [_cell([line.values for line in repeats], name) for name in columns]
        cells += [_cell([line.ratios for line in repeats], name) for name in ratios]
        shown.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(shown)


def _cell(repeats: list[dict[str, float]], name: str) -> str:
    found = [values[name] for values in repeats if name in values]
    return figure(statistics.median(found)) if found else ""


def figure(value: float) -> str:
    """Three digits are all that a measurement of a second or two can say; counts are shown whole."""
    if value == int(value):
        return f"{int(value):,}".replace(",", " ")
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}".replace(",", " ") if abs(rounded) >= 100 else f"{rounded:g}"


def save(report: Report, folder: Path = TABLES) -> Path:
    """Keep a report for the page; where."""
    folder.mkdir(exist_ok=True)
    target = folder / f"{report.section}.json"
    lines = [
        msgspec.json.encode(msgspec.structs.replace(report, cells=[], journal_cells=[], lines=[])),
        *map(msgspec.json.encode, (*report.cells, *report.journal_cells, *report.lines)),
    ]
    target.write_bytes(b"\n".join(lines) + b"\n")
    return target


def load(name: str, folder: Path = TABLES) -> Report | None:
    """What was kept of a section; None when it never ran."""
    file = folder / f"{name}.json"
    if not file.exists():
        return None
    first, *rest = file.read_bytes().splitlines()
    report = msgspec.json.decode(first, type=Report)
    for text in rest:
        fields = msgspec.json.decode(text)
        if "commits" in fields:
            report.journal_cells.append(msgspec.convert(fields, JournalCell, strict=False))
        elif "table" in fields:
            report.cells.append(msgspec.convert(fields, Cell, strict=False))
        else:
            report.lines.append(msgspec.convert(fields, Line))
    return report


def new(section: str, commit: str, settings: Mapping[str, Any]) -> Report:
    """A report of a run that begins now."""
    date = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return Report(section, date, commit, machine.describe(), dict(settings))
