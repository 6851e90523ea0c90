"""The page that a run writes: when, where and how it was measured, what disturbed it, the tables and the goals."""

import importlib.metadata
import subprocess

from bench import durability, section
from bench.machine import OTHERS_MAX, STEAL_MAX
from bench.rows import BY_WRK, RESULTS, SMALL
from bench.section import Report
from bench.sections import SECTIONS
from bench.servers import ROOT, find
from bench.table import Results, goals, markdown

PROFILE = ROOT / "bench" / "profile.md"  #: Written by hand: where the time goes that the tables show.
PACKAGES = ("uvloop", "httptools", "msgspec", "numpy")
INTRODUCTION = """\
# Benchmarks

What one server costs and how fast it is: gateway, job, control and supervisor as `turnout up` starts them, a model of
1000 parameters unless a table says otherwise. Written by `make bench`; compare only rows of one table. Every section
says when and where it ran, and what disturbed it.

- The client is on the same machine and takes its share of the cores; its CPU is not counted unless a column says so.
  Every reply is looked at.
- `CPU µs` is over all processes of the server, from `/proc`; gateway, job and others are its parts.
- Where a section has repeats, its figures are their medians.
"""

REQUESTS = """\
- `nginx, static` answers every request with the same {body_bytes} bytes, and has as many workers as there are gateways,
  here {gateways}. `httptools echo` is the least that a Python server does: it parses, decodes the JSON, answers;
  `uvicorn and Starlette` do the same as most would write it. All get the very same requests as turnout.
- A connection sends its next request when the reply to the last one is there: status 200 and the words that it must
  have (`"status":"OK"`, `"RETRY"` where no place is free, `"counted":true`).
- {devices} devices take turns on the connections, so that no two requests in a row on a connection are alike. A gateway
  recognises the head of a request that a device repeats on its own connection; that has a row of its own.
- A result travels until its commit, then it is answered. The journal is the durable one that every job has; what it
  costs is in a table of its own.
- Medians of {repeats} interleaved repeats of {seconds:g} s each; in brackets the smallest and the largest. `of nginx`
  is the ratio within a repeat.
"""

GOALS = """\
## Goals

At 64 connections unless it says otherwise.

| | goal | here | reached |
|---|---|---|---|"""


def page() -> str:
    """The whole page, of what is kept of each section."""
    names = ("requests", "journals", *(each.name for each in SECTIONS))
    kept = [report for name in names if (report := section.load(name))]
    parts = [INTRODUCTION, f"Made with {', '.join(_versions())}.\n", *map(shown, kept)]
    found = goals(Results(cell for report in kept for cell in report.cells), SMALL, RESULTS)
    found += [
        goal for each in SECTIONS for report in kept if report.section == each.name for goal in each.goals(report)
    ]
    if found:
        parts.append("\n".join((GOALS, *map(str, found))) + "\n")
    parts.append(PROFILE.read_text())
    return "\n".join(parts)


def shown(report: Report) -> str:
    """A section of the page."""
    errors = _errors(report) if report.errors else ""
    ran = f"{report.date}, commit {report.commit}, on {report.where}\n\n{_disturbed(report)}"
    match report.section:
        case "requests":
            return _requests(report, f"{ran}\n{errors}")
        case "journals":
            body = durability.section(Results(report.journal_cells), report.settings["file_system"])
        case name:
            body = next(each for each in SECTIONS if each.name == name).shown(report)
    return f"{body}\n{ran}{errors}"


def _requests(report: Report, ran: str) -> str:
    results, connections = Results(report.cells), report.settings["connections"]
    tables = [
        f"### {table.title}\n\n{markdown(table, results, connections, report.missing)}\n"
        for table in (SMALL, RESULTS, BY_WRK)
        if any(cell.table == table.title for cell in report.cells)
    ]
    return "\n".join(("## Requests\n", REQUESTS.format(**report.settings), *tables, ran))


def _versions() -> list[str]:
    found = [f"{package} {importlib.metadata.version(package)}" for package in PACKAGES]
    for program in ("nginx", "wrk"):
        path = find(program)
        if path is not None:
            said = subprocess.run([path, "-v"], capture_output=True, text=True, check=False)
            found.append(
                (said.stdout + said.stderr).splitlines()[0].removeprefix("nginx version: ").split(" Copyright")[0]
            )
    return found


def commit() -> str:
    """What is measured."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "src")
        return git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _disturbed(report: Report) -> str:
    lines = [f"- {what}: {disturbance}" for what, disturbance in report.disturbances.items()]
    if any(disturbance.serious for disturbance in report.disturbances.values()):
        lines.insert(
            0,
            f"**Disturbed**: more than {STEAL_MAX:.0%} of the machine was taken by its host, or more than "
            f"{OTHERS_MAX:.0%} used by other programs. Run it again on a quiet machine.\n",
        )
    return "\n".join(lines) + "\n"


def _errors(report: Report) -> str:
    wrong = sum(cell.outcome.errors for cell in report.errors)
    cell = report.errors[0]
    return (
        f"**{wrong} WRONG REPLIES: these figures mean nothing until they are right.** The first was to {cell.row}, in "
        f"{cell.table}, {cell.connections} connections, repeat {cell.repeat}:\n\n```\n{cell.outcome.first_error}\n```\n"
    )
