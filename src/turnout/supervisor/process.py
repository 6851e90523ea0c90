"""The supervisor's shell: carries out what ``children`` decides and feeds back what became of it.

Kept small, for all others die with it. It knows nothing of models, devices or HTTP.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from turnout.client import servers
from turnout.errors import TurnoutError
from turnout.job.folder.directory import LOG
from turnout.process import lifeline, machine, streams
from turnout.process.environment import job_environment
from turnout.process.heartbeat import PROGRESS
from turnout.process.streams import say
from turnout.storage import owner, private
from turnout.supervisor import commands, life, runtime
from turnout.supervisor.channel import Channel
from turnout.supervisor.children import Children
from turnout.supervisor.effects import Delayed, Effect, Ended, Say, Signal, Start
from turnout.supervisor.entrance import Entrance, EntranceSettings, Tls, address, check, reached_at
from turnout.supervisor.joblog import JobLogs
from turnout.supervisor.policy import GRACE_S, Kind, policies
from turnout.transport import socket_folder
from turnout.transport.listening import LOOK_S

EXIT_CANNOT_START = 127
LOGS_PATIENCE_S = 2.0  #: How long the end waits for a disk to take the last lines of jobs.


@dataclass(frozen=True, slots=True)
class Settings:
    """What ``turnout up`` runs."""

    devices: EntranceSettings  #: Where devices connect, and how.
    control_port: int  #: The API's port; 0 takes a free one.
    data: Path  #: Folder of jobs and models; made when absent.
    gateways: int  #: Gateway processes, >= 1; one per core but one is a good number.
    control_host: str = "127.0.0.1"  #: Where people's tools connect; elsewhere than here behind a proxy with TLS.
    seed: int | None = None  #: Of a run with simulated devices, for the draws of its job; a server has none.


@dataclass(frozen=True, slots=True)
class Up:
    """Where a server that has started is reached, and the token of its owner. ``grpc_address`` may be empty."""

    devices_url: str
    api_url: str
    grpc_address: str
    token: str


class Supervisor:
    """Runs the children of one server until told to end."""

    def __init__(self, settings: Settings) -> None:
        """Take the port, its lock and the sockets. Raises TurnoutError when that cannot be."""
        self._data = settings.data.absolute()
        self._seed = settings.seed
        runtime.make_data(self._data)
        _check_release(self._data)
        if port := settings.devices.port:
            check(settings.devices)
            self._runtime = runtime.take(port, socket_folder.root(self._data))
            self.devices = Entrance(settings.devices)
        else:
            self.devices = Entrance(settings.devices)
            self._runtime = runtime.take(self.devices.listening.getsockname()[1], socket_folder.root(self._data))
        self._api = runtime.listen(settings.control_host, settings.control_port, "--control-port")
        self._data_lock = runtime.take_data(self._data)
        self._closed = private.close(self._data)
        self._open_network = not runtime.is_loopback(settings.control_host)
        self.token = owner.take(self._data)
        self._gateways = settings.gateways
        self._children = Children(policies(settings.devices.limits.hang_s, settings.devices.limits.retire_s))
        self._channel = Channel(self._start_job, self._stop_job)
        self._lives: dict[str, life.Life] = {}
        self._logs = JobLogs()
        self._tasks: set[asyncio.Task[None]] = set()
        self._lifeline, self._our_end = os.pipe()

    @property
    def api_url(self) -> str:
        """Where people's tools on this machine connect."""
        return f"http://{reached_at(self._api)}"

    def lines(self) -> Iterator[str]:
        """What people should know of its start."""
        kind = machine.filesystem(self._data)
        if machine.is_network(kind):
            yield (
                f"warning: {self._data} lies on a network file system ({kind}), whose locks and syncs are not sure: "
                "acknowledged results may be lost; give --data a folder on a disk of this machine"
            )
        if self._open_network:
            yield (
                "warning: tokens for the API, and all that it answers, cross the network in the clear; listen on "
                "127.0.0.1 behind a proxy that has TLS"
            )
        if reached_at(self._api) != address(self._api):
            yield (
                f"the API listens at {address(self._api)}, which is every address of this machine; elsewhere, say the "
                "name of this machine, or of the proxy, in the URL"
            )
        if self._closed:
            yield (
                f"{self._data} was open to other accounts of this machine, as an earlier release left it; "
                f"{self._closed} files and folders are closed now. Close old backups, too, which hold keys: chmod 600"
            )

    async def run(self) -> None:
        """Keep the children until ``stop`` is called and all have ended."""
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._timer = self._loop.call_later(0, lambda: None)
        serving = asyncio.create_task(self._channel.serve(socket_folder.supervisor_path(self._runtime.folder)))
        keeping = asyncio.create_task(self._keep_folder())
        self._do(self._children.add("control", Kind.CONTROL))
        for number in range(self._gateways):
            self._do(self._children.add(f"gateway {number}", Kind.GATEWAY))
        try:
            await self._over.wait()
        finally:
            for task in (serving, keeping):
                task.cancel()
            await asyncio.gather(serving, keeping, return_exceptions=True)
            self._logs.close(LOGS_PATIENCE_S)
            os.close(self._our_end)
            self._runtime.release()
            os.close(self._data_lock)

    async def _keep_folder(self) -> None:
        """Look after our folder and its lock until cancelled. Each process looks after its own socket in it."""
        told = ""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                line = f"{self._runtime.folder} was removed, and is there again" if self._runtime.keep() else ""
            except TurnoutError as error:
                line = str(error)
            if line and line != told:
                say(line)
            told = line

    def stop(self) -> None:
        """End all children, kindly; asked again, by force."""
        self._do(self._children.shut_down(self._loop.time()))

    def replace_gateways(self) -> None:
        """Put a new gateway in the place of each, one after the other, while the sockets stay open."""
        self._do(self._children.replace(Kind.GATEWAY))

    def _start_job(self, job_id: str) -> None:
        self._do(self._children.add(f"job {job_id}", Kind.JOB))

    def _stop_job(self, job_id: str) -> None:
        self._do(self._children.stop(f"job {job_id}", self._loop.time()))

    def _do(self, effects: list[Effect]) -> None:
        """Carry out effects in their order, then set the alarm for the next decision."""
        for effect in effects:
            match effect:
                case Say():
                    self._say(effect.line)
                case Signal():
                    self._lives[effect.name].signal(effect.signal)
                case Start():
                    task = asyncio.create_task(self._live(effect.name))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                case Ended():
                    self._ended(effect)
                case Delayed():
                    self._channel.delayed(effect.name.partition(" ")[2], effect.reason)  # only jobs say so
        if self._children.over:
            self._over.set()
        self._timer.cancel()
        deadline = self._children.deadline()
        if deadline is not None:
            self._timer = self._loop.call_at(deadline, self._tick)

    def _ended(self, effect: Ended) -> None:
        """Tell control of a job that is over. One that was only stopped with the server goes on with the next."""
        kind, _, job_id = effect.name.partition(" ")
        if kind == Kind.JOB and not (self._children.ending and effect.reason):
            self._channel.ended(job_id, effect.code, effect.reason)

    def _tick(self) -> None:
        self._do(self._children.tick(self._loop.time()))

    async def _live(self, name: str) -> None:
        """One life of a child: start it, pass on what it prints, report its end."""
        command, listen_fds = self._command(name)
        try:
            lived = await life.start(
                command,
                (self._lifeline, *listen_fds),
                partial(self._printed, name),
                partial(self._felt, name),
                job_environment() if name.startswith(f"{Kind.JOB} ") else None,
            )
        except OSError as error:
            reason = f"cannot be started: {error}"
            self._do(self._children.exited(name, EXIT_CANNOT_START, reason, self._loop.time()))
            return
        self._lives[name] = lived
        self._do(self._children.started(name, lived.pid, self._loop.time()))
        code, last_line = await lived.ended()
        del self._lives[name]
        self._do(self._children.exited(name, code, last_line, self._loop.time()))

    def _printed(self, name: str, line: str) -> None:
        """A child printed something; what a job prints is kept with it."""
        say(f"[{name}] {line}")
        self._keep(name, line)

    def _say(self, line: str) -> None:
        """A line of our own; what it says of a job is kept with the job."""
        say(line)
        self._keep(line, line)

    def _keep(self, about: str, line: str) -> None:
        """``about`` begins with the name of a child."""
        kind, _, rest = about.partition(" ")
        job_id = rest.partition(" ")[0]
        if kind == Kind.JOB and job_id in self._channel:
            self._logs.add(Path(self._channel.job(job_id).folder).parent / LOG, line)

    def _felt(self, name: str, signs: bytes) -> None:
        """A child gave signs of life."""
        heard = self._children.progressed if PROGRESS in signs else self._children.beat
        self._do(heard(name, self._loop.time()))

    def _command(self, name: str) -> tuple[Callable[[int], list[str]], tuple[int, ...]]:
        """The command of a child, once its pulse is known, and the listening sockets it inherits."""
        kind, _, which = name.partition(" ")
        lifeline_fd = self._lifeline
        if kind == "job":
            job = self._channel.job(which)
            return lambda pulse_fd: commands.job(job, lifeline_fd, pulse_fd, self._seed), ()
        folder = self._runtime.folder
        if kind == "gateway":
            fd = self.devices.listening.fileno()
            feed = socket_folder.feed_path(folder)
            options = self.devices.options
            return lambda pulse_fd: commands.gateway(int(which), fd, feed, lifeline_fd, pulse_fd, options), (fd,)
        fd, most = self._api.fileno(), self.devices.result_bytes_max
        return lambda pulse_fd: commands.control(fd, folder, self._data, lifeline_fd, pulse_fd, most), (fd,)


def _check_release(data: Path) -> None:
    """Raise TurnoutError for data of a newer turnout, before anything is made or changed there."""
    from turnout.control import store  # brings the API's types with it, and is needed once

    store.check(data / "control.sqlite")


def run(
    settings: Settings,
    lifeline_fd: int | None = None,
    ready_fd: int | None = None,
    told: Callable[[Up], None] | None = None,
) -> None:
    """Run a server until SIGINT, SIGTERM or the end of the lifeline. Raises TurnoutError when it cannot start.

    Once devices and people can connect, ``told`` hears of it. So does ``ready_fd`` of a server that is part of
    something larger, which nobody else needs to find: both URLs and the owner's token, a line each.
    """
    private.by_default()
    supervisor = Supervisor(settings)
    devices, data = supervisor.devices, settings.data.absolute()
    announced = servers.announce(supervisor.api_url, supervisor.token, data) if ready_fd is None else None
    say(f"turnout is up (pid {os.getpid()}): devices at {devices.url}, API at {supervisor.api_url}")
    for line in (*devices.lines(), *supervisor.lines()):
        say(line)
    if ready_fd is None:
        if announced is None:
            say(_not_announced(supervisor.api_url, data))
        say(f"jobs and models are kept in {settings.data}; Ctrl-C ends it")
    else:
        with os.fdopen(ready_fd, "w") as ready:
            ready.write(f"{devices.url}\n{supervisor.api_url}\n{supervisor.token}\n")
    if told is not None:
        told(Up(devices.url, supervisor.api_url, devices.grpc_address, supervisor.token))
    try:
        asyncio.run(_run(supervisor, lifeline_fd))
    finally:
        if announced is not None:
            announced.close()
    say("turnout has ended; no process is left")


def _not_announced(api_url: str, data: Path) -> str:
    return (
        "commands cannot find this server by themselves, for neither HOME nor XDG_RUNTIME_DIR nor the folder for "
        f"temporary files can be written: export TURNOUT_URL={api_url} TURNOUT_TOKEN=$(cat {data / owner.FILE})"
    )


def main() -> int:
    """``python -m turnout.supervisor.process``: a server as the child of ``turnout run`` or ``turnout demo``."""
    streams.prepare()
    parser = argparse.ArgumentParser(prog="turnout.supervisor.process")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--gateways", type=int, required=True)
    parser.add_argument("--lifeline-fd", type=int, required=True)
    parser.add_argument("--ready-fd", type=int, required=True)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--tls-cert", type=Path)
    parser.add_argument("--tls-key", type=Path)
    given = parser.parse_args()
    tls = Tls(given.tls_cert, given.tls_key) if given.tls_cert is not None else None
    try:
        settings = Settings(EntranceSettings("127.0.0.1", 0, tls), 0, given.data, given.gateways, seed=given.seed)
        run(settings, given.lifeline_fd, given.ready_fd)
    except TurnoutError as error:
        say(str(error))
        return 1
    return 0


async def _run(supervisor: Supervisor, lifeline_fd: int | None) -> None:
    loop = asyncio.get_running_loop()
    asked = 0

    def stop(why: str) -> None:
        nonlocal asked
        asked += 1
        say(f"{why}: ending gateways, then jobs, then control" if asked == 1 else f"{why} again: killing what is left")
        supervisor.stop()

    loop.add_signal_handler(signal.SIGINT, stop, "Ctrl-C")
    loop.add_signal_handler(signal.SIGTERM, stop, "SIGTERM")
    # Not SIGHUP: a terminal that is closed sends it, and means the end.
    loop.add_signal_handler(signal.SIGUSR1, supervisor.replace_gateways)
    if lifeline_fd is not None:
        grace_s = GRACE_S + lifeline.GRACE_S
        lifeline.watch(lifeline_fd, partial(loop.call_soon_threadsafe, stop, "the parent has ended"), grace_s)
    await supervisor.run()


if __name__ == "__main__":
    sys.exit(main())
