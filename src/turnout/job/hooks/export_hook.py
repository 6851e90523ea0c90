"""The job's own code that makes of a model what ExecuTorch devices load, in a process of its own.

Runs in a worker (``turnout.process.pool``) other than that of ``evaluate_hook.py``: devices wait for this one.
``setup`` gets the path of the job folder's ``server.py``.
"""

from typing import Any

from turnout.errors import JobFolderError
from turnout.job.folder.folder import EXPORT
from turnout.job.hooks.evaluate_hook import Hook, loaded
from turnout.wire.model_files import read_arrays

EXPORT_BYTES_MAX = 64 * 1024 * 1024  #: Every gateway keeps it as base64, and every device gets it in one answer.

_export: Hook


def setup(path: memoryview) -> None:
    """Load ``export`` from the file named by ``path``. Raises JobFolderError when it has none."""
    global _export
    _export = loaded(path, EXPORT)


def export(model: memoryview) -> bytes:
    """Call the hook with the model's arrays by name; returns the file that it made."""
    return checked_export(_export(read_arrays(model)))


def checked_export(made: Any) -> bytes:
    """What a hook returned, if a device can be sent it. Raises JobFolderError."""
    if not isinstance(made, bytes | bytearray):
        raise JobFolderError(f"export returned {type(made).__name__}; expected are the bytes of a .pte file")
    if not made:
        raise JobFolderError("export returned no bytes; expected are those of a .pte file")
    if len(made) > EXPORT_BYTES_MAX:
        raise JobFolderError(f"export returned {len(made):,} bytes; a device can be sent {EXPORT_BYTES_MAX:,} at most")
    return bytes(made)
