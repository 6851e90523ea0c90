"""Draws a picture: as a live panel for a terminal, as a line a second for anything else. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from turnout.client.listing import own_state
from turnout.local.picture import EVENTS_KEPT, Picture
from turnout.text.printable import printable

SPARKS = "▁▂▃▄▅▆▇█"
SPARK_WIDTH = 48
BAR_WIDTH = 24
ROOMY_HEIGHT = 34  #: A terminal of fewer lines gets the compact view, which fits into 24.


@dataclass(frozen=True, slots=True)
class Size:
    """How much is shown of what may be long."""

    staleness: int  #: Rows of the histogram; what is staler is summed in one more.
    warnings: int
    events: int
    padding: int  #: Empty lines around.


ROOMY = Size(staleness=6, warnings=3, events=EVENTS_KEPT, padding=1)
COMPACT = Size(staleness=2, warnings=1, events=3, padding=0)


def panel(picture: Picture, height: int = ROOMY_HEIGHT) -> RenderableType:
    """The whole view, for a terminal of ``height`` lines."""
    size = ROOMY if height >= ROOMY_HEIGHT else COMPACT
    parts: list[RenderableType] = [facts(_rows(picture, size))]
    if picture.events:
        parts += [Text()] * size.padding
        parts += [text("what happened", style="bold cyan"), _events(picture, size.events)]
    return Panel(
        Group(*parts),
        title=text(picture.title, style="bold"),
        subtitle=f"{picture.elapsed_s:.0f} s · {'over' if picture.over else 'Ctrl-C ends it'}",
        border_style="cyan",
        padding=(size.padding, 2),
    )


def text(words: str, style: str = "") -> Text:
    """Words of anybody, as they are shown: nothing in them is markup, an emoji's name, or for the terminal."""
    return Text(printable(words), style=style)


def facts(rows: Iterable[tuple[str, RenderableType]]) -> Table:
    """A label of ours and what it says, a row each."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold cyan", no_wrap=True, min_width=9)
    table.add_column()
    for name, value in rows:
        table.add_row(name, text(value) if isinstance(value, str) else value)
    return table


def plain(picture: Picture) -> str:
    """The same in one line."""
    status = picture.view.status if picture.view else None
    if status is None:
        return f"{picture.elapsed_s:5.1f} s  waiting for the job to answer"
    training, waiting, lost = _devices(picture)
    num_refused = sum(status.refused.values())
    parts = [
        f"{picture.elapsed_s:5.1f} s",
        f"version {status.version}",
        _metric(picture),
        f"devices {training} training, {waiting} waiting, {lost} lost",
        f"{picture.requests_per_s:.0f} requests/s",
        f"{status.counted} counted, {num_refused} refused",
        status.waiting_for,
    ]
    return "  ".join(part for part in parts if part)


def sparkline(values: Iterable[float], width: int = SPARK_WIDTH) -> str:
    """One character a value, from the lowest to the highest; the last ``width`` means where there are more."""
    means = _shrink(list(values), width)
    if not means:
        return ""
    low, high = min(means), max(means)
    scale = (len(SPARKS) - 1) / (high - low) if high > low else 0.0
    return "".join(SPARKS[round((value - low) * scale)] for value in means)


def _shrink(values: list[float], width: int) -> list[float]:
    """At most ``width`` values: the means of equally long stretches."""
    if len(values) <= width:
        return values
    edges = [round(index * len(values) / width) for index in range(width + 1)]
    return [sum(values[low:high]) / (high - low) for low, high in pairwise(edges)]


def _rows(picture: Picture, size: Size) -> Iterable[tuple[str, RenderableType]]:
    status = picture.view.status if picture.view else None
    if status is None:
        yield "job", text("starting", style="dim")
        return
    kind = printable(f"   {status.workflow}, {own_state(status)}")
    yield "model", Text.assemble((f"version {status.version}", "bold"), kind)
    yield "", text(_metric(picture) or "not evaluated yet", style="bold green")
    if len(picture.by_version) > 1:
        yield "", text(sparkline(value for _, value in sorted(picture.by_version.items())), style="green")
    training, waiting, lost = _devices(picture)
    yield "devices", f"{training} training · {waiting} waiting · {lost} lost  of {picture.devices}"
    yield "requests", _requests(picture)
    yield "results", f"{status.counted} counted · {status.duplicates} sent again · {refused(status.refused)}"
    yield "buffer", bar(status.buffered, status.goal, f"{status.buffered} of {status.goal}")
    if status.staleness:
        yield "staleness", histogram(status.staleness, size.staleness)
    yield "waits for", text(status.waiting_for)
    for warning in status.warnings[-size.warnings :]:
        yield "warning", text(warning, style="yellow")


def _metric(picture: Picture) -> str:
    """The metric now, of which version unless it is the newest, and what central training reaches."""
    if picture.value is None:
        return ""
    central = ""
    if picture.central is not None and picture.metric in picture.central:
        central = f" (trained centrally: {_number(picture, picture.central[picture.metric])})"
    return f"{picture.metric} {_number(picture, picture.value)}{picture.behind}{central}"


def _number(picture: Picture, value: float) -> str:
    return f"{100 * value:.1f} %" if picture.metric == "accuracy" else f"{value:.4g}"


def _devices(picture: Picture) -> tuple[int, int, int]:
    """Training, waiting and lost: as the fleet knows it, else as far as the job does."""
    fleet, status = picture.fleet, picture.view.status if picture.view else None
    if fleet is not None:
        return fleet.training, fleet.waiting + fleet.offline, fleet.lost
    assert status is not None
    return status.training, picture.devices - status.training, 0


def _requests(picture: Picture) -> str:
    rate = f"{picture.requests_per_s:.0f}/s"
    fleet = picture.fleet
    if fleet is None or not fleet.latency_p50_ms:
        return rate
    return f"{rate} · answered in {fleet.latency_p50_ms:.1f} ms (median), {fleet.latency_p99_ms:.0f} ms (99 of 100)"


def refused(by_reason: dict[str, int]) -> str:
    """How many results were refused, and why, the most frequent reason first."""
    if not by_reason:
        return "0 refused"
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(by_reason.items(), key=lambda item: -item[1]))
    return f"{sum(by_reason.values())} refused: {reasons}"


def histogram(staleness: dict[int, int], rows_max: int) -> Text:
    """How many results were how many versions behind."""
    rows = [(str(versions), staleness.get(versions, 0)) for versions in range(min(rows_max, max(staleness) + 1))]
    rest = sum(count for versions, count in staleness.items() if versions >= rows_max)
    if rest:
        rows.append((f"{rows_max}+", rest))
    most = max(count for _, count in rows) or 1
    return Text("\n").join(Text.assemble(f"{name:>3} ", bar(count, most, str(count))) for name, count in rows)


def bar(value: float, whole: float, label: str) -> Text:
    """How much of the whole there is."""
    filled = round(BAR_WIDTH * min(1.0, value / whole)) if whole else 0
    return Text.assemble(("█" * filled, "cyan"), ("░" * (BAR_WIDTH - filled), "dim"), f" {label}")


def _events(picture: Picture, shown: int) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for at_s, line in list(picture.events)[-shown:]:
        table.add_row(f"{at_s:.1f} s", text(line))
    return table
