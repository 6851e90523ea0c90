"""Control's questions to job processes, over the same transport that carries devices' requests."""

import asyncio
from itertools import count

from turnout.errors import ServerError
from turnout.messages import ModelSchema, RunningJob, Topic
from turnout.transport.base import Transport


class Questions:
    """Asks one job at a time something and waits for its answer. An inbox of the transport."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._tickets = count(1)
        self._waiting: dict[int, tuple[str, asyncio.Future[bytes]]] = {}
        self._incarnations: dict[str, int] = {}
        transport.attach(self)

    def watch(self, job: RunningJob) -> None:
        """Keep a connection to the job until it is forgotten."""
        self._transport.open(job)

    async def ask(self, job_id: str, topic: Topic, payload: bytes, timeout_s: float) -> bytes:
        """The job's answer. Raises ServerError when there is none in time."""
        ticket = next(self._tickets)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[ticket] = (job_id, answer)
        try:
            if not self._transport.send(job_id, ticket, topic, payload):
                raise ServerError(f"job {job_id} does not answer yet")
            async with asyncio.timeout(timeout_s):  # not wait_for, which may swallow that we are cancelled
                return await answer
        except TimeoutError:
            raise ServerError(f"job {job_id} did not answer within {timeout_s:g} s") from None
        finally:
            del self._waiting[ticket]

    def incarnation(self, job_id: str) -> int:
        """Of the process that we were connected to last; 0 before the first."""
        return self._incarnations.get(job_id, 0)

    def forget(self, job_id: str) -> None:
        """The job has ended."""
        self._transport.close(job_id)
        self._incarnations.pop(job_id, None)

    def connected(self, job_id: str, incarnation: int, schema: ModelSchema) -> None:
        """Nothing is sent again: who asked a job that died has been told."""
        self._incarnations[job_id] = incarnation

    def replied(self, ticket: int, payload: bytes | memoryview) -> None:
        _, answer = self._waiting.get(ticket, (None, None))
        if answer is not None and not answer.done():
            answer.set_result(bytes(payload))

    def failed(self, ticket: int, reason: str) -> None:
        job_id, answer = self._waiting.get(ticket, (None, None))
        if answer is not None and not answer.done():
            answer.set_exception(ServerError(f"job {job_id}: {reason}"))

    def lost(self, job_id: str, reason: str) -> None:
        for asked, answer in self._waiting.values():
            if asked == job_id and not answer.done():
                answer.set_exception(ServerError(f"job {job_id}: {reason}"))
