"""Ends the jobs that people cancel, without dropping what devices were told is counted.

A job that is cancelled takes the results of devices that are training, for a while, and ends. It remembers that
only as long as its process lives, so it is told again until it has ended: a process that is being started, too.
Force comes only after a process had its time; one that does not answer at all is the supervisor's to judge. When the
supervisor says that it cannot run for now, nobody knows for how long, so that time ends too.
"""

import asyncio

from turnout.client.view import JobState
from turnout.control.jobs import CANCELLED
from turnout.control.known import KnownJobs
from turnout.errors import ServerError
from turnout.messages import JobStatus, Topic

#: From a process's first answer to force. A slow disk must not cost results; a full one may.
CANCEL_GRACE_S = 60.0
AGAIN_S = 0.5


class Cancelling:
    """Sees to it that each cancelled job ends."""

    def __init__(self, known: KnownJobs, grace_s: float = CANCEL_GRACE_S, again_s: float = AGAIN_S) -> None:
        self._known = known
        self._grace_s = grace_s
        self._again_s = again_s
        self._tasks: set[asyncio.Task[None]] = set()

    def resume(self) -> None:
        """Continue what an earlier control process has begun."""
        for job_id in self._known.jobs.cancelling():
            self.cancel(job_id)

    def cancel(self, job_id: str) -> None:
        """Have a job end that is stored as cancelling."""
        task = asyncio.create_task(self._cancel(job_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _cancel(self, job_id: str) -> None:
        process, since = -1, 0.0  # which has answered, and since when
        before: JobStatus | None = None
        delayed_since: float | None = None
        loop = asyncio.get_running_loop()
        while True:
            if process < 0:
                before = await self._known.ask_status(job_id) or before
            if not self._is_cancelling(job_id):  # it has ended, and may run again by now: see ``Jobs.revive``
                return
            try:
                await self._known.tell(job_id, Topic.CANCEL, CANCELLED.encode())
            except ServerError:  # it is being started, or busy, or cannot run
                delay, now = self._known.jobs.delay(job_id), loop.time()
                delayed_since = (delayed_since or now) if delay else None
                if delayed_since is not None and now - delayed_since >= self._grace_s:
                    await self._force(job_id, before, f"its process could not run: {delay}")
            else:
                delayed_since = None
                now, answered = loop.time(), self._known.process(job_id)
                if answered != process:
                    process, since = answered, now
                if now - since >= self._grace_s:
                    await self._force(job_id, before, f"it was not done within {self._grace_s:g} s")
            await asyncio.sleep(self._again_s)

    def _is_cancelling(self, job_id: str) -> bool:
        job = self._known.store.get(job_id)
        return job is not None and job.state is JobState.CANCELLING

    async def _force(self, job_id: str, before: JobStatus | None, why: str) -> None:
        left = unsaved(before, await self._known.ask_status(job_id))
        lost = "it is not known how many" if left is None else f"up to {left}" if left else "no"
        self._known.jobs.force(
            job_id,
            f"{CANCELLED}, and by force: {why}; {lost} counted results are in no version of its model",
        )


def unsaved(before: JobStatus | None, now: JobStatus | None) -> int | None:
    """How many counted results are in no version, at most, by what a job said before it was cancelled and says now.

    None when that is not known. A job that is closing its last version shows an empty buffer before that is saved.
    """
    if before is None or before.state == "ENDING":
        return None
    if now is None:
        return before.buffered
    if now.version > before.version:
        return now.buffered
    return max(now.buffered, before.buffered + now.counted - before.counted)
