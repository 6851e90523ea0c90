"""Draws a watched job: as a live panel for a terminal, as a line for anything else. Pure."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from turnout.client.listing import own_state
from turnout.client.view import UNFINISHED
from turnout.local.picture import Picture
from turnout.local.view import bar, facts, histogram, refused, sparkline, text
from turnout.messages import JobEvent, JobStatus
from turnout.text.printable import printable

ROOMY_HEIGHT = 30  #: A terminal of fewer lines is shown fewer rows of what may be long.


def panel(picture: Picture, height: int = ROOMY_HEIGHT) -> RenderableType:
    """The whole view, for a terminal of ``height`` lines."""
    roomy = height >= ROOMY_HEIGHT
    parts: list[RenderableType] = [facts(_rows(picture, roomy))]
    events = list(picture.events)[-(8 if roomy else 3) :]
    if events:
        happened = Table.grid(padding=(0, 2))
        happened.add_column(style="dim", justify="right", no_wrap=True)
        happened.add_column(overflow="fold")
        for at_s, what in events:
            happened.add_row(f"{at_s:.0f} s", text(what))
        parts += [text("what happened", style="bold cyan"), happened]
    end = "over" if picture.over else "Ctrl-C stops watching; the job continues"
    return Panel(
        Group(*parts), title=text(picture.title, style="bold"), subtitle=end, border_style="cyan", padding=(0, 2)
    )


def line(picture: Picture) -> str:
    """The same in one line, without what changes all the time."""
    view = picture.view
    status = view.status if view else None
    if view is None or status is None:
        return "waiting for the job to answer"
    if view.state not in UNFINISHED:
        return f"{view.state}: version {status.version}  {_metrics(status)}  {view.reason}"
    parts = [
        f"version {status.version}",
        _metrics(status),
        f"{status.training} training, about {status.waiting} waiting",
        f"{status.counted} counted, {sum(status.refused.values())} refused",
        view.reason or status.waiting_for,
    ]
    return "  ".join(part for part in parts if part)


def words(event: JobEvent) -> str:
    """What happened, as a sentence without its end."""
    match event.kind:
        case "started":
            return f"the job's process began at version {event.version}" + (f": {event.text}" if event.text else "")
        case "published" if event.version == 0:
            return "version 0, the initial model"
        case "published":
            took = f" after {event.took_s:.1f} s" if event.took_s else ""
            return f"version {event.version}{took}, of {event.counted} results so far"
        case "evaluated":
            return f"version {event.version}: {_values(event.metrics)}"
        case "evaluation_failed":
            return f"evaluation fails since version {event.version}: {event.text}"
        case "state":
            return f"the job is {event.text.lower()}"
        case "finished":
            return f"finished: {event.text}"
    return f"{event.kind}: {event.text}"


def _rows(picture: Picture, roomy: bool) -> Iterable[tuple[str, RenderableType]]:
    view = picture.view
    status = view.status if view else None
    if view is None or status is None:
        yield "job", text("starting", style="dim")
        return
    state = own_state(status) if view.state in UNFINISHED else view.state.value
    yield "model", Text.assemble((f"version {status.version}", "bold"), printable(f"   {status.workflow}, {state}"))
    yield "", text(_metrics(status) or "not evaluated yet", style="bold green")
    if len(picture.by_version) > 1:
        yield "", text(sparkline(value for _, value in sorted(picture.by_version.items())), style="green")
    yield (
        "devices",
        f"{status.training} training of {status.places} places · about {status.waiting} waiting · {status.lost} lost",
    )
    yield "results", f"{status.counted} counted · {status.duplicates} sent again · {refused(status.refused)}"
    yield "buffer", bar(status.buffered, status.goal, f"{status.buffered} of {status.goal}")
    if status.staleness:
        yield "staleness", histogram(status.staleness, 6 if roomy else 2)
    yield ("because", text(view.reason)) if view.reason else ("waits for", text(status.waiting_for))
    for warning in status.warnings[-(3 if roomy else 1) :]:
        yield "warning", text(warning, style="yellow")


def _metrics(status: JobStatus) -> str:
    """With the version that they are of, where that is not the one beside them."""
    behind = f" (of version {status.metrics_version})" if status.metrics_version != status.version else ""
    return f"{_values(status.metrics)}{behind}" if status.metrics else ""


def _values(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
