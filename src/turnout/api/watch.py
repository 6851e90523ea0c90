"""The thread in which a run of the Python API is followed, and what others may know of it."""

import asyncio
import atexit
import logging
import shutil
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from turnout.api.models import Model, read_model
from turnout.blobs.place import blob_file
from turnout.client.client import ControlClient
from turnout.client.view import JobView
from turnout.control.choosing import choose
from turnout.control.history import Place, read_after
from turnout.device.counters import hopeless
from turnout.errors import NotFoundError, ServerError, TurnoutError
from turnout.job.account.eventlog import wall_clock
from turnout.job.folder.carried import kept_carried
from turnout.job.folder.directory import BLOBS
from turnout.local.picture import Picture
from turnout.local.runner import POLL_INTERVAL_S, Outcome, Plan, follow
from turnout.messages import JobEvent
from turnout.text.printable import printable

CANCEL_TIMEOUT_S = 30.0  #: For a job to end as it should, draining included; then its processes are ended.
LOG_LINES_MAX = 1000
MODEL_TRIES = 4
EXIT_TIMEOUT_S = 10.0  #: When the caller's process exits; what is left ends by itself.

logger = logging.getLogger("turnout.run")


class Watch(threading.Thread):
    """Follows a plan to its end. It is the plan's screen too: what there is to see becomes events.

    That devices fail to train is logged as a warning, once for each reason, which Python shows on stderr unless told
    otherwise. ``place`` is removed when nobody knows of this object any more.
    """

    def __init__(self, plan: Plan, place: Path) -> None:
        super().__init__(name="turnout.run", daemon=True)
        self.view: JobView | None = None  #: The job as it was a moment ago.
        self.sat_out = 0  #: Devices that have no examples.
        self.events: list[JobEvent] = []  #: Only ever added to.
        self.log: deque[str] = deque(maxlen=LOG_LINES_MAX)
        self._plan = replace(plan, submitted=self._submitted)
        self._news = threading.Condition()
        self._job: tuple[ControlClient, str] | None = None
        self._read_to: Place | None = None
        self._published: set[int] = set()
        self._failures: set[str] = set()
        self._hopeless = ""
        self._cancel: Callable[[], object] = lambda: None
        self._cancelled = False
        self._ended = False
        self._outcome: Outcome | None = None
        self._error: BaseException | None = None
        weakref.finalize(self, shutil.rmtree, place, True)

    def run(self) -> None:
        atexit.register(self._exit)
        try:
            self._outcome = asyncio.run(self._follow())
        except asyncio.CancelledError:
            self._error = TurnoutError("the run was cancelled before its job had ended")
        except BaseException as error:  # raised again where somebody waits
            self._error = error
        atexit.unregister(self._exit)
        with self._news:
            self._ended = True
            self._news.notify_all()

    # --- for other threads ---

    def event(self, number: int) -> JobEvent | None:
        """The event of this number, once there is one; None when there will be none. Raises what ended the run."""
        with self._news:
            self._news.wait_for(lambda: len(self.events) > number or self._ended)
        if len(self.events) > number:
            return self.events[number]
        if self._error is not None:
            raise self._error
        return None

    def wait(self, timeout_s: float | None) -> Outcome:
        """Until the end. Raises TimeoutError, and what ended the run."""
        self.join(timeout_s)
        if self.is_alive():
            raise TimeoutError(f"the job still runs after {timeout_s:g} s")
        if self._error is not None:
            raise self._error
        assert self._outcome is not None
        return self._outcome

    def cancel(self) -> None:
        """Cancel the job; if it does not end, stop all processes. Returns when they have ended."""
        if self._job is not None and not self._ended:
            client, job_id = self._job
            try:
                client.cancel(job_id)
                self.join(CANCEL_TIMEOUT_S)
            except TurnoutError:
                pass  # it ends of itself, or its server does not answer any more
        if self.is_alive():
            self._cancelled = True
            self._cancel()
        self.join()

    def model(self, version: int | str | None) -> Model:
        """A model that is kept. Raises NotFoundError."""
        for _ in range(MODEL_TRIES):
            status = self.view.status if self.view else None
            if status is None or not status.model_sha256:
                break
            directory, kept = self._plan.data / "jobs" / status.job_id, choose(status, version)
            try:
                arrays = read_model(blob_file(str(directory / BLOBS), kept.sha256))
                return Model({**arrays, **kept_carried(directory)}, kept)
            except (FileNotFoundError, ServerError):  # replaced since: what is known is a moment old
                time.sleep(POLL_INTERVAL_S)
        raise NotFoundError("there is no model yet; wait for the first event of the kind published")

    def _exit(self) -> None:
        self._cancelled = True
        self._cancel()
        self.join(EXIT_TIMEOUT_S)

    # --- in the thread: as a screen ---

    async def _follow(self) -> Outcome:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
        if self._cancelled:
            raise asyncio.CancelledError
        return await follow(self._plan, self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, picture: Picture) -> None:
        """Take note of how the job is, of its new events, and of trainings that fail."""
        self.view = picture.view
        self.sat_out = picture.fleet.sat_out if picture.fleet else self.sat_out
        for reason in (picture.fleet.trainings_failed.keys() if picture.fleet else set()) - self._failures:
            self._failures.add(reason)
            logger.warning("devices fail to train: %s", printable(reason))
            self._happened(f"devices fail to train: {reason}")
        if picture.fleet and (why := hopeless(picture.fleet)) and not self._hopeless:
            self._hopeless = why
            self._happened(why)
        if self._job is None:
            return
        while found := self._new_events(self._job[1]):
            self._add(found)

    def _happened(self, text: str) -> None:
        """To devices, of which the job's own events do not tell."""
        self._add([JobEvent(wall_clock(), "warning", text=text)])

    def _add(self, events: list[JobEvent]) -> None:
        with self._news:
            self.events += events
            self._news.notify_all()

    def _new_events(self, job_id: str) -> list[JobEvent]:
        """What has been added to the job's log; of a version that is published again after a restart, the first."""
        try:
            found = read_after(self._plan.data / "jobs" / job_id, self._read_to)
        except FileNotFoundError:  # it has just been moved, and is there again next time
            return []
        events = []
        for self._read_to, event in found:
            if event.kind == "published" and event.version in self._published:
                continue
            if event.kind == "published":
                self._published.add(event.version)
            events.append(event)
        return events

    def said(self, picture: Picture, line: str) -> None:
        """Something happened to a process, or it said something."""
        self.log.append(line)
        logger.info("%s", printable(line))

    def _submitted(self, client: ControlClient, job: JobView) -> None:
        self._job = client, job.job_id
