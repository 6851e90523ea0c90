"""Keeps what job processes print, in ``log.txt`` of each job's directory.

The supervisor must not wait for a disk: a thread writes, and lines beyond what it keeps up with are left out, and that
is said.
"""

import queue
import threading
import time
from pathlib import Path

from turnout.storage import rotation
from turnout.text.printable import printable

BYTES_MAX = 2**20  #: At this size the log begins anew; one older part is kept beside it.
LINES_WAITING_MAX = 10_000


class JobLogs:
    """Takes lines from the event loop; ``close`` when no more come."""

    def __init__(self) -> None:
        self._lines: queue.Queue[tuple[Path, str] | None] = queue.Queue(LINES_WAITING_MAX)
        self._left_out = 0
        self._thread = threading.Thread(target=self._write_all, name="job logs", daemon=True)
        self._thread.start()

    def add(self, path: Path, line: str) -> None:
        """Append a line to the log at ``path``, soon; escaped, so that ``cat`` and ``tail`` may show it."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time()))
        try:
            if self._left_out:
                self._lines.put_nowait((path, f"{stamp} ({self._left_out} lines were left out: the disk is slow)\n"))
                self._left_out = 0
            self._lines.put_nowait((path, f"{stamp} {printable(line)}\n"))
        except queue.Full:
            self._left_out += 1

    def close(self, patience_s: float) -> None:
        """Write what waits, though not for longer than this."""
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(patience_s)

    def _write_all(self) -> None:
        while (found := self._lines.get()) is not None:
            path, line = found
            try:
                rotation.append(path, line.encode(), BYTES_MAX)
            except OSError:  # it was printed too, and the job says itself that its disk is not well
                pass
