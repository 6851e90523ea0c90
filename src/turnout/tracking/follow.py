"""Follows one job from its first event to its end, across what breaks off."""

import time
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from turnout.client.client import StreamedEvent
from turnout.client.view import JobState, JobView, Sample
from turnout.errors import UnreachableError
from turnout.messages import JobEvent
from turnout.tracking.course import Course, Tracker

RETRY_S = 2.0
TOLD_EVERY_S = 30.0  #: How often a person is told that it continues.
PATIENCE_S = 600.0  #: A server that is away for longer is given up; started again, everything is passed on.


class Events(Protocol):
    """What is needed of ``ControlClient``."""

    def events(self, job_id: str, after: str = "") -> Iterator[StreamedEvent]: ...


def follow(
    client: Events,
    job_id: str,
    tracker: Tracker,
    say: Callable[[str], None],
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> JobState:
    """Pass everything on until the job has ended; how it ended.

    Raises UnreachableError when nobody answers for long.
    """
    course, after, heard_at = Course(), "", clock()
    passed_on, told_at = 0, heard_at
    while True:
        try:
            for event in client.events(job_id, after):
                heard_at, after = clock(), event.id or after
                passed_on += 1
                if heard_at - told_at >= TOLD_EVERY_S:
                    told_at = heard_at
                    say(f"{passed_on} events and samples passed on")
                match event.kind:
                    case "event":
                        course.event(msgspec.json.decode(event.data, type=JobEvent), tracker)
                    case "sample":
                        course.sample(msgspec.json.decode(event.data, type=Sample), tracker)
                    case "end":
                        return msgspec.json.decode(event.data, type=JobView).state
        except UnreachableError as error:
            if clock() - heard_at > PATIENCE_S:
                raise
            say(f"{error}; trying again")
        pause(RETRY_S)
