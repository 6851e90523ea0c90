"""The demo's job folder, made for a fleet of any size."""

import re
from importlib import resources
from pathlib import Path
from typing import Literal

from turnout.job.folder.folder import DEVICE_CODE, JOB_TOML, SERVER_CODE
from turnout.job.folder.initial_model import MODEL_CODE
from turnout.job.folder.spec import RESULTS_MIN

Mode = Literal["buffered", "sync"]

SETTINGS = {"buffered": "buffered.toml", "sync": "rounds.toml"}
#: The most of a fleet that trains at once: a device does one task a version, and some are always away.
PLACES_SHARE = 0.8
#: The most of a fleet whose results close a version. Of two digits each, a few devices know only a few digits: versions
#: made of fewer pull to and fro (fifty devices reached 92 % with shares of 0.1 and 0.2, 98 % with these).
GOAL_SHARE = 0.3
COHORT_SHARE = 0.5


def write_folder(path: Path, mode: Mode, devices: int) -> Path:
    """Write the job folder to ``path``, which must not exist. Small fleets get fewer places and smaller versions."""
    assert devices > 0
    template = resources.files("turnout.demo") / "folder"
    path.mkdir(parents=True)
    for name in (MODEL_CODE, SERVER_CODE, DEVICE_CODE):
        (path / name).write_text((template / name).read_text(encoding="utf-8"), encoding="utf-8")
    settings = (template / SETTINGS[mode]).read_text(encoding="utf-8")
    shares = (
        {"concurrency": PLACES_SHARE, "buffer_goal": GOAL_SHARE} if mode == "buffered" else {"cohort": COHORT_SHARE}
    )
    for key, share in shares.items():
        settings = _at_most(settings, key, max(round(devices * share), RESULTS_MIN))
    (path / JOB_TOML).write_text(settings, encoding="utf-8")
    return path


def _at_most(settings: str, key: str, bound: int) -> str:
    """The same settings, with the integer ``key`` lowered to ``bound`` if it is above."""
    lowered, found = re.subn(
        rf"^{key} = (\d+)\b", lambda match: f"{key} = {min(int(match[1]), bound)}", settings, flags=re.MULTILINE
    )
    assert found == 1, f"{key} is set once"
    return lowered
