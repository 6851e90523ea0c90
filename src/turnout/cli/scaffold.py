"""``turnout new``: a job folder that runs as it is.

The code in it is that of ``template/``; its job.toml is made from the settings' own descriptions (``job_toml.py``).
"""

from importlib import resources
from pathlib import Path

import msgspec

from turnout.cli.job_toml import job_toml
from turnout.errors import UsageError
from turnout.job.folder.folder import DEVICE_CODE, JOB_TOML, SERVER_CODE
from turnout.job.folder.initial_model import MODEL_CODE
from turnout.job.folder.spec import Name

CODE = (MODEL_CODE, DEVICE_CODE, SERVER_CODE)
#: What suits a few dozen simulated devices that take a fifth of a second for a task; all else keeps its default.
SETTINGS: dict[str, object] = {
    "training.concurrency": 40,
    "training.buffer_goal": 10,
    "device": {"steps": 5, "learning_rate": 0.5},
    "selection.thinning_window_s": 0.1,
    "pacing.check_ins_per_s": 1000.0,
    "pacing.wait_min_s": 0.2,
    "pacing.wait_max_s": 30.0,
    "leases.min_s": 2.0,
    "leases.max_s": 60.0,
    "evaluation.metric": "accuracy",
    "stop.versions": 20,
    "stop.time_s": 300.0,
}


def write(folder: Path, name: str) -> tuple[str, ...]:
    """Write the folder; the names of its files. Raises UsageError when something is there, or the name is none."""
    try:
        if not name.isprintable():  # as the name of a folder that cannot be decoded here
            raise msgspec.ValidationError
        msgspec.convert(name, Name)
    except msgspec.ValidationError:
        raise UsageError(f"{name!r} is not a valid job name; give --name, 1 to 128 printable characters") from None
    template = resources.files("turnout.cli") / "template"
    texts = {JOB_TOML: job_toml({"name": name, **SETTINGS})}
    texts |= {file: (template / file).read_text(encoding="utf-8") for file in CODE}
    try:
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty; choose a folder that does not exist yet")
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in texts.items():
            (folder / file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}") from error
    return tuple(texts)
