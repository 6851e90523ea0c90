"""Follows one job to its end: the moments at which something is new, and the screens that show them."""

import time
from collections.abc import Iterator
from typing import Protocol

import msgspec
from rich.console import Console
from rich.live import Live

from turnout.cli.base import print_json
from turnout.cli.watch_view import line, panel, words
from turnout.client.client import ControlClient
from turnout.client.view import UNFINISHED, JobState, JobView
from turnout.errors import UnreachableError
from turnout.local.picture import Picture
from turnout.messages import JobEvent
from turnout.process.exits import EXIT_DONE, EXIT_INTERRUPTED, EXIT_NOT_COMPLETED
from turnout.process.streams import tell

INTERVAL_S = 1.0
SILENT_MAX_S = 60.0  #: A server that is away for longer is given up.


class Screen(Protocol):
    """Where a watched job is shown."""

    def show(self, picture: Picture) -> None:
        """The picture has changed."""

    def said(self, picture: Picture, text: str) -> None:
        """Something happened; it is in the picture too."""


class LiveScreen:
    """A panel that is drawn again and again in its place."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, picture: Picture) -> None:
        self._live.update(panel(picture, self._live.console.height), refresh=True)

    def said(self, picture: Picture, text: str) -> None:
        self.show(picture)


class PlainScreen:
    """A line for what happened, and one whenever the job stands elsewhere than at the last line."""

    def __init__(self) -> None:
        self._last = ""

    def show(self, picture: Picture) -> None:
        text = line(picture)
        if text != self._last:
            self._last = text
            tell(f"{picture.elapsed_s:6.1f} s  {text}")

    def said(self, picture: Picture, text: str) -> None:
        tell(f"{picture.elapsed_s:6.1f} s  {text}")


class JsonScreen:
    """The job as the API shows it, a line each time it has changed."""

    def __init__(self) -> None:
        self._last: JobView | None = None

    def show(self, picture: Picture) -> None:
        if picture.view != self._last:
            self._last = picture.view
            print_json(picture.view)

    def said(self, picture: Picture, text: str) -> None:
        pass


def follow(client: ControlClient, view: JobView, as_json: bool) -> int:
    """Show the job until it has ended; the exit code that says how."""
    console = Console()
    if as_json:
        return _follow(client, view, JsonScreen())
    if not console.is_terminal:
        return _told(_follow(client, view, PlainScreen()), view.job_id)
    with Live(console=console, auto_refresh=False) as live:
        code = _follow(client, view, LiveScreen(live))
    return _told(code, view.job_id)


def _told(code: int, job_id: str) -> int:
    if code == EXIT_INTERRUPTED:
        tell(f"the job continues; watch it again with: turnout watch {job_id}")
    else:
        tell(f"get its model: turnout model {job_id}")
    return code


def _follow(client: ControlClient, view: JobView, screen: Screen) -> int:
    picture = Picture(f"{view.job_id}, named {view.name!r}", 0, time.monotonic())
    history = client.history(view.job_id)
    for event in history.events:
        picture.measured(event.version, event.metrics)
    try:
        picture.saw_job(view, time.monotonic())
        screen.show(picture)
        for moment in moments(client, view, history.last_event_id):
            now = picture.now = time.monotonic()
            if isinstance(moment, JobView):
                view = moment
                picture.saw_job(view, now)
                screen.show(picture)
                continue
            if isinstance(moment, JobEvent):
                picture.measured(moment.version, moment.metrics)
            text = words(moment) if isinstance(moment, JobEvent) else moment
            picture.said(text, now)
            screen.said(picture, text)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    picture.over = True
    screen.show(picture)
    return EXIT_DONE if view.state is JobState.COMPLETED else EXIT_NOT_COMPLETED


def moments(client: ControlClient, view: JobView, after: str) -> Iterator[JobView | JobEvent | str]:
    """What is new: events later than ``after``, the job about once a second until it has ended, and what went wrong.

    Raises UnreachableError when the server is away for too long.
    """
    heard_at, away = time.monotonic(), False
    while view.state in UNFINISHED:
        try:
            for event in client.events(view.job_id, after):
                heard_at, after, away = time.monotonic(), event.id or after, False
                if event.kind == "event":
                    yield msgspec.json.decode(event.data, type=JobEvent)
                else:
                    view = client.job(view.job_id)
                    yield view
                if view.state not in UNFINISHED:
                    return
        except UnreachableError as error:
            if time.monotonic() - heard_at > SILENT_MAX_S:
                raise
            if not away:
                yield f"{error}; watching for it to come back, for {SILENT_MAX_S:.0f} s"
            away = True
        time.sleep(INTERVAL_S)
