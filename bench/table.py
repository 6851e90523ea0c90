"""From measured cells to the page: medians over the repeats, ratios within each repeat, and the goals."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from bench.load import Outcome
from bench.rows import ECHO, JOB, NGINX, RESULT, TASK, TASK_KEPT, Table

MICRO = 1e6
COLUMNS = ("requests/s", "of nginx", "p50 ms", "p99 ms", "p99.9 ms", "CPU µs", "gateway", "job", "others")
ROLES = ("gateway", "job")  #: Shown apart; control, supervisor and the rest are "others".


class Cell(msgspec.Struct):
    """One row at one number of connections in one repeat. ``cpu_s`` is by role of the processes."""

    table: str
    row: str
    connections: int
    repeat: int
    outcome: Outcome
    cpu_s: dict[str, float]

    @property
    def rate(self) -> float:
        return self.outcome.requests / self.outcome.elapsed_s if self.outcome.elapsed_s else 0.0

    def cpu_us(self, *roles: str) -> float:
        """CPU per request, of these roles or of all."""
        used = sum(self.cpu_s.get(role, 0.0) for role in roles) if roles else sum(self.cpu_s.values())
        return used * MICRO / max(self.outcome.requests, 1)


@dataclass(frozen=True, slots=True)
class Figures:
    """What the repeats of one row at one number of connections say. Each list has an entry per repeat."""

    cells: Sequence[Cell]
    of_nginx: Sequence[float]  #: Requests per second, as a share of nginx's in the same repeat; empty without nginx.
    nginx_cpu: Sequence[float]  #: nginx's CPU per request, as a share of ours.
    echoes: Sequence[float]  #: Our CPU per request, in requests to the echo server in the same repeat.

    def median(self, of: Callable[[Cell], float]) -> float:
        return statistics.median(of(cell) for cell in self.cells)

    def span(self, of: Callable[[Cell], float]) -> tuple[float, float]:
        values = [of(cell) for cell in self.cells]
        return min(values), max(values)

    @property
    def errors(self) -> int:
        return sum(cell.outcome.errors for cell in self.cells)


class Results:
    """All cells of a run."""

    def __init__(self, cells: Iterable[Cell]) -> None:
        self.cells = list(cells)
        self._by_key = {(cell.table, cell.row, cell.connections, cell.repeat): cell for cell in self.cells}

    def figures(self, table: str, row: str, connections: int) -> Figures | None:
        """None when the row was not measured."""
        cells = [c for c in self.cells if (c.table, c.row, c.connections) == (table, row, connections)]
        if not cells:
            return None
        return Figures(
            cells,
            [cell.rate / nginx.rate for cell, nginx in self.beside(NGINX, cells) if nginx.rate],
            [nginx.cpu_us() / cell.cpu_us() for cell, nginx in self.beside(NGINX, cells) if cell.cpu_us()],
            [cell.cpu_us() / echo.cpu_us() for cell, echo in self.beside(ECHO, cells) if echo.cpu_us()],
        )

    def beside(self, reference: str, cells: Iterable[Cell]) -> list[tuple[Cell, Cell]]:
        """Each cell with that of the row ``reference`` in the same repeat, where there is one."""
        keys = [(cell, (cell.table, reference, cell.connections, cell.repeat)) for cell in cells]
        return [(cell, self._by_key[key]) for cell, key in keys if key in self._by_key]

    @property
    def errors(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.outcome.errors]


def markdown(table: Table, results: Results, connections: Sequence[int], missing: dict[str, str]) -> str:
    """One table of the page; ``missing`` says of servers why they were not measured."""
    lines = [
        f"| connections | request | {' | '.join(COLUMNS)} |",
        "|---:|---|" + "---:|" * len(COLUMNS),
    ]
    for count in connections:
        for row in table.rows:
            figures = results.figures(table.title, row.name, count)
            if figures is not None:
                lines.append(f"| {count} | {row.name} | {_figures(figures, row.server == 'turnout')} |")
            elif row.server in missing:
                lines.append(f"| {count} | {row.name} | {missing[row.server]} |" + " |" * (len(COLUMNS) - 1))
    return "\n".join(lines)


def _figures(figures: Figures, ours: bool) -> str:
    low, high = figures.span(lambda cell: cell.rate)
    cpu_low, cpu_high = figures.span(lambda cell: cell.cpu_us())
    parts = [
        f"{count(figures.median(lambda cell: cell.rate))} ({count(low)}-{count(high)})",
        f"{statistics.median(figures.of_nginx):.2f}" if figures.of_nginx else "",
        f"{figures.median(lambda cell: cell.outcome.p50_ms):.2f}",
        f"{figures.median(lambda cell: cell.outcome.p99_ms):.2f}",
        f"{p999:.2f}" if (p999 := figures.median(lambda cell: cell.outcome.p999_ms)) else "",
        f"{figures.median(lambda cell: cell.cpu_us()):.1f} ({cpu_low:.1f}-{cpu_high:.1f})",
    ]
    if ours:
        parts += [f"{statistics.median(cell.cpu_us(role) for cell in figures.cells):.1f}" for role in ROLES]
        parts.append(f"{figures.median(lambda cell: cell.cpu_us() - cell.cpu_us(*ROLES)):.1f}")
    else:
        parts += [""] * (len(ROLES) + 1)
    if figures.errors:
        parts[0] = f"**{figures.errors} WRONG REPLIES** {parts[0]}"
    return " | ".join(parts)


def count(value: float) -> str:
    """Three digits are all that a measurement of a second or two can say."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}".replace(",", " ")


@dataclass(frozen=True, slots=True)
class Goal:
    """One thing that the system must reach, and what was measured."""

    what: str
    wanted: str
    measured: str
    reached: bool

    def __str__(self) -> str:
        return f"| {self.what} | {self.wanted} | {self.measured} | {'yes' if self.reached else '**no**'} |"


def goals(results: Results, small: Table, by_results: Table) -> list[Goal]:
    """Those goals for which this run has the rows."""
    found: list[Goal] = []
    job = results.figures(small.title, JOB, 64)
    task = results.figures(small.title, TASK, 64)
    kept = results.figures(small.title, TASK_KEPT, 64)
    result = results.figures(by_results.title, RESULT, 64)
    many = results.figures(by_results.title, RESULT, 512)
    for name, figures in ((TASK, task), (TASK_KEPT, kept)):
        if figures is not None:
            cpu = figures.median(lambda cell: cell.cpu_us())
            measured = f"{cpu:.1f} µs"
            if figures.echoes:
                measured += f", {statistics.median(figures.echoes):.1f} times the echo's"
            found.append(Goal(f"{name}: CPU of all server processes", "< 35 µs", measured, cpu < 35))
    if task is not None and task.of_nginx:
        share, p99 = statistics.median(task.of_nginx), task.median(lambda cell: cell.outcome.p99_ms)
        measured = f"{share:.2f}, {p99:.1f} ms"
        found.append(Goal(f"{TASK}: rate of nginx's, p99", "≥ 0.4, < 10 ms", measured, share >= 0.4 and p99 < 10))
    if job is not None and job.nginx_cpu:
        share = statistics.median(job.nginx_cpu)
        found.append(
            Goal("job request, on the same core: nginx's CPU over ours", "≥ 0.6", f"{share:.2f}", share >= 0.6)
        )
    if many is not None:
        rate, p99 = many.median(lambda cell: cell.rate), many.median(lambda cell: cell.outcome.p99_ms)
        measured = f"{count(rate)}/s, {p99:.0f} ms"
        reached = rate >= 10_000 and p99 < 250
        found.append(
            Goal("results until committed, 512 connections: rate, p99", "≥ 10 000/s, < 250 ms", measured, reached)
        )
    if job is not None and task is not None and result is not None:
        cpu = sum(figures.median(lambda cell: cell.cpu_us()) for figures in (job, task, result))
        found.append(Goal("a device's round (job + task + result): CPU", "< 120 µs", f"{cpu:.0f} µs", cpu < 120))
    return found
