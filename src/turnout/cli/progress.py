"""Shows how far a transfer is, on a terminal; says nothing to files and pipes."""

from collections.abc import Iterator
from contextlib import contextmanager

from turnout.control.client import Progress


@contextmanager
def moving(what: str, then: str = "") -> Iterator[Progress]:
    """A bar on stderr while the block runs. ``then`` is what happens once all bytes have moved."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(what, total=None)

        def progress(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total or None)
            if then and done >= total:
                bars.update(task, description=then, total=None)

        yield progress
