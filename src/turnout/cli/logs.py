"""The lines that a job's process prints, as they come."""

import time
from collections.abc import Iterator

from turnout.client.client import ControlClient
from turnout.client.view import UNFINISHED, JobView

FOLLOW_INTERVAL_S = 1.0
FOLLOW_LINES = 1000  #: Asked for each time; more than these within one interval are not all printed.


def printed(client: ControlClient, view: JobView, lines: int, follow: bool) -> Iterator[str]:
    """The last ``lines`` lines; with ``follow``, also those that come until the job ends."""
    seen = client.logs(view.job_id, max(lines, FOLLOW_LINES) if follow else lines)
    yield from seen[-lines:]
    while follow and view.state in UNFINISHED:
        time.sleep(FOLLOW_INTERVAL_S)
        view = client.job(view.job_id)
        found = client.logs(view.job_id, FOLLOW_LINES)
        yield from added(seen, found)
        seen = found


def added(before: list[str], after: list[str]) -> list[str]:
    """What ``after`` has beyond ``before``: both are ends of one log, which only grows.

    The longest end of ``before`` that ``after`` begins with has been seen; without any, all is new.
    """
    for length in range(min(len(before), len(after)), 0, -1):
        if before[-length:] == after[:length]:
            return after[length:]
    return after
