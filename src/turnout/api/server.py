"""``turnout.connect``: a running server and its jobs, from Python. Blocking; every failure is a TurnoutError."""

import logging
import tempfile
import time
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec

from turnout.api.job import Job
from turnout.api.models import Model, read_model
from turnout.client import servers
from turnout.client.client import ControlClient
from turnout.client.view import UNFINISHED, JobState, JobView
from turnout.errors import UnreachableError
from turnout.messages import JobEvent, KeptModel

ANSWERS_WITHIN_S = 20.0  #: A job's process needs a second or two to start.
ANSWER_INTERVAL_S = 0.1
POLL_INTERVAL_S = 0.5
RECONNECT_S = 1.0
SILENT_MAX_S = 60.0  #: A server away for longer than this does not come back.

logger = logging.getLogger("turnout")


def connect(url: str | None = None, token: str | None = None) -> "Server":
    """The server whose API is at ``url``, as ``turnout up`` prints it; unless given, your own server on this machine,
    of which the token is found, too. Raises TurnoutError when none answers there.
    """
    client = ControlClient(*servers.resolve(url or "", token or ""))
    client.jobs()
    return Server(client)


class Server:
    """A server that runs jobs."""

    def __init__(self, client: ControlClient) -> None:
        self._client = client

    def submit(self, job: Job | str | Path) -> "RemoteJob":
        """Start a job, or the job folder of this name, and wait until it answers.

        Its code can do there all that the account of the server can.

        Raises JobFolderError when the server finds it wrong. Should it not answer soon, its ``status`` says why.
        """
        if isinstance(job, Job):
            with tempfile.TemporaryDirectory(prefix="turnout-submit-") as place:
                view = self._client.submit(job.write(Path(place) / "job"))
        else:
            view = self._client.submit(Path(job), left_out=partial(logger.warning, "left out of the job: %s"))
        give_up_at = time.monotonic() + ANSWERS_WITHIN_S
        while view.state is JobState.RUNNING and not view.fresh and time.monotonic() < give_up_at:
            time.sleep(ANSWER_INTERVAL_S)
            view = self._client.job(view.job_id)
        return RemoteJob(self._client, view)

    def jobs(self) -> "list[RemoteJob]":
        """The jobs submitted last, newest first."""
        return [RemoteJob(self._client, view) for view in self._client.jobs()]

    def job(self, job_id: str) -> "RemoteJob":
        """The job of this id. Raises NotFoundError when there is none."""
        return RemoteJob(self._client, self._client.job(job_id))

    def __repr__(self) -> str:
        return f"<turnout.Server at {self._client.url}>"


class RemoteJob:
    """A job on a server. Iterate over it for its events as they come."""

    def __init__(self, client: ControlClient, view: JobView) -> None:
        self._client = client
        self.job_id = view.job_id
        self.name = view.name

    def status(self) -> JobView:
        """What the server knows of the job; ``.state``, ``.reason``, and ``.status``: its own account of itself."""
        return self._client.job(self.job_id)

    def events(self) -> Iterator[JobEvent]:
        """All that has happened and will, until the job ends; over lost connections, too."""
        after, published, heard_at = "", set[int](), time.monotonic()
        while True:
            try:
                for streamed in self._client.events(self.job_id, after):
                    heard_at = time.monotonic()
                    if streamed.kind == "end":
                        return
                    if streamed.kind != "event":
                        continue
                    after = streamed.id
                    event = msgspec.json.decode(streamed.data, type=JobEvent)
                    if event.kind == "published":
                        if event.version in published:
                            continue  # the job was started again, and publishes what it had published
                        published.add(event.version)
                    yield event
            except UnreachableError:
                if time.monotonic() - heard_at > SILENT_MAX_S:
                    raise
            time.sleep(RECONNECT_S)

    def __iter__(self) -> Iterator[JobEvent]:
        return self.events()

    def wait(self, timeout_s: float | None = None) -> JobView:
        """Until the job has ended; how it did. Raises TimeoutError when it still runs after ``timeout_s``."""
        began = time.monotonic()
        while (view := self.status()).state in UNFINISHED:
            if timeout_s is not None and time.monotonic() - began > timeout_s:
                raise TimeoutError(f"job {self.job_id} still runs after {timeout_s:g} s")
            time.sleep(POLL_INTERVAL_S)
        return view

    def model(self, version: int | str | None = None) -> Model:
        """A model as arrays by name: the "best" by the job's metric, the "newest", or a version that is still kept.

        Unless you say which, the best where there is a metric, else the newest.
        """
        with tempfile.TemporaryDirectory(prefix="turnout-model-") as place:
            target = Path(place) / "model.safetensors"
            got = self._client.model(self.job_id, target, "" if version is None else str(version))
            status = self.status().status
            kept = next((model for model in status.kept if model.version == got), None) if status else None
            return Model(read_model(target), kept or KeptModel(got, "", 0))

    def cancel(self) -> None:
        """End the job before its stop rule does; its model is kept."""
        self._client.cancel(self.job_id)

    def abort(self) -> None:
        """The former name of ``cancel``; removed in 0.3."""
        warnings.warn("RemoteJob.abort is now RemoteJob.cancel", DeprecationWarning, stacklevel=2)
        self.cancel()

    def pause(self) -> None:
        """Give out no more tasks; results of those given out still count."""
        self._client.pause(self.job_id)

    def resume(self) -> None:
        """Resume a paused job."""
        self._client.resume(self.job_id)

    def __repr__(self) -> str:
        return f"<turnout.RemoteJob {self.job_id} at {self._client.url}>"
