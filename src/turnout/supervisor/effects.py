"""What ``children`` decides and ``process`` carries out."""

import signal
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Start:
    """Start the child's process; answer with ``started`` or ``exited``."""

    name: str


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signal to the child's process."""

    name: str
    signal: signal.Signals


@dataclass(frozen=True, slots=True)
class Say:
    """One line for people."""

    line: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The child is over for good; ``code`` is its last exit code, ``reason`` why when it did not end by itself."""

    name: str
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Delayed:
    """The child cannot run for now, for this ``reason``, and is tried again; it runs again when there is none."""

    name: str
    reason: str


Effect = Start | Signal | Say | Ended | Delayed
