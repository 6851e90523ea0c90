"""Is anything slower than in the committed tables? Ratios are compared, which another machine has too, and no times."""

import statistics

from bench.rows import RESULTS, SMALL
from bench.section import Report
from bench.table import Results

WORSE = 0.2  #: A ratio that is smaller by more than this share is named.


def ratios(report: Report) -> dict[str, float]:
    """All that of a report which can be compared, by what it is; more is better."""
    found: dict[str, list[float]] = {}
    for line in report.lines:
        for name, value in line.ratios.items():
            found.setdefault(f"{report.section}: {line.row}: {name}", []).append(value)
    results = Results(report.cells)
    for table in (SMALL, RESULTS):
        for row in table.rows:
            for connections in {cell.connections for cell in report.cells}:
                figures = results.figures(table.title, row.name, connections)
                if figures is not None and figures.echoes and row.server == "turnout":
                    what = f"{report.section}: {row.name}, {connections} connections: the echo's CPU over ours"
                    found[what] = [1 / echoes for echoes in figures.echoes if echoes]
    return {what: statistics.median(values) for what, values in found.items() if values}


def worse(before: Report, now: Report) -> list[str]:
    """What got worse, in words."""
    old, new = ratios(before), ratios(now)
    return [
        f"{what} is {new[what]:.3g}, and was {value:.3g} ({before.date}, commit {before.commit})"
        for what, value in old.items()
        if what in new and new[what] < value * (1 - WORSE)
    ]
