"""Requests and replies between processes: what every transport does, and for whom.

A transport carries *tickets*, integers chosen by its user, and keeps nothing per request: the sender owns the
book of what is in flight (``dispatcher/pending.py``). So a job that dies, hangs or answers late has nothing to leak.
"""

from typing import Protocol

from turnout.messages import ModelSchema, RunningJob, Topic


class Inbox(Protocol):
    """Where a transport delivers. Called on the event loop, never from inside ``Transport.send``."""

    def connected(self, job_id: str, incarnation: int, schema: ModelSchema) -> None:
        """The job's process answers; ``incarnation`` grows with each of its starts."""

    def replied(self, ticket: int, payload: bytes | memoryview) -> None:
        """The job answered. May name a ticket that is long forgotten."""

    def failed(self, ticket: int, reason: str) -> None:
        """The job could not handle this one request; it lives on."""

    def lost(self, job_id: str, reason: str) -> None:
        """The connection is gone: nothing sent on it and unanswered will be answered."""


class Transport(Protocol):
    """The way from a gateway to job processes."""

    def attach(self, inbox: Inbox) -> None:
        """Deliver to ``inbox``; called once, before anything else."""

    def open(self, job: RunningJob) -> None:
        """Connect to a job's process, and again whenever the connection is lost, until ``close``.

        A second ``open`` with another address moves the connection there; with the same address it changes nothing.
        """

    def close(self, job_id: str) -> None:
        """Forget a job; unanswered tickets are reported by ``Inbox.lost`` first."""

    def send(self, job_id: str, ticket: int, topic: Topic, payload: bytes) -> bool:
        """Put one request into this tick's frame. False when the job is not connected or its queue is full."""
        ...


class JobHandler(Protocol):
    """The other end: what a job process does with a request, however it travelled."""

    def received(self, topic: Topic, payload: memoryview, reply: "Reply") -> None:
        """Handle one request, now or later; call ``reply`` at most once, from the event loop."""


class Reply(Protocol):
    """Answers one request. Calling it after the connection is gone does nothing."""

    def __call__(self, payload: bytes) -> None: ...
    def fail(self, reason: str) -> None: ...
