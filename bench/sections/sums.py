"""Aggregation alone, beside what memory and BLAS can do."""

import os
import time
from collections.abc import Callable

import numpy as np
from scipy.linalg import blas

from bench import machine
from bench.section import Bench, Line, Section
from bench.table import count
from turnout.aggregator.contribution import Contribution
from turnout.aggregator.mean import MeanAggregator

NOTES = """\
One update after the other into the running sum of a job, in this process: `check` looks whether all numbers are
finite and the norm is in bounds, `add` is a saxpy into float32 and every 64th time a sum into float64. `memory` is
what the process has more after 10 000 updates of 100 000 parameters than after 10.
"""
SIZES = (1_000, 100_000, 1_000_000)
BYTES = 400_000_000  #: Of updates, in a measurement.
FEW, MANY = 10, 10_000
RATIO = "of saxpy"


def measure(bench: Bench) -> None:
    """Rows of one size follow one another in each repeat."""
    share = 20 if bench.quick else 1
    for _ in bench.repeats(5):
        for size in SIZES:
            _size(bench, size, max(BYTES // share // (4 * size), 3))
    aggregator, update = MeanAggregator(100_000, 1.0), np.full(100_000, 0.5, np.float32)
    _add(aggregator, update, FEW)
    before = _memory()
    _add(aggregator, update, MANY // share)
    bench.add(Line("memory, 100 000 parameters", {"kB more": (_memory() - before) / 1024}))


def _size(bench: Bench, size: int, times: int) -> None:
    update = np.linspace(-1, 1, size, dtype=np.float32)
    target, aggregator = np.zeros(size, np.float32), MeanAggregator(size, 1.0)
    rows: dict[str, Callable[[], object]] = {
        "memcpy": lambda: np.copyto(target, update),
        "saxpy": lambda: blas.saxpy(update, target, a=1e-9),
        "check and add": lambda: _add(aggregator, update, 1),
    }
    took = {row: _timed(work, times) for row, work in rows.items()}
    for row, each in took.items():
        values = {"µs": each * 1e6, "GB/s": 4 * size / each / 1e9}
        bench.add(Line(f"{row}, {count(size)} parameters", values, {RATIO: took["saxpy"] / each}))


def _add(aggregator: MeanAggregator, update: "np.ndarray[tuple[int], np.dtype[np.float32]]", times: int) -> None:
    for _ in range(times):
        assert isinstance(aggregator.check(update, 1.0), float)
        aggregator.add(Contribution(update, (0,), 1.0, 1.0))


def _timed(work: Callable[[], object], times: int) -> float:
    """Seconds of CPU for one of so many, which a busy machine changes less than time."""
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times


def _memory() -> int:
    return machine.memory_bytes(os.getpid())


SECTION = Section("sums", "Adding updates", NOTES, measure)
