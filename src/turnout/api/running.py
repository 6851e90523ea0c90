"""``turnout.run``: a job on this machine from start to end, beside the caller's own code.

A thread of its own, with an event loop of its own, follows a server and a simulated fleet in processes of their own: so
it works in a script, in a notebook and in the middle of somebody's event loop alike.
"""

import asyncio
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Self

from turnout.api.job import Job
from turnout.api.models import Model
from turnout.api.watch import Watch
from turnout.client.listing import own_state
from turnout.client.view import JobState, JobView
from turnout.errors import UsageError
from turnout.fleet.spec import FleetSpec
from turnout.job.folder.folder import DEVICE_CODE
from turnout.local.runner import plan_run
from turnout.messages import JobEvent, JobStatus

POLL_INTERVAL_S = 0.05  #: How often ``async for`` looks for news: it must not hold a thread that cannot be cancelled.
TRAINING_S = 0.2  #: As with ``turnout run``.
TRAINING_SIGMA = 0.5


def run(
    job: Job | str | Path,
    devices: int = 100,
    *,
    seed: int | None = None,
    data: str | Path | None = None,
    **fleet: float,
) -> "Run":
    """Train a job, or the job folder of this name, with simulated devices on this machine; returns at once.

    ``fleet`` says how the devices differ, with the options of ``turnout fleet``: ``training_s``, ``training_sigma``,
    ``dropout``, ``delay_s`` and so on. ``data`` keeps the server's data; they are thrown away unless it is given.
    Raises TurnoutError when the job or the fleet is wrong. What happens later is an event, or raised by ``wait``.
    """
    known = {field.name for field in fields(FleetSpec) if field.type in (float, "float")}
    if unknown := [name for name in fleet if name not in known]:
        raise UsageError(f"run has no option {unknown[0]}; there are devices, seed, data, {', '.join(sorted(known))}")
    if isinstance(job, Job) and DEVICE_CODE not in job.files:
        raise UsageError("the job has no trainer, which simulated devices need; give Job one: trainer=...")
    options = {"devices": devices, "training_s": TRAINING_S, "training_sigma": TRAINING_SIGMA, **fleet}
    place = Path(tempfile.mkdtemp(prefix="turnout-run-"))
    try:
        folder = job.write(place / "job") if isinstance(job, Job) else Path(job)
        by_option = {name.replace("_", "-"): value for name, value in options.items()}
        kept = Path(data) if data else place / "data"
        plan = plan_run(folder, by_option, place / "model.safetensors", kept, seed)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return Run(Watch(plan, place))


class Run:
    """A job that trains on this machine. Iterate over it, with ``for`` or ``async for``, for its events as they come.

    It continues in the background, ends with the caller's process, and is cancelled at the end of a ``with`` block.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        watch.start()

    def wait(self, timeout_s: float | None = None) -> JobView:
        """How the job ended, once it has. Raises TurnoutError when the run failed, TimeoutError when it runs on."""
        return self._watch.wait(timeout_s).view

    def cancel(self) -> None:
        """End the job before its stop rule does, and wait for that; its model is kept."""
        self._watch.cancel()

    def stop(self) -> None:
        """The former name of ``cancel``; removed in 0.3."""
        warnings.warn("Run.stop is now Run.cancel", DeprecationWarning, stacklevel=2)
        self.cancel()

    def model(self, version: int | str | None = None) -> Model:
        """A model as arrays by name: the "best" by the job's metric, the "newest", or a version that is still kept.

        Unless you say which, the best where there is a metric, else the newest. It has ``version`` and ``metrics``.

        Raises NotFoundError when there is none.
        """
        return self._watch.model(version)

    @property
    def status(self) -> JobStatus | None:
        """The job's own account of itself, at most a moment old; None before it runs."""
        return self._watch.view.status if self._watch.view else None

    @property
    def metrics(self) -> dict[str, float]:
        """What ``evaluate`` said of the version that was evaluated last; empty before the first."""
        return next((dict(event.metrics) for event in reversed(self.events) if event.kind == "evaluated"), {})

    @property
    def events(self) -> list[JobEvent]:
        """All that has happened so far."""
        return list(self._watch.events)

    @property
    def log(self) -> list[str]:
        """The last lines that the processes printed: what happened to them, and tracebacks of your functions."""
        return list(self._watch.log)

    @property
    def reproducible(self) -> bool:
        """Whether another run with the same seed gives the same model: not in wall time, as updates arrive."""
        return False

    @property
    def sat_out(self) -> int:
        """How many devices have had no examples so far, and take no part."""
        return self._watch.sat_out

    @property
    def is_running(self) -> bool:
        """Whether anything may still happen."""
        return self._watch.is_alive()

    def __iter__(self) -> Iterator[JobEvent]:
        """From the first event to the last, waiting for those to come. Raises TurnoutError when the run breaks off."""
        seen = 0
        while (event := self._watch.event(seen)) is not None:
            seen += 1
            yield event

    async def __aiter__(self) -> AsyncIterator[JobEvent]:
        seen = 0
        while True:
            ended = not self.is_running
            if seen < len(self._watch.events):
                seen += 1
                yield self._watch.events[seen - 1]
            elif ended:
                self._watch.event(seen)  # raises what has ended it
                return
            else:
                await asyncio.sleep(POLL_INTERVAL_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    def __repr__(self) -> str:
        view = self._watch.view
        if view is None or view.status is None:
            return "<turnout.Run: starts>" if self.is_running else "<turnout.Run: ended before its job began>"
        state = own_state(view.status) if view.state is JobState.RUNNING else view.state
        return f"<turnout.Run of {view.name!r}: version {view.status.version}, {state}>"
