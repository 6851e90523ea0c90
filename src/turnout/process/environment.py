"""What a process of ours is started with: its interpreter, and its environment variables."""

import os
import sys
from collections.abc import Mapping

#: Runs a module of ours. ``-P`` keeps the current folder off the import path, so that no file of a user's can stand in
#: for it.
PYTHON = (sys.executable, "-P", "-m")
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

#: What a job's process gets of the environment: it runs what somebody has handed in, and whatever else was set for the
#: server, such as a key of a cloud, is nobody's business there.
JOB_NAMES = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG", "LANGUAGE", "TERM", "VIRTUAL_ENV"}
    | {"LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "TURNOUT_JOURNAL"}
)
#: And every variable that begins like this: the locale, Python, threads, graphics cards, and what is meant for jobs.
JOB_BEGINNINGS = (
    *("LC_", "PYTHON", "OMP_", "OPENBLAS_", "MKL_", "KMP_", "GOMP_", "BLIS_", "NUMEXPR_", "VECLIB_"),
    *("CUDA_", "NVIDIA_", "CUBLAS_", "HIP_", "ROCR_", "HSA_", "XLA_", "TORCH_", "PYTORCH_", "TURNOUT_JOB_"),
)


def job_environment(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """``environment``, or what is ``given`` in its place, as far as it is for the code of a job."""
    every = environment() if given is None else given
    return {name: value for name, value in every.items() if name in JOB_NAMES or name.startswith(JOB_BEGINNINGS)}


def environment() -> dict[str, str]:
    """Ours, with one BLAS thread per process unless the user said otherwise: processes share the cores already.

    What children print comes through pipes of ours, which are read as UTF-8 whatever the terminal's encoding is.
    """
    pipes = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8:backslashreplace"}
    return {**dict.fromkeys(_ONE_THREAD, "1"), **os.environ, **pipes}
