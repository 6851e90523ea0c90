"""Measure a server of turnout beside nginx and a bare echo server, in sections that run one by one.

    python -m bench [SECTION ...] [--quick] [--check] [--repeats 5] [--seconds 2] [--connections 1 64 512]

``make bench`` runs all of them and writes docs/BENCHMARKS.md, which takes about half an hour. Each section is kept in
bench/tables when it has ended, so one that failed or was disturbed is run again alone; the page is made of what is
there. ``--quick`` takes a minute or two, prints the tables and keeps nothing. ``--check`` keeps nothing either, and
names what is worse by a fifth than the tables that are kept: it compares ratios within a run, which another machine has
too, and ends with 1 when there are any. Files are where ``TMPDIR`` says, which must be on a disk. nginx and wrk are
used where they are installed.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from bench import check, durability, rows, section, servers, traffic
from bench.clients import OwnClient, own_client, run_wrk
from bench.durability import DURABLE, MEMORY, REPEATS_MAX, SIZES, journaled
from bench.load import Order, Outcome
from bench.machine import file_system
from bench.page import commit, page, shown
from bench.rows import Row, Table
from bench.section import Bench, Report
from bench.sections import SECTIONS
from bench.servers import OPEN, ROOT, Server, Turnout, find
from bench.table import Cell

PAGE = ROOT / "docs" / "BENCHMARKS.md"
WARM_UP_S = 0.3
REQUESTS, JOURNALS = "requests", "journals"
NAMES = (REQUESTS, JOURNALS, *(each.name for each in SECTIONS))
INSTALL = {"nginx": "nginx was not found: apt install nginx", "wrk": "wrk was not found: apt install wrk"}


class Requests:
    """The servers and clients of the section of that name."""

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
            self._client.lease(server.port, order.job, devices)
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
    """All sections that were asked for; 1 when a reply was wrong, or something is worse."""
    reports = []
    with tempfile.TemporaryDirectory(prefix="turnout-bench-") as name, own_client() as client:
        folder = Path(name)
        folder.chmod(0o755)  # nginx's workers may be another user
        for name in options.sections:
            say(f"--- {name}")
            report = _report(name, folder, options)
            _measure(Bench(folder, client, options, report, say))
            reports.append(report)
            print(shown(report), flush=True)
            if not (options.quick or options.check):
                section.save(report)
                PAGE.write_text(page())
                say(f"written: {PAGE}")
    worse = [text for report in reports if options.check for text in _worse(report)]
    for text in worse:
        print(f"worse: {text}")
    return 1 if worse or any(report.errors for report in reports) else 0


def _report(name: str, folder: Path, options: argparse.Namespace) -> Report:
    settings = {key: getattr(options, key) for key in ("repeats", "seconds", "connections", "devices", "gateways")}
    settings["body_bytes"] = len(msgspec.json.encode(traffic.STATIC_REPLY))
    settings["file_system"] = file_system(folder)
    return section.new(name, commit(), settings)


def _measure(bench: Bench) -> None:
    match bench.report.section:
        case "requests":
            _requests(bench)
        case "journals":
            _journals(bench)
        case name:
            next(each for each in SECTIONS if each.name == name).measure(bench)


def _worse(report: Report) -> list[str]:
    before = section.load(report.section)
    return check.worse(before, report) if before else [f"{report.section} has no table yet to compare with"]


def _requests(bench: Bench) -> None:
    """All kinds of requests, beside the references."""
    options, folder = bench.options, bench.folder
    with ExitStack() as stack:
        running: dict[str, Server] = {
            "turnout": stack.enter_context(servers.turnout(folder / "turnout", options.gateways, options.devices))
        }
        if options.references:
            for server, module in servers.REFERENCES.items():
                running[server] = stack.enter_context(servers.reference(server, module))
            nginx = stack.enter_context(servers.nginx(folder / "nginx", options.gateways))
            if nginx is None:
                bench.report.missing["nginx"] = INSTALL["nginx"]
                say(INSTALL["nginx"])
            else:
                running["nginx"] = nginx
        tables = [rows.SMALL, rows.RESULTS]
        if options.wrk and find("wrk"):
            tables.append(rows.BY_WRK)
        elif options.wrk:
            say(INSTALL["wrk"])
        requests = Requests(running, bench.client, folder, options)
        requests.warm_up(tables)
        for number in bench.repeats(options.repeats):
            requests.repeat(number, tables)
        bench.report.cells += requests.cells


def _journals(bench: Bench) -> None:
    """Results alone, to one server for each kind of journal."""
    options, folder = bench.options, bench.folder
    sizes = [size.shorter() if options.quick else size for size in SIZES if size.parameters in options.parameters]
    with ExitStack() as stack:
        running = [
            stack.enter_context(journaled(folder / kind.replace(" ", "-"), options.gateways, kind, sizes))
            for kind in (DURABLE, MEMORY)
        ]
        if not options.quick:
            durability.warm_up(running, sizes, bench.client)
        for number in bench.repeats(REPEATS_MAX):
            for cell in durability.repeat(number, running, sizes, bench.client, folder):
                bench.report.journal_cells.append(cell)
                say(f"repeat {number}: {cell.table.rpartition(': ')[2]:18} {_line(cell)}")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(NAMES)}; all unless given")
    parser.add_argument("--repeats", type=int, default=5, help="the medians are over these")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 64, 512])
    sizes = [size.parameters for size in SIZES]
    parser.add_argument("--parameters", type=int, nargs="+", choices=sizes, default=sizes, help="of section journals")
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--gateways", type=int, default=max(1, (os.cpu_count() or 1) - 1), help="as turnout up has")
    parser.add_argument("--no-references", dest="references", action="store_false", help="turnout alone")
    parser.add_argument("--no-wrk", dest="wrk", action="store_false", help="our own client alone")
    parser.add_argument("--fleet-devices", type=int, default=1_000_000, help="of section million")
    parser.add_argument("--quick", action="store_true", help="one short repeat by our own client; keeps nothing")
    parser.add_argument("--check", action="store_true", help="compare with the tables that are kept; keeps nothing")
    options = parser.parse_args()
    if unknown := set(options.sections) - set(NAMES):
        parser.error(f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    options.sections = options.sections or list(NAMES)
    if options.quick:
        options.repeats, options.seconds, options.wrk = 1, min(options.seconds, 0.3), False
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))  # servers are ended on the way out
    try:
        return run(options)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
