"""A job, described in Python: ``Job(...)`` writes the same folder as a person would."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from turnout.api.capture import capture
from turnout.api.models import model_file
from turnout.api.toml_text import toml_text
from turnout.errors import JobFolderError
from turnout.job.folder.folder import DEVICE_CODE, DEVICE_CONFIG, DEVICE_CONFIG_OF, JOB_TOML, SERVER_CODE
from turnout.job.folder.initial_model import MODEL_FILE
from turnout.job.folder.spec import REMOVED, JobSpec
from turnout.job.folder.toml import decode_toml

Table = Mapping[str, Any]


class Job:
    """What to train and how; it is checked here, where it is written, and runs when it is run or submitted.

    ``model``: what training starts from: arrays by name, a torch.nn.Module, or a .safetensors or .npz file.
    ``trainer(index, devices, seed)``: gives the trainer of device ``index``; only simulated devices use it.
    ``evaluate(model)``: measures a version on the server; ``hooks`` are the server's other functions by name.
    ``training``, ``optimizer``, ``device``, ``stop`` and further keywords are the tables of job.toml.
    ``device_config``: sent to devices as it is; ``device_configs``: to those of "android" or "ios" in its place.

    Functions are written into the folder by name where they can be imported, else as source with what they use, as it
    is now. Raises JobFolderError, of one line, for a wrong setting and for a function that cannot be written.
    """

    def __init__(
        self,
        name: str,
        model: Any,
        *,
        trainer: Callable[..., Any] | None = None,
        evaluate: Callable[..., Any] | None = None,
        hooks: Mapping[str, Callable[..., Any]] | None = None,
        training: Table | None = None,
        optimizer: Table | None = None,
        device: Table | None = None,
        stop: Table | None = None,
        device_config: Any = None,
        device_configs: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        tables = {"training": training, "optimizer": optimizer, "device": device, "stop": stop, **settings}
        text = toml_text({"name": name, **tables})
        self.spec = decode_toml(text, JobSpec, "Job", REMOVED)
        self.files: dict[str, bytes] = {JOB_TOML: text.encode(), MODEL_FILE: model_file(model)}
        if trainer is not None:
            self.files |= capture({"trainer": _callable("trainer", trainer)}, DEVICE_CODE)
        server = {"evaluate": evaluate, **(hooks or {})}
        if written := {role: _callable(role, function) for role, function in server.items() if function is not None}:
            self.files |= capture(written, SERVER_CODE)
        if device_config is not None:
            self.files[DEVICE_CONFIG] = msgspec.json.encode(device_config)
        for platform, config in (device_configs or {}).items():
            self.files[_config_file(platform)] = msgspec.json.encode(config)

    @property
    def name(self) -> str:
        """What devices ask for."""
        return self.spec.name

    def write(self, folder: str | Path) -> Path:
        """Write the job folder, which must be new or empty; ``turnout run`` and ``turnout submit`` take it."""
        path = Path(folder)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise JobFolderError(f"{path} is not empty; name a new folder")
        path.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (path / name).write_bytes(content)
        return path

    def __repr__(self) -> str:
        return f"<turnout.Job {self.name!r}: {', '.join(sorted(self.files))}>"


def _config_file(platform: str) -> str:
    if platform not in DEVICE_CONFIG_OF:
        names = ", ".join(map(repr, DEVICE_CONFIG_OF))
        raise JobFolderError(f"device_configs has {platform!r}; FLARE has an SDK for {names}")
    return DEVICE_CONFIG_OF[platform]


def _callable(role: str, function: Any) -> Callable[..., Any]:
    if not callable(function):
        raise JobFolderError(f"{role} is a {type(function).__name__}; expected is a function")
    made: Callable[..., Any] = function
    return made
