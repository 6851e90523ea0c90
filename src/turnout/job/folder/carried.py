"""What of a job's model is not trained: kept in a file of the job, and put into each model file that people get."""

from pathlib import Path

from turnout.job.folder.directory import CARRIED
from turnout.storage import durable
from turnout.wire.model_files import Arrays, read_arrays, write_arrays


def keep_carried(directory: Path, carried: Arrays) -> None:
    """Have the file in the job's directory, when there is anything to carry. Durable when this returns."""
    if carried:
        durable.write(directory / CARRIED, write_arrays(carried))
    else:
        (directory / CARRIED).unlink(missing_ok=True)


def kept_carried(directory: Path) -> Arrays:
    """What is in the file; nothing without one. Raises DeviceError when it is damaged."""
    try:
        return read_arrays((directory / CARRIED).read_bytes())
    except FileNotFoundError:
        return {}
