"""What can be seen before a run that would come to nothing."""

import os
from pathlib import Path

from turnout.errors import UsageError
from turnout.job.folder.spec import BufferedTraining, RoundsTraining
from turnout.job.workflow.rounds import quorum_of


def check_devices(training: BufferedTraining | RoundsTraining, devices: int) -> None:
    """Raise UsageError when so few devices can close no version, for each trains a version once."""
    match training:
        case BufferedTraining():
            needed, setting, value = training.buffer_goal, "buffer_goal", training.buffer_goal
        case RoundsTraining():
            needed, setting, value = quorum_of(training.cohort, training.quorum), "cohort", training.cohort
    needed = max(needed, training.least)
    if devices < needed:
        few = "1 device is" if devices == 1 else f"{devices} devices are"
        raise UsageError(
            f"{few} too few: each trains a version once, and with {setting} = {value} a version takes "
            f"{needed} of them; give more devices, or lower {setting}"
        )


def check_target(model: Path) -> None:
    """Raise UsageError when the model cannot be saved there: better now than when it is trained."""
    try:
        model.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{model} cannot be written: {error.strerror}") from error
    if model.is_dir() or not os.access(model.parent, os.W_OK):
        raise UsageError(f"{model} cannot be written; give a file in a folder that you may write to")
