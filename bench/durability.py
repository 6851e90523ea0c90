"""What durability costs: the same results to a server whose journals are on disk and to one that keeps them in memory.

A measurement is a wave: every device has a task before it begins, and sends its result in it. Waves are whole versions,
so that each writes as much as any other.
"""

import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench import traffic
from bench.clients import OwnClient
from bench.load import Order, Outcome
from bench.machine import command_line, tree, written_bytes
from bench.servers import Server, job_folder, started
from bench.table import ROLES, Cell, Figures, Results, count
from turnout.job.folder.directory import JOURNAL
from turnout.job.journal import recorder
from turnout.job.process import JOURNAL_VARIABLE

TITLE = "Results, durable and in memory"
DURABLE, MEMORY, FSYNC = JOURNALS = "durable", "in memory", "write and fsync alone"
ALONE = 1  #: What the reference has for connections.
WAVE_MAX_S = 60.0  #: For a wave; it ends when all have sent.
REPEATS_MAX = 3  #: The waves of large models take seconds.
FSYNCS = 10
STATE_BYTES = 4096  #: About what a snapshot of few tasks holds beside its sum of 8 bytes a parameter.


NOTES = """\
Two servers: `durable` is as `turnout up` starts it, `in memory` has `TURNOUT_JOURNAL=memory` and still writes the file
of every model. Every device has a task before a wave begins, and sends its result in it as raw safetensors; medians of
{repeats} waves.

{waves}
- A job commits when something is staged, and then pauses for three times as long as the write took, unless its buffer
  is full or, after a short write, no more results come. Where few connections send, it is this rhythm that sets the
  rate of the durable rows, not the CPU.
- `written per result` is what the kernel counts for the process of the job (`write_bytes` in `/proc`): the journal's
  log, its folding into the journal, and the files of models. A commit writes the sum, 8 bytes a parameter, and the
  tasks that came or went; one that closes a version writes its model too. So the more results share a commit, the less
  each writes.
- `write and fsync alone` writes the bytes of one such sum over the last ones and waits for the disk ({file_system}):
  what a commit must at least cost here.
- The client works on the same cores, the more the larger the bodies; p99 of a few dozen results is the slowest of them.
"""


@dataclass(frozen=True, slots=True)
class Size:
    """A job with a model of so many parameters. A wave of its devices fills ``devices / goal`` buffers exactly."""

    parameters: int
    devices: int
    goal: int
    connections: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"bench-{self.parameters}"

    def shorter(self) -> "Size":
        """One buffer, sent on as many connections as there are to be."""
        return replace(self, devices=self.goal, connections=self.connections[-1:])


SIZES = (
    Size(1_000, devices=2048, goal=512, connections=(64, 512)),
    Size(100_000, devices=512, goal=128, connections=(64,)),
    Size(1_000_000, devices=64, goal=32, connections=(8, 32)),
)


class JournalCell(Cell):
    """A wave, or the reference; ``row`` is its journal."""

    written_bytes: int  #: To disk, by the process of the job.
    commits: int


@dataclass(frozen=True, slots=True)
class Journaled(Server):
    """A server whose jobs all have the same kind of journal."""

    data: Path
    jobs: dict[int, str]  #: By the parameters of their models.

    def job_pid(self, job_id: str) -> int:
        """The process of a job."""
        return next(process.pid for process in tree(self.pid) if f"--job-id {job_id} " in command_line(process.pid))

    def commits(self, job_id: str) -> int:
        """How many the job has made."""
        moment = recorder.read(self._directory(job_id))
        return moment.durable if moment else 0

    def has_journal(self, job_id: str) -> bool:
        """Whether the job keeps one on disk."""
        return (self._directory(job_id) / JOURNAL).exists()

    def _directory(self, job_id: str) -> Path:
        return self.data / "jobs" / job_id


@contextmanager
def journaled(folder: Path, gateways: int, journal: str, sizes: Sequence[Size]) -> Iterator[Journaled]:
    """Run a server with a job of each size."""
    with started(folder, gateways, {JOURNAL_VARIABLE: "memory"} if journal == MEMORY else {}) as server:
        jobs = {}
        for size in sizes:
            written = job_folder(folder / size.name, size.name, size.devices, size.goal, size.parameters)
            jobs[size.parameters] = server.control.submit(written).job_id
        yield Journaled(journal, server.pid, server.port, server.data, jobs)


def warm_up(servers: Sequence[Journaled], sizes: Sequence[Size], client: OwnClient) -> None:
    """Run every job once, so that nothing is measured for the first time."""
    for size in map(Size.shorter, sizes):
        for server in servers:
            _wave(0, server, size, size.connections[0], client)


def repeat(
    number: int, servers: Sequence[Journaled], sizes: Sequence[Size], client: OwnClient, folder: Path
) -> Iterator[JournalCell]:
    """Measure every cell once, the journals in turns; each other repeat begins with the other one."""
    for size in sizes:
        for connections in size.connections:
            for server in servers if number % 2 else reversed(servers):
                yield _wave(number, server, size, connections, client)
        yield _fsyncs(number, size, folder)


def _wave(number: int, server: Journaled, size: Size, connections: int, client: OwnClient) -> JournalCell:
    job = server.jobs[size.parameters]
    order = Order(
        port=server.port,
        requests="result",
        job=job,
        devices=size.devices,
        parameters=size.parameters,
        connections=connections,
        seconds=WAVE_MAX_S,
        expect=traffic.COUNTED,
        server_pid=server.pid,
    )
    client.lease(server.port, job, size.devices)
    assert server.has_journal(job) == (server.name == DURABLE)
    pid = server.job_pid(job)
    written, commits = written_bytes(pid), server.commits(job)
    outcome = client.carry_out(order)
    return JournalCell(
        *(table_of(size.parameters), server.name, connections, number, outcome, server.by_role(outcome.cpu_s)),
        *(written_bytes(pid) - written, server.commits(job) - commits),
    )


def _fsyncs(number: int, size: Size, folder: Path) -> JournalCell:
    """The least that a durable commit can cost on this disk: the bytes of one snapshot, written over the last."""
    data = os.urandom(8 * size.parameters + STATE_BYTES)
    took = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(FSYNCS + 1):  # the first makes the file as large as it will be
            began = time.perf_counter()
            os.pwrite(file.fileno(), data, 0)
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    took = took[1:]
    outcome = Outcome(FSYNCS, sum(took), statistics.median(took) * 1e3, max(took) * 1e3, 0, "")
    return JournalCell(table_of(size.parameters), FSYNC, ALONE, number, outcome, {}, len(data) * FSYNCS, commits=FSYNCS)


def table_of(parameters: int) -> str:
    """The name under which the cells of a size are kept; their rows are its journals."""
    return f"{TITLE}: {parameters} parameters"


def measured(results: Results) -> list[JournalCell]:
    """The cells of this table."""
    return [cell for cell in results.cells if isinstance(cell, JournalCell)]


def section(results: Results, file_system: object) -> str:
    """What the page says about it."""
    cells = measured(results)
    waves = [
        f"- {count(size.parameters)} parameters: {max(sent)} results in a wave, {size.goal} to a version.\n"
        for size in SIZES
        if (sent := [c.outcome.requests for c in cells if c.table == table_of(size.parameters) and c.row == DURABLE])
    ]
    repeats = max(cell.repeat for cell in cells)
    notes = NOTES.format(waves="".join(waves).strip(), repeats=repeats, file_system=file_system)
    return f"## {TITLE}\n\n{notes}\n{markdown(results)}\n"


def markdown(results: Results) -> str:
    """The table."""
    lines = [
        "| parameters | connections | journal | results/s | of in memory | p50 ms | p99 ms | written per result "
        "| results per commit | CPU µs | gateway | job | others |",
        "|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for size in SIZES:
        for journal in JOURNALS:
            for connections in (*size.connections, ALONE):
                figures = results.figures(table_of(size.parameters), journal, connections)
                if figures is not None:
                    lines.append(_line(size, journal, results, figures))
    return "\n".join(lines)


def _line(size: Size, journal: str, results: Results, figures: Figures) -> str:
    cells = [cell for cell in figures.cells if isinstance(cell, JournalCell)]
    low, high = figures.span(lambda cell: cell.rate)
    of_memory = [cell.rate / memory.rate for cell, memory in results.beside(MEMORY, cells) if memory.rate]
    parts = [
        count(size.parameters),
        str(cells[0].connections),
        journal,
        f"{count(figures.median(lambda cell: cell.rate))} ({count(low)}-{count(high)})",
        f"{statistics.median(of_memory):.2f}" if of_memory else "",
        f"{figures.median(lambda cell: cell.outcome.p50_ms):.1f}",
        f"{figures.median(lambda cell: cell.outcome.p99_ms):.1f}",
        _bytes(statistics.median(cell.written_bytes / max(cell.outcome.requests, 1) for cell in cells)),
    ]
    if journal == FSYNC:
        parts += [""] * (len(ROLES) + 3)
    else:
        parts.append(f"{statistics.median(cell.outcome.requests / max(cell.commits, 1) for cell in cells):.1f}")
        parts += [f"{figures.median(lambda cell: cell.cpu_us()):.0f}"]
        parts += [f"{statistics.median(cell.cpu_us(role) for cell in cells):.0f}" for role in ROLES]
        parts.append(f"{figures.median(lambda cell: cell.cpu_us() - cell.cpu_us(*ROLES)):.0f}")
    if figures.errors:
        parts[3] = f"**{figures.errors} WRONG REPLIES** {parts[3]}"
    return f"| {' | '.join(parts)} |"


def _bytes(number: float) -> str:
    """Three digits of it."""
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f} B"
