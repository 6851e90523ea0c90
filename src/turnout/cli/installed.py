"""Whether turnout is installed as it needs: Python, packages, and a clock that is not behind the installation."""

import importlib.metadata
import re
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import turnout
from turnout.cli.findings import Finding
from turnout.process.systems import SUPPORTED, can_serve

PYTHON_MIN = (3, 11)
SQLITE_MIN = (3, 35, 0)
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?P<rest>[^;]*)(;(?P<marker>.*))?")


def findings() -> Iterator[Finding]:
    """All but the clock."""
    yield system(sys.platform, can_serve())
    yield _at_least("python", sys.version_info[:3], PYTHON_MIN, "install a newer Python and make the environment anew")
    yield _at_least("sqlite", sqlite3.sqlite_version_info, SQLITE_MIN, "install a newer Python, or a newer libsqlite3")
    yield packages(importlib.metadata.requires("turnout") or [])


def system(name: str, serves: bool) -> Finding:
    """Whether this is a system that a server runs on."""
    if serves:
        return Finding("system", True, name)
    found = f"{name}: a server needs {SUPPORTED}"
    return Finding(
        "system", False, found, "on Windows run it in WSL 2; devices and commands for a server elsewhere work"
    )


def packages(requirements: Iterable[str]) -> Finding:
    """Whether what turnout requires is there and new enough; extras are the user's choice."""
    wrong, count = [], 0
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        assert match is not None, requirement
        marker = match["marker"] or ""
        if "extra" in marker or ("win32" in marker and sys.platform == "win32"):
            continue
        count += 1
        wanted = re.search(r">=\s*([\d.]+)", match["rest"])
        try:
            found = importlib.metadata.version(match["name"])
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{match['name']} is missing")
            continue
        if wanted and numbers(found) < numbers(wanted[1]):
            wrong.append(f"{match['name']} is {found} and must be {wanted[1]}")
    if wrong:
        return Finding("packages", False, ", ".join(wrong), "install turnout again: pip install --upgrade turnout")
    return Finding("packages", True, f"turnout {turnout.__version__} and the {count} packages that it needs")


def clock(now: float, made: float | None = None) -> Finding:
    """Whether the wall clock is behind the newest of our own files; ``made`` is that file's time."""
    if made is None:
        folder = Path(turnout.__file__).parent
        made = max(file.stat().st_mtime for file in folder.glob("*.py"))
    shown = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M:%S} UTC"
    if now >= made:
        return Finding("clock", True, shown)
    found = f"it is {shown}, which is before turnout was installed here ({datetime.fromtimestamp(made, UTC):%Y-%m-%d})"
    return Finding("clock", False, found, "set the clock, or let NTP do it")


def _at_least(name: str, found: tuple[int, ...], wanted: tuple[int, ...], advice: str) -> Finding:
    text = ".".join(map(str, found))
    if found >= wanted:
        return Finding(name, True, text)
    return Finding(name, False, f"{text}, and {'.'.join(map(str, wanted))} is the oldest that will do", advice)


def numbers(version: str) -> tuple[int, ...]:
    """The numbers that a version begins with: 1.26.4rc1 is (1, 26, 4)."""
    return tuple(int(part) for part in re.findall(r"(?:^|\.)(\d+)", version))
