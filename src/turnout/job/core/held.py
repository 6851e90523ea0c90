"""Requests that wait, in their order, for the version that is being closed; bounded in number and in bytes."""

from collections import deque
from dataclasses import dataclass, field

from turnout.job.core.events import Result, TaskAsked

HELD_MAX = 10_000  #: Beyond it a device hears RETRY.
HELD_BYTES_MAX = 256 * 2**20  #: Of their updates: what gateways may have given up on must not fill the memory.


@dataclass(slots=True)
class Held:
    """A queue."""

    bytes_max: int = HELD_BYTES_MAX
    _events: deque[TaskAsked | Result] = field(default_factory=deque)
    _bytes: int = 0

    def __len__(self) -> int:
        return len(self._events)

    def add(self, event: TaskAsked | Result) -> bool:
        """False: no room, which changes nothing."""
        size = _update_bytes(event)
        if len(self._events) >= HELD_MAX or self._bytes + size > self.bytes_max:
            return False
        self._events.append(event)
        self._bytes += size
        return True

    def next(self) -> TaskAsked | Result:
        event = self._events.popleft()
        self._bytes -= _update_bytes(event)
        return event


def _update_bytes(event: TaskAsked | Result) -> int:
    return event.report.update.nbytes if isinstance(event, Result) else 0
