"""Shows how far packing and transfers are, on a terminal; says nothing to files and pipes."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from turnout.job.folder.package import Progress


class Moving:
    """A bar for the step that is being done; it takes the place of the one before."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None)

    def step(self, what: str, then: str = "") -> Progress:
        """Tells how far this step is. ``then`` is what is waited for once all its bytes have moved."""

        def progress(done: int, total: int) -> None:
            if then and done >= total:
                self._bar.update(self._task, description=then, completed=0, total=None)
            else:
                self._bar.update(self._task, description=what, completed=done, total=total or None)

        return progress


@contextmanager
def moving() -> Iterator[Moving]:
    """A bar on stderr while the block runs."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield Moving(bar)
