"""After an outage, everybody comes back: how many a second? Real sessions and appointment books in virtual time.

``python -m turnout.sim.herd`` prints the answer for 100,000 devices. The worst case is played: all devices lose their
server in the same moment, as when they all wait for an answer of the gateway that dies.
"""

import argparse
import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from turnout.device.session import DEFAULT_POLICY, Send, Session, SessionCounters, SessionPolicy, Sleep
from turnout.dispatcher.pending import DispatcherLimits
from turnout.dispatcher.returns import Returns
from turnout.dispatcher.service import RETRY_DOWN_S
from turnout.job.places.pacing import AppointmentBook
from turnout.messages import DeviceInfo, EdgeRequest, EdgeResponse, JobRequest, JobResponse, Status, TaskResponse

JOB_ID = "herd"
WAIT_MIN_S, WAIT_MAX_S = 1.0, 600.0  #: Of the job's appointments, as job.toml has them by default.
BAR_CHARS = 60


class Down(StrEnum):
    """What is down during the outage."""

    GATEWAY = "gateway"  #: Nothing answers.
    JOB = "job"  #: Gateways answer RETRY in the job's place.
    BUSY = "busy"  #: Something in between answers HTTP 503 with the same Retry-After to all.


@dataclass(frozen=True, slots=True)
class Outage:
    """What happens to how many."""

    devices: int = 100_000
    outage_s: float = 120.0
    down: Down = Down.GATEWAY
    gateways: int = 2
    check_ins_per_s: float = 500.0  #: What the job wants to be asked by devices that it told to wait.
    watched_s: float = 900.0  #: How long after the outage is watched.
    retry_after_s: float = 5.0
    seed: int = 1
    policy: SessionPolicy = DEFAULT_POLICY


@dataclass(slots=True)
class Course:
    """How it went. Seconds are counted from the beginning of the outage."""

    outage: Outage
    asked: Counter[int] = field(default_factory=Counter)  #: Requests of all kinds, by second.
    first_heard: Counter[int] = field(default_factory=Counter)  #: Devices whose first answer of the job came then.

    @property
    def back_at(self) -> int:
        """The second in which the server was back."""
        return int(self.outage.outage_s)

    @property
    def drained_at(self) -> int:
        """The second in which the last device had an answer of the job."""
        return max(self.first_heard)

    @property
    def peak(self) -> int:
        """Requests in the busiest second after the outage."""
        return max(count for second, count in self.asked.items() if second >= self.back_at)

    @property
    def mean(self) -> float:
        """Requests a second from the end of the outage until the last device had an answer."""
        seconds = range(self.back_at, self.drained_at + 1)
        return sum(self.asked[second] for second in seconds) / len(seconds)

    @property
    def settled(self) -> int:
        """Requests in the busiest second after the last device had an answer."""
        return max(count for second, count in self.asked.items() if second > self.drained_at)


class _Server:
    """Gateways and one job that has no free place, as far as the pace of their devices goes."""

    def __init__(self, outage: Outage, rng: Random) -> None:
        limits = DispatcherLimits()
        self._outage = outage
        self._rng = rng
        self._returns = [Returns(limits.returns_per_s, limits.return_max_s, rng) for _ in range(outage.gateways)]
        self._book = AppointmentBook(outage.check_ins_per_s, WAIT_MIN_S, WAIT_MAX_S)

    def answer(self, index: int, request: EdgeRequest, now: float) -> EdgeResponse | None:
        """None when there is none."""
        if now < self._outage.outage_s:
            if self._outage.down is not Down.JOB:
                return None
            wait = self._returns[index % len(self._returns)].wait(JOB_ID, False, RETRY_DOWN_S, now)
            return TaskResponse(Status.RETRY, retry_wait=wait)
        if isinstance(request, JobRequest):
            return JobResponse(Status.OK, JOB_ID)
        self._book.arrived(now)
        return TaskResponse(Status.RETRY, JOB_ID, retry_wait=self._book.wait(now, self._rng))


def play(outage: Outage) -> Course:
    """Every device asks for a task when the outage begins, and continues as its session says."""
    rng = Random(outage.seed)
    server = _Server(outage, rng)
    course = Course(outage)
    sessions = list(_sessions(outage, rng))
    unheard = [True] * len(sessions)
    retry_after_s = outage.retry_after_s if outage.down is Down.BUSY else None
    due = [(0.0, index) for index in range(len(sessions))]  # a heap as it is
    ends = outage.outage_s + outage.watched_s
    while due and due[0][0] < ends:
        now, index = due[0]
        session = sessions[index]
        action = session.next(now)
        if isinstance(action, Send):
            course.asked[int(now)] += 1
            answer = server.answer(index, action.request, now)
            if answer is None:
                session.failed("down", now, retry_after_s)
            else:
                session.received(answer, now)
                if unheard[index] and now >= outage.outage_s:
                    unheard[index] = False
                    course.first_heard[int(now)] += 1
            action = session.next(now)
        assert isinstance(action, Sleep), "a device that got no task sleeps"
        heapq.heapreplace(due, (action.until, index))
    return course


def _sessions(outage: Outage, rng: Random) -> Iterator[Session]:
    """Devices that have the job and are about to ask it for a task."""
    counters = SessionCounters()
    for index in range(outage.devices):
        session = Session(DeviceInfo(f"d{index}"), JOB_ID, rng, outage.policy, counters)
        session.next(0.0)
        session.received(JobResponse(Status.OK, JOB_ID), 0.0)
        yield session


def report(course: Course, bin_s: int = 20) -> str:
    """The figures, and requests a second as bars."""
    outage = course.outage
    first = max(course.asked[second] for second in range(1, course.back_at))
    lines = [
        f"{outage.devices:,} devices, {outage.down} down for {outage.outage_s:g} s",
        f"busiest second: {first:,} requests while it was down (after the first), {course.peak:,} once it was back",
        f"all had an answer {course.drained_at - course.back_at} s after the end, at {course.mean:,.0f} a second",
        f"from then on at most {course.settled:,} a second; the job wants {outage.check_ins_per_s:,.0f}",
    ]
    bins = Counter[int]()
    for second, count in course.asked.items():
        bins[second // bin_s] += count
    rates = {at * bin_s: bins[at] / bin_s for at in range(max(bins) + 1)}
    scale = max(rate for at, rate in rates.items() if at) / BAR_CHARS
    for at, rate in rates.items():
        lines.append(f"{at:6} s {rate:9,.0f}/s {'#' * min(round(rate / scale), BAR_CHARS)}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=100_000)
    parser.add_argument("--outage-s", type=float, default=120.0)
    parser.add_argument("--down", type=Down, choices=list(Down), default=Down.GATEWAY)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(report(play(Outage(options.devices, options.outage_s, options.down, seed=options.seed))))


if __name__ == "__main__":
    main()
