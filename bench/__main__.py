"""Measure a server of turnout beside nginx and a bare echo server, in one run.

    python -m bench [--quick] [--repeats 5] [--seconds 2] [--connections 1 64 512] [--parts journals]

``make bench`` does this and writes docs/BENCHMARKS.md. ``--quick`` takes half a minute, prints the tables and writes
nothing. The part ``requests`` is of all requests to one server, ``journals`` of results to a server with journals on
disk and to one without; the files are where ``TMPDIR`` says, which must be on a disk for it to mean anything. nginx
and wrk are used where they are installed.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

import msgspec

from bench import durability, rows, servers, traffic
from bench.clients import OwnClient, own_client, run_wrk
from bench.durability import DURABLE, MEMORY, REPEATS_MAX, SIZES, journaled
from bench.load import Order, Outcome
from bench.machine import Disturbance, Watch, describe, file_system
from bench.page import page
from bench.rows import Row, Table
from bench.servers import OPEN, ROOT, Server, Turnout, find
from bench.table import Cell, Results

PAGE = ROOT / "docs" / "BENCHMARKS.md"
RESULTS = ROOT / "bench" / "results"
WARM_UP_S = 0.3
PARTS = ("requests", "journals")
INSTALL = {"nginx": "nginx was not found: apt install nginx", "wrk": "wrk was not found: apt install wrk"}


class Bench:
    """The servers and clients of a run."""

    def __init__(
        self, running: dict[str, Server], client: OwnClient, folder: Path, options: argparse.Namespace
    ) -> None:
        self._running = running
        self._client = client
        self._folder = folder
        self._options = options
        self._wrk = find("wrk")
        self.cells: list[Cell] = []

    def repeat(self, number: int, tables: Sequence[Table]) -> None:
        """Measure every cell once. Rows begin with another one each time, so that none has the best place."""
        for connections in self._options.connections:
            for table in tables:
                shift = number % len(table.rows)
                for row in (*table.rows[shift:], *table.rows[:shift]):
                    if row.server in self._running:
                        self.cells.append(self._cell(number, table, row, connections))
                        say(f"repeat {number}: {_line(self.cells[-1])}")

    def warm_up(self, tables: Sequence[Table]) -> None:
        """Run every row once, so that nothing is measured for the first time."""
        for row in {row: None for table in tables for row in table.rows if row.server in self._running}:
            self._measure(row, "own", min(64, max(self._options.connections)), WARM_UP_S)

    def _cell(self, number: int, table: Table, row: Row, connections: int) -> Cell:
        outcome = self._measure(row, table.client, connections, self._options.seconds)
        server = self._running[row.server]
        return Cell(table.title, row.name, connections, number, outcome, server.by_role(outcome.cpu_s))

    def _measure(self, row: Row, client: str, connections: int, seconds: float) -> Outcome:
        server = self._running[row.server]
        order = Order(
            port=server.port,
            requests=row.requests,
            job=_job(row, server),
            devices=self._options.devices,
            connections=connections,
            seconds=seconds,
            expect=row.expect,
            keeps_device=row.keeps_device,
            server_pid=server.pid,
        )
        if row.leased:
            devices = 1 if row.full else order.devices
            leased = self._client.carry_out(
                Order(port=server.port, requests="lease", job=order.job, devices=devices, expect=traffic.OK)
            )
            if leased.errors:
                raise SystemExit(f"no tasks to measure with: {leased.first_error}")
        if client == "own":
            return self._client.carry_out(order)
        assert self._wrk is not None
        requests = self._folder / "requests"
        self._client.carry_out(msgspec.structs.replace(order, file=str(requests)))
        return run_wrk(self._wrk, order, requests)


def _job(row: Row, server: Server) -> str:
    """What the requests of a row name: a job id, or the job's name in job requests."""
    if row.requests == "job" or not isinstance(server, Turnout):
        return OPEN
    return server.full_job if row.full else server.open_job


def _line(cell: Cell) -> str:
    outcome = cell.outcome
    wrong = f"  {outcome.errors} WRONG REPLIES" if outcome.errors else ""
    return (
        f"{cell.connections:4} connections  {cell.row:46} {cell.rate:8.0f}/s  p50 {outcome.p50_ms:6.2f} ms  "
        f"p99 {outcome.p99_ms:6.2f} ms  {cell.cpu_us():7.1f} µs CPU{wrong}"
    )


def say(text: str) -> None:
    """To people; the tables alone go to standard output."""
    print(text, file=sys.stderr, flush=True)


def run(options: argparse.Namespace) -> int:
    """The whole run; 1 when a reply was wrong."""
    measured = Measured()
    with tempfile.TemporaryDirectory(prefix="turnout-bench-") as name, own_client() as client:
        folder = Path(name)
        folder.chmod(0o755)  # nginx's workers may be another user
        if "requests" in options.parts:
            _requests(measured, folder, client, options)
        if "journals" in options.parts:
            _journals(measured, folder, client, options)
        settings = {
            **vars(options),
            "body_bytes": len(msgspec.json.encode(traffic.STATIC_REPLY)),
            "file_system": file_system(folder),
        }
    results = Results(measured.cells)
    text = page(results, measured.tables, options.connections, measured.disturbances, measured.missing, settings)
    print(text)
    if options.page is not None:
        options.page.write_text(text)
        saved = _save(measured, settings)
        say(f"written: {options.page}, {saved}")
    return 1 if results.errors else 0


@dataclass(slots=True)
class Measured:
    """What a run has found. ``missing`` says of servers why they are not in the tables."""

    cells: list[Cell] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    disturbances: dict[str, Disturbance] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def disturbed(self, what: str, watch: Watch) -> None:
        """A part of the run is over."""
        self.disturbances[what] = watch.end()
        say(f"{what}: {self.disturbances[what]}")


def _requests(measured: Measured, folder: Path, client: OwnClient, options: argparse.Namespace) -> None:
    """All kinds of requests, beside the references."""
    with ExitStack() as stack:
        running: dict[str, Server] = {
            "turnout": stack.enter_context(servers.turnout(folder / "turnout", options.gateways, options.devices))
        }
        if options.references:
            running["echo"] = stack.enter_context(servers.echo())
            nginx = stack.enter_context(servers.nginx(folder / "nginx", options.gateways))
            if nginx is None:
                measured.missing["nginx"] = INSTALL["nginx"]
                say(INSTALL["nginx"])
            else:
                running["nginx"] = nginx
        measured.tables += [rows.SMALL, rows.RESULTS]
        if options.wrk and find("wrk"):
            measured.tables.append(rows.BY_WRK)
        elif options.wrk:
            say(INSTALL["wrk"])
        bench = Bench(running, client, folder, options)
        bench.warm_up(measured.tables)
        for number in range(1, options.repeats + 1):
            watch = Watch()
            bench.repeat(number, measured.tables)
            measured.disturbed(f"repeat {number}", watch)
        measured.cells += bench.cells


def _journals(measured: Measured, folder: Path, client: OwnClient, options: argparse.Namespace) -> None:
    """Results alone, to one server for each kind of journal."""
    sizes = [size.shorter() if options.quick else size for size in SIZES if size.parameters in options.parameters]
    with ExitStack() as stack:
        running = [
            stack.enter_context(journaled(folder / kind.replace(" ", "-"), options.gateways, kind, sizes))
            for kind in (DURABLE, MEMORY)
        ]
        if not options.quick:
            durability.warm_up(running, sizes, client)
        for number in range(1, min(options.repeats, REPEATS_MAX) + 1):
            watch = Watch()
            for cell in durability.repeat(number, running, sizes, client, folder):
                measured.cells.append(cell)
                say(f"repeat {number}: {cell.table.rpartition(': ')[2]:18} {_line(cell)}")
            measured.disturbed(f"journals, repeat {number}", watch)


def _save(measured: Measured, settings: dict[str, object]) -> Path:
    """Keep all that was measured, as JSON; where."""
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / time.strftime("%Y-%m-%dT%H%M%SZ.json", time.gmtime())
    shown = {
        key: value if isinstance(value, int | float | str | bool | list) else str(value)
        for key, value in settings.items()
    }
    everything = {
        "machine": describe(),
        "settings": shown,
        "disturbances": {what: asdict(disturbance) for what, disturbance in measured.disturbances.items()},
        "cells": measured.cells,
    }
    target.write_bytes(msgspec.json.format(msgspec.json.encode(everything)))
    return target


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5, help="the medians are over these")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 64, 512])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="all are needed for the page")
    sizes = [size.parameters for size in SIZES]
    parser.add_argument("--parameters", type=int, nargs="+", choices=sizes, default=sizes, help="of part journals")
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--gateways", type=int, default=max(1, (os.cpu_count() or 1) - 1), help="as turnout up has")
    parser.add_argument("--no-references", dest="references", action="store_false", help="turnout alone")
    parser.add_argument("--no-wrk", dest="wrk", action="store_false", help="our own client alone")
    parser.add_argument("--page", type=Path, help="write it to this file, and JSON to bench/results")
    parser.add_argument("--quick", action="store_true", help="one short repeat by our own client; writes nothing")
    options = parser.parse_args()
    if options.quick:
        options.repeats, options.seconds, options.wrk = 1, min(options.seconds, 0.3), False
    elif options.page is None and set(options.parts) == set(PARTS):
        options.page = PAGE
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))  # servers are ended on the way out
    try:
        return run(options)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
