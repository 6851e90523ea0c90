"""``turnout check``: what a job folder is, read in a process of its own because reading it runs its model.py."""

import contextlib
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path

import msgspec

from turnout.cli.advice import NORM_SPARE, advice, norms, shown, stop_rule, training
from turnout.cli.base import SIZES, Sizes
from turnout.cli.device_config import findings_of
from turnout.cli.fleet_trial import FleetTrial
from turnout.cli.trial import DEVICES, Trial, try_once
from turnout.errors import JobFolderError
from turnout.gateway.limits import too_large_as_json, too_large_by_grpc, too_large_to_send
from turnout.job.folder import package
from turnout.job.folder.folder import DEVICE_CODE, EVALUATE, FILES, JobFolder, load_job_folder
from turnout.messages import Message
from turnout.process.environment import PYTHON, environment

TIMEOUT_S = 60.0
TRY_TIMEOUT_S = 20.0  #: Before a run, which shall not have to wait for a slow device longer than that.
TENSORS_SHOWN = 12
#: What 100,000 parameters need as JSON numbers, and as base64 of float32; measured with the updates of the demo.
JSON_BYTES, BASE64_BYTES = 20.6, 16 / 3
#: A job's process at its peak, for each parameter: the model and its blobs, updates on their way, the sum in float32
#: and float64, and the snapshot that is being written. Measured: 461 MB with five million parameters.
JOB_BYTES_PER_PARAMETER = 80
JOB_BYTES = 60 << 20  #: What it takes before it has any model.


class Tensor(Message, frozen=True):
    """One tensor of the model."""

    name: str
    shape: tuple[int, ...]


class Report(Message, frozen=True):
    """What a job folder is. ``error`` is empty unless it cannot be run; then all else is."""

    error: str = ""
    folder: str = ""
    name: str = ""
    parameters: int = 0
    tensors: tuple[Tensor, ...] = ()
    workflow: str = ""
    training: str = ""
    stop: str = ""
    files: tuple[str, ...] = ()
    packed_bytes: int = 0
    model_bytes: int = 0
    result_json_bytes: int = 0
    result_base64_bytes: int = 0
    job_memory_bytes: int = 0
    result_bytes_max: int = 0  #: What the server is assumed to take of a result.
    trial: Trial | None = None
    notes: tuple[str, ...] = ()  #: What of the model was cast, or is carried beside what is trained.
    left_out: tuple[str, ...] = ()  #: What of the folder is not handed to a server, and why.
    warnings: tuple[str, ...] = ()


def examine(folder: Path, *, trial: bool = True, devices: int = DEVICES, sizes: Sizes = SIZES) -> Report:
    """What the folder is, for a server with these bounds. Raises JobFolderError.

    ``trial``: its server.py is tried, and some of the devices.
    """
    with tempfile.TemporaryFile() as packed:
        left_out = package.pack(folder, packed)
        packed_bytes = packed.tell()
    try:
        report = _read_apart(folder, devices if trial else 0, TIMEOUT_S, sizes)
    except subprocess.TimeoutExpired:
        raise JobFolderError(f"{folder}: reading it took longer than {TIMEOUT_S:.0f} s; try --no-trial") from None
    return msgspec.structs.replace(report, packed_bytes=packed_bytes, left_out=left_out)


def try_code(folder: Path, devices: int = DEVICES, timeout_s: float = TRY_TIMEOUT_S) -> bool:
    """Try its code once. False when that takes too long to tell whether it runs. Raises JobFolderError."""
    try:
        _read_apart(folder, devices, timeout_s, SIZES)
    except subprocess.TimeoutExpired:
        return False
    return True


def _read_apart(folder: Path, devices: int, timeout_s: float, sizes: Sizes) -> Report:
    """With no devices, nothing is tried. Raises JobFolderError, and TimeoutExpired."""
    child = subprocess.run(
        [*PYTHON, "turnout.cli.checking", str(folder), *map(str, (devices, *astuple(sizes)))],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=False,
        timeout=timeout_s,
        env=environment(),
        process_group=0,  # Ctrl-C in the terminal is ours to handle; run kills the child then
    )
    try:
        report = msgspec.json.decode(child.stdout, type=Report)
    except (msgspec.DecodeError, msgspec.ValidationError):
        raise JobFolderError(f"{folder}: reading it ended with exit code {child.returncode}") from None
    if report.error:
        raise JobFolderError(report.error)
    return report


def lines(report: Report) -> list[str]:
    """For people."""
    tensors = ", ".join(
        f"{tensor.name} {'x'.join(map(str, tensor.shape))}" for tensor in report.tensors[:TENSORS_SHOWN]
    )
    more = f" and {len(report.tensors) - TENSORS_SHOWN} more" if len(report.tensors) > TENSORS_SHOWN else ""
    facts = [
        ("job", f"{report.name!r}, from {_from(report.files)}"),
        ("model", f"{report.parameters:,} parameters: {tensors}{more}"),
        *(("", note) for note in report.notes),
        ("training", f"{report.workflow}: {report.training}"),
        ("stop", report.stop),
        ("to send", f"{size(report.packed_bytes)} packed for turnout submit"),
        ("a task", f"{size(report.model_bytes)} for a device that takes safetensors"),
        ("a result", f"{size(report.result_base64_bytes)} as base64, {size(report.result_json_bytes)} as JSON numbers"),
        ("", f"assumed: the server takes {size(report.result_bytes_max)} (its --result-bytes-max)"),
        ("memory", f"about {size(report.job_memory_bytes)} for the job's process, however many devices report"),
        *_tried(report.trial),
        *(("left out", line) for line in report.left_out),
        *(("warning", warning) for warning in report.warnings),
    ]
    said = "it can be run, but look at the warnings" if report.warnings else "it can be run"
    command = "run" if DEVICE_CODE in report.files else "submit"  # without it there is nobody to simulate
    return [*(f"{label:<10}{text}" for label, text in facts), f"{said}: turnout {command} {shlex.quote(report.folder)}"]


def _from(files: tuple[str, ...]) -> str:
    """The files that turnout reads, and how many others there are."""
    read = [file for file in files if file in FILES]
    others = len(files) - len(read)
    return ", ".join(read) + (f" and {others:,} other file{'s' * (others > 1)}" if others else "")


def _tried(trial: Trial | None) -> Iterator[tuple[str, str]]:
    if trial is not None and trial.hooks:
        yield "tried", f"{', '.join(trial.hooks)} of server.py"
    if trial is not None and trial.metrics:
        yield "at first", ", ".join(f"{name} {value:.4g}" for name, value in trial.metrics.items())
    if trial is not None and trial.fleet is not None:
        yield from _fleet(trial.fleet)


def _fleet(fleet: FleetTrial) -> Iterator[tuple[str, str]]:
    none = f"; {fleet.sat_out} more have no examples and would sit out" if fleet.sat_out else ""
    if not fleet.trained:
        yield "devices", f"of {fleet.devices}, the {fleet.sat_out} tried have no examples and would sit out"
        return
    least, most = fleet.examples_min, fleet.examples_max
    have = f"{least:g} examples" if least == most else f"{least:g} to {most:g} examples"
    slowest = f"the slowest for {1e3 * fleet.train_s:.1f} ms"
    yield "devices", f"{fleet.trained} of {fleet.devices} trained, {slowest}; they have {have}{none}"
    norms = ", ".join(map(shown, fleet.update_norms))
    yield "updates", f"the largest norm by version, from the first: {norms}; norms fall while a model learns"
    enough = shown(NORM_SPARE * max(fleet.update_norms))
    yield "", f"if you set update_norm_max, let the first versions through: {enough} or more; it bounds less later"


def size(num_bytes: float) -> str:
    """Bytes in a unit that suits them."""
    for unit in ("bytes", "kB", "MB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "bytes" or num_bytes >= 100 else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} GB"


def read(folder: Path, devices: int, sizes: Sizes = SIZES) -> Report:
    """Read the folder in this process, which runs its code; with devices, try it."""
    try:
        job = load_job_folder(folder)
        tried = try_once(job, devices) if devices else None
    except JobFolderError as error:
        return Report(error=str(error))
    if wrong := too_large_to_send(job.schema, sizes.result_bytes_max):
        return Report(error=f"{folder}: {wrong} ({_assumed(sizes)})")
    parameters = job.model.size
    return Report(
        folder=str(folder),
        name=job.spec.name,
        parameters=parameters,
        tensors=tuple(Tensor(tensor.name, tensor.shape) for tensor in job.schema.tensors),
        workflow=str(type(job.spec.training).__struct_config__.tag),
        training=training(job.spec),
        stop=stop_rule(job.spec),
        files=tuple(sorted(file.name for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))),
        model_bytes=4 * parameters,
        result_json_bytes=round(JSON_BYTES * parameters),
        result_base64_bytes=round(BASE64_BYTES * parameters),
        job_memory_bytes=JOB_BYTES + JOB_BYTES_PER_PARAMETER * parameters,
        result_bytes_max=sizes.result_bytes_max,
        trial=tried,
        notes=job.notes,
        warnings=(
            *advice(job.spec, evaluates=job.has_hook(EVALUATE), has_device=job.device is not None),
            *_too_large(job, sizes),
            *map(str, findings_of(job)),
            *(norms(job.spec, tried.fleet.update_norms) if tried and tried.fleet else ()),
        ),
    )


def _assumed(sizes: Sizes) -> str:
    """Where the bound comes from that was too low."""
    given = sizes.result_bytes_max != SIZES.result_bytes_max
    return f"the bound is {'what was given to this command' if given else 'what servers have by default'}"


def _too_large(job: JobFolder, sizes: Sizes) -> Iterator[str]:
    """Whether devices that speak JSON alone could take part."""
    if job.spec.wire.form == "weights":
        wrong = too_large_as_json(job.schema, sizes.result_bytes_max, sizes.weights_model_bytes_max)
        wrong = wrong or too_large_by_grpc(round(JSON_BYTES * job.model.size))
        yield from (wrong,) if wrong else ()


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):  # what the job's own code prints is not the answer
        found = read(Path(sys.argv[1]), int(sys.argv[2]), Sizes(*map(int, sys.argv[3:])))
    print(msgspec.json.encode(found).decode())
