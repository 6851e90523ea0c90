"""Where a run is shown: a live panel on a terminal, else a line a second."""

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live

from turnout.local.picture import Picture
from turnout.local.view import panel, plain, text

LINE_INTERVAL_S = 1.0


class Screen(Protocol):
    """Shows pictures while it is entered."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, picture: Picture) -> None:
        """The picture has changed."""

    def said(self, picture: Picture, line: str) -> None:
        """Something happened that people should read; it is in the picture too."""


class LiveScreen:
    """A panel that is drawn again and again in its place, and stays when the run is over."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, picture: Picture) -> None:
        self._live.update(panel(picture, self._live.console.height), refresh=True)

    def said(self, picture: Picture, line: str) -> None:
        self.show(picture)


class PlainScreen:
    """One line a second, and one for each thing that happened: for files, pipes and logs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, picture: Picture) -> None:
        now = time.monotonic()
        if now >= self._next_at:
            self._next_at = now + LINE_INTERVAL_S
            self._print(plain(picture))

    def said(self, picture: Picture, line: str) -> None:
        self._print(f"{picture.elapsed_s:5.1f} s  {line}")

    def _print(self, line: str) -> None:
        self._console.print(text(line), soft_wrap=True)


def screen_for(console: Console) -> Screen:
    """The one that suits where the console writes to."""
    return LiveScreen(console) if console.is_terminal else PlainScreen(console)
