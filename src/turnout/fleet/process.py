"""A fleet over real HTTP: the shell around ``core.py``. One process, plus its training workers."""

import asyncio
import gc
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from turnout.device.counters import FleetCounters
from turnout.device.exchange import NoAnswer
from turnout.device.http import HttpClient, HttpLimits, trust
from turnout.device.session import SessionPolicy
from turnout.errors import TurnoutError
from turnout.fleet.classroom import Classroom
from turnout.fleet.core import Fleet, SimDevice
from turnout.fleet.delivery import Delivery
from turnout.fleet.greeting import greet
from turnout.fleet.ledger import Ledger
from turnout.fleet.lines import Lines, OwnLines, SharedLines
from turnout.fleet.spec import BadFleet, FleetSpec
from turnout.fleet.untrained import Untrained
from turnout.messages import EdgeResponse
from turnout.process import lifeline, loops, machine
from turnout.process.role import GC_THRESHOLDS
from turnout.process.streams import tell
from turnout.text.given import check_job_name
from turnout.text.printable import printable_json

TICK_S = 0.01
REPORT_INTERVAL_S = 1.0
OTHER_FILES = 100  #: Open files beside connections: workers' pipes, models, libraries.
REASON_SHOWN_CHARS = 60
BACKOFF_BASE_S = 0.5
BACKOFF_MAX_S = 30.0


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """How the fleet's process works, as opposed to what the fleet is like."""

    connections_max: int = 512  #: Devices share them when they are more.
    own_connections: bool = False  #: Instead each device has one of its own, from its arrival until it ends.
    workers: int | None = None  #: Training processes; by default one per core.
    patience_s: float = 60.0  #: How long to continue where nobody answers, or no job has the name.
    job_over_s: float = 3.0  #: When devices had a job and hear for this long only that it is gone, the fleet ends.
    json_lines: bool = False  #: Counters as JSON, one line a second; else a line for people.
    ca: Path | None = None  #: Authorities that an https server must have its certificate from; else the system's.
    lifeline_fd: int | None = None  #: End when this pipe closes.


DEFAULT_OPTIONS = FleetOptions()


def run_fleet(
    url: str,
    job_name: str,
    spec: FleetSpec,
    trainers: str | None,
    options: FleetOptions = DEFAULT_OPTIONS,
    write: Callable[[str], object] = tell,
) -> FleetCounters:
    """Play a fleet until all its devices have ended, the job is over, or SIGINT or SIGTERM; returns its last counters.

    ``trainers`` is a job folder, its device.py, or the name of a module; None: nobody trains, all send zeros. Raises
    TurnoutError when these cannot be loaded, when ``url`` or the name is none, when nobody listens there, and when for
    ``patience_s`` nobody answers there any more or no job has the name.
    """
    check_job_name(job_name)
    _allow_connections(_devices_at_once(spec) if options.own_connections else options.connections_max)
    try:
        return loops.run(_run(url, job_name, spec, trainers, options, write))
    except asyncio.CancelledError:
        raise TurnoutError("the fleet was stopped by SIGTERM before its devices began") from None


def _devices_at_once(spec: FleetSpec) -> int:
    return spec.devices if spec.at_once is None else min(spec.at_once, spec.devices)


def _allow_connections(count: int) -> None:
    """Raise the soft limit of open files to what these connections need, as far as the hard one goes."""
    try:
        import resource
    except ImportError:  # no such limit here
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + OTHER_FILES
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard < 0 else min(wanted, hard), hard))


async def _run(
    url: str,
    job_name: str,
    spec: FleetSpec,
    trainers: str | None,
    options: FleetOptions,
    write: Callable[[str], object],
) -> FleetCounters:
    ledger = _ledger(spec)
    limits = HttpLimits(connections_max=min(spec.devices, options.connections_max))
    http = HttpClient(url, limits, trust(options.ca) if options.ca is not None else None)
    own = OwnLines(http.server, http.tls) if options.own_connections else None
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # so that the folder is removed
    with tempfile.TemporaryDirectory(prefix="turnout-fleet-") as models:
        workers = options.workers or machine.cores()
        training = Classroom(http, trainers, spec, workers, Path(models)) if trainers else Untrained(http)
        try:
            await training.check()
            await greet(http, url)
            lines = own or SharedLines(http)
            return await FleetProcess(lines, training, job_name, spec, options, write, ledger).run()
        finally:
            await training.close()
            if own is not None:
                await own.close()
            await http.close()
            if ledger is not None:
                ledger.close()


def _ledger(spec: FleetSpec) -> Ledger | None:
    try:
        return Ledger(spec.ledger) if spec.ledger else None
    except OSError as error:
        raise BadFleet(f"the ledger {spec.ledger} cannot be written: {error.strerror}") from None


class FleetProcess:
    """Carries requests and tasks between a Fleet, its server and its workers, and tells how it goes."""

    def __init__(
        self,
        lines: Lines,
        training: Classroom | Untrained,
        job_name: str,
        spec: FleetSpec,
        options: FleetOptions,
        write: Callable[[str], object],
        ledger: Ledger | None = None,
    ) -> None:
        self._lines = lines
        self._job_name = job_name
        self._options = options
        self._write = write
        self._now = asyncio.get_running_loop().time
        self._began = self._now()
        policy = SessionPolicy(BACKOFF_BASE_S, BACKOFF_MAX_S, counted_max=1 if spec.each_once else None)
        self._delivery = Delivery(lines, spec, self._heard, ledger)
        self._fleet = Fleet(spec, job_name, policy, self._delivery.send, training.train, self._began)
        training.trained = self._fleet.trained
        self._reported_at = self._began
        self._stopped = ""
        self._mistake: BaseException | None = None

    async def run(self) -> FleetCounters:
        """Until the end; returns the last counters."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._failed)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop, f"stopped by {number.name}")
        if self._options.lifeline_fd is not None:
            orphaned = partial(loop.call_soon_threadsafe, self._stop, "the process that started it has ended")
            lifeline.watch(self._options.lifeline_fd, orphaned)
        gc.set_threshold(*GC_THRESHOLDS)
        while not (finished := self._finished(self._now())):
            now = self._now()
            self._fleet.tick(now)
            if now - self._reported_at >= REPORT_INTERVAL_S:
                self._report(self.counters(now))
            await asyncio.sleep(TICK_S)
        if self._mistake is not None:
            raise self._mistake
        last = self.counters(self._now(), finished)
        self._report(last)
        return last

    def counters(self, now: float, finished: str = "") -> FleetCounters:
        """What happened so far; begins a new interval of rates and latencies."""
        fleet, sessions = self._fleet, self._fleet.counters
        waiting, training, lost, offline, ended = fleet.doing
        p50, p99 = self._delivery.latencies.read()
        interval, self._reported_at = now - self._reported_at, now
        replies, self._delivery.replies = self._delivery.replies, 0
        return FleetCounters(
            devices=fleet.spec.devices,
            training=training,
            waiting=waiting,
            lost=lost,
            offline=offline,
            ended=ended,
            tasks=sessions.tasks,
            dropped=fleet.dropped,
            counted=sessions.counted,
            duplicates=sessions.duplicates,
            refused=dict(sessions.refused),
            given_up=sessions.given_up,
            trainings_failed=dict(sessions.trainings_failed),
            sat_out=sessions.sat_out,
            trained=fleet.trained_tasks,
            devices_failed=fleet.devices_failed,
            requests=dict(fleet.requests),
            errors=dict(sessions.unanswered),
            mischief={what: count for what, count in self._delivery.mischief.items() if count},
            requests_per_s=round(replies / interval, 1) if interval > 0 else 0.0,
            latency_p50_ms=round(p50 * 1e3, 2),
            latency_p99_ms=round(p99 * 1e3, 2),
            connections=self._lines.connections,
            elapsed_s=round(now - self._began, 2),
            missing=self._job_name if fleet.over_since is not None and not fleet.had_job else "",
            finished=finished,
        )

    def _heard(self, device: SimDevice, answer: EdgeResponse | NoAnswer) -> None:
        now = self._now()
        if isinstance(answer, NoAnswer):
            self._fleet.failed(device, answer.reason, now, answer.retry_wait)
        else:
            self._fleet.answered(device, answer, now)

    # --- how it ends ---

    def _finished(self, now: float) -> str:
        """Why the fleet ends now; empty when it continues."""
        fleet, patience_s = self._fleet, self._options.patience_s
        if self._stopped:
            return self._stopped
        if fleet.counters.sat_out == fleet.spec.devices:
            raise BadFleet(f"none of the {fleet.spec.devices} devices has any examples, so nobody can train")
        if fleet.ended:
            return "all devices have ended"
        if fleet.over_since is not None:
            over_s = now - fleet.over_since
            if fleet.had_job and over_s >= self._options.job_over_s:
                return "the job is over"
            if not fleet.had_job and over_s >= patience_s:
                raise TurnoutError(
                    f"no job named {self._job_name!r} has run for {patience_s:g} s; turnout jobs lists them"
                )
        if fleet.silent_since is not None and now - fleet.silent_since >= patience_s:
            heard = ", ".join(fleet.counters.unanswered)
            raise TurnoutError(
                f"{self._lines.server.authority} has not answered for {patience_s:g} s ({heard}); "
                "give the address for devices, as turnout up prints it"
            )
        return ""

    def _stop(self, why: str) -> None:
        self._stopped = why

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback of ours raised: that is our mistake, and the fleet ends with it."""
        self._mistake = context.get("exception") or AssertionError(context["message"])
        self._stopped = "failed"

    def _report(self, counters: FleetCounters) -> None:
        as_json = self._options.json_lines
        lines = [printable_json(msgspec.json.encode(counters))] if as_json else for_people(counters)
        try:
            for line in lines:
                self._write(line)
            sys.stdout.flush()
        except BrokenPipeError:
            self._stopped = "nobody reads its counters any more"


def for_people(counters: FleetCounters) -> list[str]:
    """Counters as one short line; and one more that says how the fleet ended, once it has."""
    parts = [f"{counters.elapsed_s:7.1f} s", f"{counters.training} training", f"{counters.waiting} waiting"]
    for name in ("lost", "offline", "ended"):
        if count := getattr(counters, name):
            parts.append(f"{count} {name}")
    if counters.sat_out:
        parts.append(f"{counters.sat_out} without examples")
    parts.append(f"{counters.counted} counted")
    if counters.missing:
        parts.append(f"no job named {counters.missing!r} runs")
    for word, book in (
        ("refused", counters.refused),
        ("trainings failed", counters.trainings_failed),
        ("errors", counters.errors),
    ):
        if book:
            most = max(book, key=lambda reason: book[reason])
            parts.append(f"{sum(book.values())} {word} ({most.partition(';')[0][:REASON_SHOWN_CHARS]})")
    parts.append(f"{counters.requests_per_s:.0f} requests/s, p99 {counters.latency_p99_ms:.0f} ms")
    line = " · ".join(parts)
    return [line, f"fleet: {counters.finished}"] if counters.finished else [line]
