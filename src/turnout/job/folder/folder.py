"""A job folder: all that a person writes to have a model trained, read and checked as a whole.

    job.toml             the settings (``spec.py``)
    model.safetensors    the model to start from; or
    model.py             with ``initial_model() -> dict[str, ndarray]``, float32
    device_config.json   sent to devices as it is; optional. FLARE's mobile SDKs get it in their own form
                         (``device_configs.py``), or device_config.android.json and device_config.ios.json as they are
    server.py            with ``evaluate(model) -> dict[str, float]``, or ``export(model) -> bytes``; optional
    device.py            with ``trainer(index, devices, seed) -> Trainer``, for Python devices; optional

The code in it is that of the person who runs the job, and is trusted. Every error is a JobFolderError of one line.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from turnout.errors import JobFolderError
from turnout.job.folder.device_configs import by_platform
from turnout.job.folder.initial_model import MODEL_CODE, MODEL_FILE, initial_model
from turnout.job.folder.server_code import has, names_in
from turnout.job.folder.spec import REMOVED, JobSpec
from turnout.job.folder.toml import decode_toml
from turnout.messages import ModelSchema
from turnout.text.files import read_text
from turnout.wire.edge_headers import PHONES
from turnout.wire.forms import EXECUTORCH
from turnout.wire.model_files import Arrays, as_used, with_carried
from turnout.wire.tensors import Vector, to_safetensors

JOB_TOML = "job.toml"
DEVICE_CONFIG = "device_config.json"
DEVICE_CONFIG_OF = {platform: f"device_config.{platform}.json" for platform in PHONES}
SERVER_CODE = "server.py"
DEVICE_CODE = "device.py"
#: What is read of a folder.
FILES = (JOB_TOML, MODEL_FILE, MODEL_CODE, DEVICE_CONFIG, *DEVICE_CONFIG_OF.values(), SERVER_CODE, DEVICE_CODE)
EVALUATE = "evaluate"  #: The hook that measures a model.
EXPORT = "export"  #: The hook that makes what ExecuTorch devices load.
SELECT = "select"  #: The hook that gives a device its chance of a place.
WEIGH = "weigh"  #: The hook that gives a result its weight.
#: How deep a device config may nest: it is written and read again, inside other JSON, by every process and device.
DEVICE_CONFIG_DEPTH_MAX = 64


@dataclass(frozen=True, slots=True)
class JobFolder:
    """A job folder that can be run."""

    path: Path
    spec: JobSpec
    device_config: Any  #: The content of device_config.json; None without it.
    model: Vector  #: What training starts from.
    schema: ModelSchema
    server: Path | None  #: server.py, if there is one.
    device: Path | None  #: device.py, if there is one.
    names: frozenset[str] = frozenset()  #: What server.py defines, and may be a hook.
    carried: Arrays = field(default_factory=dict)  #: What of the model is not trained, but in every file of it.
    draws: int | None = None  #: Seeds selection in a run with simulated devices; on a server the system does.
    notes: tuple[str, ...] = ()  #: What of the model was cast or is carried, in lines.
    device_configs: dict[str, Any] = field(default_factory=dict)  #: By platform, what it is told in its place.
    own_configs: frozenset[str] = frozenset()  #: The platforms that have a file of their own.

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The initial model as its own code gets it."""
        return as_used(self.model, self.schema, self.carried)

    def file_of(self, model: Vector) -> bytes:
        """A version in safetensors, as people and the folder's own code get it."""
        return with_carried(to_safetensors(model, self.schema), self.carried)

    def has_hook(self, name: str) -> bool:
        """Whether server.py has, or may have, this function."""
        return has(self.names, name)


def load_job_folder(path: Path, seed: int | None = None, *, accepted: bool = False) -> JobFolder:
    """Read a job folder and run its model.py. Raises JobFolderError.

    ``seed`` is that of a run with simulated devices; it goes before the seed of job.toml. ``accepted``: a server has
    taken the folder, perhaps one of an earlier release.
    """
    if not path.is_dir():
        raise JobFolderError(f"{path}: no such folder; expected is a job folder with a {JOB_TOML}")
    spec = settings_of(path, accepted=accepted)
    if seed is not None:
        spec = msgspec.structs.replace(spec, seed=seed)
    if spec.needs_evaluation and not (path / SERVER_CODE).is_file():
        raise JobFolderError(
            f"{JOB_TOML}: metric is what evaluate(model) in {SERVER_CODE} measures; there is no {SERVER_CODE} in {path}"
        )
    server = _optional(path / SERVER_CODE)
    names = names_in(server) if server is not None else frozenset()
    start = initial_model(path, spec.seed or 0)
    device_config = _device_config(path, DEVICE_CONFIG)
    own = _own_configs(path)
    folder = JobFolder(
        path=path,
        spec=spec,
        device_config=device_config,
        model=start.model,
        schema=msgspec.structs.replace(start.schema, form=spec.wire.form),
        carried=start.carried,
        draws=seed,
        notes=start.notes,
        server=server,
        device=_optional(path / DEVICE_CODE),
        names=names,
        device_configs=by_platform(device_config, own, spec.device) if spec.wire.form == EXECUTORCH.name else own,
        own_configs=frozenset(own),
    )
    _check_hooks(folder)
    _check_form(folder)
    return folder


def settings_of(path: Path, *, accepted: bool = False) -> JobSpec:
    """What job.toml says; nothing of the folder is run. Raises JobFolderError."""
    return decode_toml(read_text(path, JOB_TOML), JobSpec, JOB_TOML, REMOVED, accepted=accepted)


def _check_hooks(folder: JobFolder) -> None:
    """Whether what the settings count on is there."""
    if folder.spec.needs_evaluation and not folder.has_hook(EVALUATE):
        raise JobFolderError(
            f"{JOB_TOML}: metric is what evaluate(model) in {SERVER_CODE} measures; {SERVER_CODE} has no such function"
        )


def _check_form(folder: JobFolder) -> None:
    """Whether devices can be told this model in the form of [wire]."""
    form, numbers = folder.spec.wire.form, folder.model.size
    if form == "number" and numbers != 1:
        raise JobFolderError(
            f'{JOB_TOML}: form = "number" under [wire] is for a model of exactly one parameter; this one has '
            f'{numbers:,}; use form = "weights"'
        )
    if form == "executorch" and not folder.has_hook(EXPORT):
        raise JobFolderError(
            f'{JOB_TOML}: form = "executorch" under [wire] needs a function export(model) -> bytes in {SERVER_CODE}, '
            "which gives the .pte file that devices train; there is none"
        )


def _optional(file: Path) -> Path | None:
    return file if file.is_file() else None


def _own_configs(path: Path) -> dict[str, Any]:
    files = {platform: name for platform, name in DEVICE_CONFIG_OF.items() if (path / name).exists()}
    return {platform: _device_config(path, name) for platform, name in files.items()}


def _device_config(path: Path, name: str) -> Any:
    if not (path / name).exists():
        return None
    try:
        config = msgspec.json.decode(read_text(path, name))
    except RecursionError:
        raise _too_deep(name) from None
    except msgspec.DecodeError as error:
        raise JobFolderError(f"{name}: not valid JSON: {error}") from None
    if _nests_deeper(config, DEVICE_CONFIG_DEPTH_MAX):
        raise _too_deep(name)
    return config


def _too_deep(name: str) -> JobFolderError:
    return JobFolderError(
        f"{name}: objects and lists are nested more than {DEVICE_CONFIG_DEPTH_MAX} deep; make it flatter"
    )


def _nests_deeper(value: Any, depth_max: int) -> bool:
    """Whether objects and lists are nested deeper than this. Goes level by level: nothing recurses."""
    level = [value]
    for _ in range(depth_max + 1):
        containers = [each for each in level if isinstance(each, dict | list)]
        if not containers:
            return False
        level = [inner for each in containers for inner in (each.values() if isinstance(each, dict) else each)]
    return True
