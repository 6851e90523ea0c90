"""The page that a run writes: when, where and how it was measured, what disturbed it, the tables and the goals."""

import importlib.metadata
import subprocess
import time
from collections.abc import Mapping, Sequence

from bench import durability
from bench.machine import OTHERS_MAX, STEAL_MAX, Disturbance, describe
from bench.rows import RESULTS, SMALL, Table
from bench.servers import ROOT, find
from bench.table import Results, goals, markdown

PROFILE = ROOT / "bench" / "profile.md"  #: Written by hand: where the time goes that the tables show.
PACKAGES = ("uvloop", "httptools", "msgspec", "numpy")
INTRODUCTION = """\
# Benchmarks

What one server costs and how fast it is: gateway, job, control and supervisor as `turnout up` starts them, a model of
1000 parameters unless a table says otherwise, {gateways} gateway process(es). Written by `make bench`; compare only
rows of one table.

- `nginx, static` answers every request with the same {body_bytes} bytes, and has as many workers as there are gateways.
  `httptools echo` is the least that a Python server does: it parses, decodes the JSON, answers. Both get the very same
  requests as turnout.
- The client is on the same machine and takes its share of the cores; its CPU is not counted. A connection sends its
  next request when the reply to the last one is there, and every reply is looked at: status 200 and the words that it
  must have (`"status":"OK"`, `"RETRY"` where no place is free, `"counted":true`).
- {devices} devices take turns on the connections, so that no two requests in a row on a connection are alike. A gateway
  recognises the head of a request that a device repeats on its own connection; that has a row of its own.
- A result travels until its commit, then it is answered. The journal is the durable one that every job has; what it
  costs is in a table of its own.
- `CPU µs` is per request, over all processes of the server, from `/proc`; gateway, job and others are its parts.
- Medians of {repeats} interleaved repeats of {seconds:g} s each; in brackets the smallest and the largest. `of nginx`
  is the ratio within a repeat.
"""


GOALS = """\
## Goals

At 64 connections unless it says otherwise.

| | goal | here | reached |
|---|---|---|---|"""


def page(
    results: Results,
    tables: Sequence[Table],
    connections: Sequence[int],
    disturbances: Mapping[str, Disturbance],
    missing: dict[str, str],
    settings: dict[str, object],
) -> str:
    """The whole page."""
    parts = [INTRODUCTION.format(**settings), _when_and_where(), _disturbed(disturbances)]
    if results.errors:
        parts.append(_errors(results))
    for table in tables:
        parts.append(f"## {table.title}\n\n{markdown(table, results, connections, missing)}\n")
    if durability.measured(results):
        parts.append(durability.section(results, settings["file_system"]))
    found = goals(results, SMALL, RESULTS)
    if found:
        parts.append("\n".join((GOALS, *map(str, found))) + "\n")
    parts.append(PROFILE.read_text())
    return "\n".join(parts)


def _when_and_where() -> str:
    return f"""\
## This run

{time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}, commit {_commit()}, on {describe()};
{", ".join(_versions())}.
"""


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


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "src")
        return git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _disturbed(disturbances: Mapping[str, Disturbance]) -> str:
    lines = [f"- {what}: {disturbance}" for what, disturbance in disturbances.items()]
    if any(disturbance.serious for disturbance in disturbances.values()):
        lines.insert(
            0,
            f"**Disturbed**: more than {STEAL_MAX:.0%} of the machine was taken by its host, or more than "
            f"{OTHERS_MAX:.0%} used by other programs. Run it again on a quiet machine.\n",
        )
    return "\n".join(lines) + "\n"


def _errors(results: Results) -> str:
    wrong = sum(cell.outcome.errors for cell in results.cells)
    cell = results.errors[0]
    return (
        f"**{wrong} WRONG REPLIES: these figures mean nothing until they are right.** The first was to {cell.row}, in "
        f"{cell.table}, {cell.connections} connections, repeat {cell.repeat}:\n\n```\n{cell.outcome.first_error}\n```\n"
    )
