"""The Python files of a job folder, run. They may import each other, and whatever modules lie beside them.

The folder is on the path of the process that runs them: behind the standard library, so that a file of any name breaks
nothing, and before what is installed.
"""

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from turnout.errors import JobFolderError

INSTALLED = ("site-packages", "dist-packages")

_folder = ""  #: On the path now, because we have put it there.
_before: frozenset[str] = frozenset()  #: The modules that were loaded when it came.


def load_module(file: Path) -> ModuleType:
    """Run a Python file of a job folder. Raises JobFolderError with the reason and the line if it fails."""
    _be_beside(str(file.absolute().parent))
    spec = importlib.util.spec_from_file_location(f"turnout_job_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise JobFolderError(f"{file.name}: not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the folder's own code may fail in any way
        raise JobFolderError(f"{file.name}: {reason(error, file)}") from error
    return module


def reason(error: Exception, file: Path) -> str:
    """What went wrong in the folder's code, and at which of its lines."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(file.absolute())]
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{text} (line {lines[-1]})" if lines else text


def _be_beside(folder: str) -> None:
    """Have this folder on the path, and no other job's: two jobs may call different modules by one name."""
    global _folder, _before
    importlib.invalidate_caches()  # files may have been written a moment ago
    if folder == _folder:
        return
    if _folder:
        sys.path[:] = [entry for entry in sys.path if entry != _folder]
        for name in sys.modules.keys() - _before:
            if (getattr(sys.modules[name], "__file__", None) or "").startswith(f"{_folder}/"):
                del sys.modules[name]
        _folder = ""
    if folder not in sys.path:
        at = next((at for at, entry in enumerate(sys.path) if Path(entry).name in INSTALLED), len(sys.path))
        sys.path.insert(at, folder)
        _folder, _before = folder, frozenset(sys.modules)
