"""Runs a job from its start to its end on this machine: a server on free ports, a simulated fleet, a live view.

What ``turnout run`` and ``turnout demo`` have in common. Any process may be killed meanwhile: each death is one line,
and what can go on goes on.
"""

import asyncio
import re
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import msgspec

from turnout.client.client import ControlClient
from turnout.client.view import UNFINISHED, JobView
from turnout.device.counters import FleetCounters, hopeless
from turnout.errors import JobFolderError, ServerError, TurnoutError
from turnout.fleet.spec import FleetSpec
from turnout.job.folder.folder import DEVICE_CODE, load_job_folder
from turnout.local.feasible import check_devices, check_target
from turnout.local.picture import Picture
from turnout.local.processes import SERVER_GRACE_S, Child, Children
from turnout.local.screen import Screen
from turnout.messages import PausedBy
from turnout.process.exits import EXIT_USAGE
from turnout.process.systems import check_server
from turnout.supervisor import commands
from turnout.supervisor.policy import Policy

POLL_INTERVAL_S = 0.25
HEALTHY_TIMEOUT_S = 20.0
HEALTHY_INTERVAL_S = 0.05
CONTROL_SILENT_MAX_S = 30.0  #: Control is started again when it dies; longer away than this, it does not come back.
CENTRAL_TIMEOUT_S = 30.0  #: How long to wait for central training when the job is done already.
REASONS_TOLD_MAX = 3  #: At once, of those for which devices fail to train.
FLEET_POLICY = Policy(failures_max=5, grace_s=3.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run."""

    title: str
    folder: Path  #: The job folder.
    devices: int
    fleet: Callable[[str, str], list[str]]  #: The fleet's command, from the devices' URL and the job's name.
    model: Path  #: Where the model is saved.
    data: Path  #: The server's data folder.
    gateways: int = 1
    seed: int = 0
    central: list[str] | None = None  #: A command that prints what central training reaches, as JSON by metric.
    submitted: Callable[[ControlClient, JobView], None] = lambda client, job: None  #: Told once the job runs.


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: the job's last view, and what was shown of it."""

    view: JobView
    picture: Picture
    saved: int | None  #: Which version of the model; None: none.


def plan_run(folder: Path, fleet: Mapping[str, float], out: Path | None, data: Path, seed: int | None = None) -> Plan:
    """How to run a folder with a simulated fleet; ``seed`` goes before that of job.toml.

    Raises JobFolderError, BadFleet or UsageError when none can be.
    """
    check_server()
    msgspec.convert({option.replace("-", "_"): value for option, value in fleet.items()}, FleetSpec)  # or BadFleet
    job, devices = load_job_folder(folder, seed), int(fleet["devices"])
    options = {**fleet, "seed": job.spec.seed or 0}
    if job.device is None:
        raise JobFolderError(f"{folder} has no {DEVICE_CODE}, where simulated devices take their trainer from; add one")
    spec = job.spec
    model = out or Path(re.sub(r"[^\w.-]+", "-", spec.name) + ".safetensors")
    check_devices(spec.training, devices)
    check_target(model)
    return Plan(
        title=f'turnout run: {devices} devices train "{spec.name}"',
        folder=folder,
        devices=devices,
        fleet=lambda url, name: commands.fleet(url, name, folder.absolute(), options),
        model=model,
        data=data,
        seed=job.spec.seed or 0,
    )


def stuck(view: JobView, fleet: FleetCounters | None) -> str:
    """Why a job waits for a person, which a run does not; else empty."""
    status = view.status
    if status is None or status.paused_by in (None, PausedBy.PERSON):
        return ""
    failing = next(iter(fleet.trainings_failed), "") if fleet is not None else ""
    also = f"; devices fail to train: {failing}" if failing else ""
    return f"the job paused itself and waits for {status.waiting_for}{also}"


class Stopped(Exception):
    """A person ended the run."""


async def run(plan: Plan, screen: Screen) -> Outcome:
    """``follow``; SIGINT or SIGTERM raises Stopped. Asked to stop a second time, the processes end on their own."""
    task = asyncio.current_task()
    assert task is not None
    asked: list[str] = []

    def stop(name: str) -> None:
        asked.append(name)
        task.cancel()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, stop, "Ctrl-C")
    loop.add_signal_handler(signal.SIGTERM, stop, "SIGTERM")
    try:
        return await follow(plan, screen)
    except asyncio.CancelledError:
        if not asked:
            raise
        raise Stopped(asked[0]) from None


async def follow(plan: Plan, screen: Screen) -> Outcome:
    """Run until the job ends, on any thread. Raises TurnoutError when it cannot continue.

    Whatever happens, all processes have ended when this returns.
    """
    try:
        return await _Run(plan, screen).run()
    except BaseExceptionGroup as group:
        errors, others = group.split(TurnoutError)
        if errors is None or others is not None:
            raise
        raise _first(errors) from None


def _first(group: BaseExceptionGroup[TurnoutError]) -> BaseException:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found


class _Run:
    """The processes of one run, and the picture of it."""

    def __init__(self, plan: Plan, screen: Screen) -> None:
        self._plan = plan
        self._screen = screen
        self._picture = Picture(plan.title, plan.devices, time.monotonic())
        self._children = Children(self._said)
        self._central_done = asyncio.Event()
        self._hopeless = asyncio.Event()

    async def run(self) -> Outcome:
        server: Child | None = None
        try:
            server, devices_url, *api = await self._children.start_server(
                self._plan.data, self._plan.gateways, self._plan.seed
            )
            async with asyncio.TaskGroup() as tasks:
                background = [tasks.create_task(self._keep_server(server))]
                client = ControlClient(*api)
                await self._wait_healthy(client)
                left_out: list[str] = []
                job = await asyncio.to_thread(client.submit, self._plan.folder, left_out=left_out.append)
                for line in left_out:
                    self._said(f"left out of the job: {line}")
                self._plan.submitted(client, job)
                fleet = self._plan.fleet(devices_url, job.name)
                background.append(tasks.create_task(self._keep_fleet(fleet)))
                background.append(tasks.create_task(self._end_without_hope()))
                if self._plan.central is not None:
                    background.append(tasks.create_task(self._train_centrally(self._plan.central)))
                view = await self._follow(client, job.job_id)
                saved = await self._save(client, view)
                for task in background:
                    task.cancel()
            return Outcome(view, self._picture, saved)
        finally:
            if server is not None:
                await server.stop(SERVER_GRACE_S)
            self._children.close()
            self._picture.over = True
            self._screen.show(self._picture)

    async def _wait_healthy(self, client: ControlClient) -> None:
        """Until control answers and a gateway has reported to it."""
        try:
            async with asyncio.timeout(HEALTHY_TIMEOUT_S):
                while not await asyncio.to_thread(client.healthy):  # noqa: ASYNC110
                    await asyncio.sleep(HEALTHY_INTERVAL_S)
        except TimeoutError:
            raise ServerError(f"the server did not become ready within {HEALTHY_TIMEOUT_S:.0f} s") from None

    async def _follow(self, client: ControlClient, job_id: str) -> JobView:
        """Watch the job until it has ended; its last view."""
        heard_at = time.monotonic()
        while True:
            try:
                view = await asyncio.to_thread(client.job, job_id)
                gateways = await asyncio.to_thread(client.gateways)
            except ServerError as error:
                if time.monotonic() - heard_at > CONTROL_SILENT_MAX_S:
                    raise ServerError(f"control does not come back: {error}") from error
            else:
                heard_at = time.monotonic()
                self._picture.saw_job(view, heard_at)
                self._picture.saw_gateways(gateways, heard_at)
                if view.state not in UNFINISHED:
                    await self._wait_central()
                    self._screen.show(self._picture)
                    return view
                if why := stuck(view, self._picture.fleet):
                    await self._give_up(client, view, why)
            self._picture.now = time.monotonic()
            self._screen.show(self._picture)
            await asyncio.sleep(POLL_INTERVAL_S)

    async def _give_up(self, client: ControlClient, view: JobView, why: str) -> NoReturn:
        """Raises TurnoutError; what was learned is kept."""
        self._screen.show(self._picture)
        saved = await self._save(client, view)
        kept = f"; version {saved} of the model is saved in {self._plan.model}" if saved is not None else ""
        raise TurnoutError(f"{why}; this run has ended{kept}")

    async def _save(self, client: ControlClient, view: JobView) -> int | None:
        """Keep the best model or else the newest, if there is one beyond the first."""
        if view.status is None or not view.status.version:
            return None
        return await asyncio.to_thread(client.model, view.job_id, self._plan.model)

    async def _keep_server(self, server: Child) -> None:
        """Raises ServerError when the server ends before it is told to."""
        code = await server.wait()
        raise ServerError(f"{server.ended_as(code)}; gateways, control and the job end with it, so this run ends")

    async def _keep_fleet(self, command: list[str]) -> None:
        """Start the fleet, and again when it dies, until cancelled. Raises TurnoutError when it dies too often."""
        failures = 0
        while True:
            began = time.monotonic()
            fleet = await self._children.start("fleet", command, self._fleet_told)
            try:
                code = await fleet.wait()
            except asyncio.CancelledError:
                await fleet.stop(FLEET_POLICY.grace_s)
                raise
            if code == 0:
                return  # its devices were told that the job is over
            if code == EXIT_USAGE:
                raise TurnoutError(f"{fleet.ended_as(code)}; it cannot train this job")
            failures = 1 if time.monotonic() - began >= FLEET_POLICY.healthy_s else failures + 1
            if FLEET_POLICY.failures_max is not None and failures >= FLEET_POLICY.failures_max:
                raise TurnoutError(f"{fleet.ended_as(code)}, {failures} times in a row: given up")
            wait_s = FLEET_POLICY.backoff_s(failures)
            self._said(f"{fleet.ended_as(code)}; starting it again in {wait_s:.1f} s")
            await asyncio.sleep(wait_s)

    async def _end_without_hope(self) -> None:
        """Raises TurnoutError once all devices have failed: the job would wait for others until its time is over."""
        await self._hopeless.wait()
        assert self._picture.fleet is not None
        raise TurnoutError(f"{hopeless(self._picture.fleet)}; nothing was counted, so this run has ended")

    async def _train_centrally(self, command: list[str]) -> None:
        """What the same model reaches when all data is in one place, for comparison."""
        child = await self._children.start("central training", command, self._central_told)
        try:
            code = await child.wait()
        except asyncio.CancelledError:
            await child.stop()
            raise
        finally:
            self._central_done.set()
        if code != 0:
            self._said(f"{child.ended_as(code)}; there is nothing to compare with")

    async def _wait_central(self) -> None:
        if self._plan.central is not None:
            try:
                async with asyncio.timeout(CENTRAL_TIMEOUT_S):
                    await self._central_done.wait()
            except TimeoutError:
                self._said("central training takes too long; there is nothing to compare with")

    def _fleet_told(self, line: bytes) -> None:
        counters = msgspec.json.decode(line, type=FleetCounters)
        known = self._picture.fleet.trainings_failed if self._picture.fleet else {}
        self._picture.fleet = counters
        for reason in list(counters.trainings_failed.keys() - known.keys())[:REASONS_TOLD_MAX]:
            self._said(f"devices fail to train: {reason}")
        if hopeless(counters):
            self._screen.show(self._picture)
            self._hopeless.set()

    def _central_told(self, line: bytes) -> None:
        self._picture.central = msgspec.json.decode(line, type=dict[str, float])

    def _said(self, line: str) -> None:
        now = time.monotonic()
        self._picture.now = now
        self._picture.said(line, now)
        self._screen.said(self._picture, line)
