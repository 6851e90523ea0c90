"""How long it takes until something works, and how much disk it takes."""

import importlib.metadata
import re
import subprocess
import sys
import time
from pathlib import Path

from bench.section import Bench, Line, Section
from bench.servers import job_folder, started

NOTES = """\
`turnout up` is over when control and a gateway answer; a job when it says how it is. `ratio to python` is the time of
`python -c pass` over that of the row. The install is the bytes of the wheels' files: turnout and what it needs,
without extras; numpy and scipy are most of it.
"""
PYTHON = "python -c pass"


def measure(bench: Bench) -> None:
    """Each once a repeat, interleaved."""
    for number in bench.repeats(5):
        reference = _timed("-c", "pass")
        bench.add(Line(PYTHON, {"ms": reference * 1e3}, {"ratio to python": 1.0}))
        for words in (["--version"], ["jobs", "--help"]):
            took = _timed("-m", "turnout", *words)
            row = f"turnout {' '.join(words)}"
            bench.add(Line(row, {"ms": took * 1e3}, {"ratio to python": reference / took}))
        began = time.monotonic()
        with started(bench.folder / f"startup-{number}", bench.options.gateways) as server:
            took = time.monotonic() - began
            bench.add(Line("turnout up", {"ms": took * 1e3}, {"ratio to python": reference / took}))
            began = time.monotonic()
            job = server.control.submit(job_folder(bench.folder / f"startup-job-{number}", "startup", 1, 1)).job_id
            while server.control.job(job).status is None:
                time.sleep(0.005)
            took = time.monotonic() - began
            bench.add(Line("a job, from its submission", {"ms": took * 1e3}, {"ratio to python": reference / took}))
    bench.add(Line("the install", {"MB": sum(map(_bytes_of, _distributions("turnout"))) / 1e6}))


def _timed(*words: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _distributions(name: str) -> set[str]:
    """A distribution and all that it needs, by name."""
    found: set[str] = set()
    wanted = [name]
    while wanted:
        each = wanted.pop().lower().replace("_", "-")
        if each not in found:
            found.add(each)
            for text in importlib.metadata.requires(each) or ():
                if "extra ==" not in text and (needed := re.match(r"[\w.-]+", text)) and _has(needed[0]):
                    wanted.append(needed[0])
    return found


def _has(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _bytes_of(name: str) -> int:
    files = importlib.metadata.files(name) or ()
    paths = [Path(str(file.locate())) for file in files]
    if name == "turnout":
        paths += Path(__file__).parents[2].joinpath("src").rglob("*.*")
    return sum(path.stat().st_size for path in paths if path.is_file())


SECTION = Section("startup", "Until something works", NOTES, measure)
