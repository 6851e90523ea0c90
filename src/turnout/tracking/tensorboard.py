"""Writes a job's numbers where TensorBoard reads them."""

from pathlib import Path

from turnout.errors import UsageError


class TensorBoard:
    """A tracker; the files lie in ``folder``."""

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise UsageError("tensorboardX is not installed: pip install 'turnout[tensorboard]'") from None
        self._writer = SummaryWriter(str(folder))

    def log(self, numbers: dict[str, float], step: int, at: float) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step, at)
        self._writer.flush()

    def close(self, completed: bool) -> None:
        self._writer.close()
