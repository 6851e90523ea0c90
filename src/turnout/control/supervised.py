"""Control's end of the supervisor's socket."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from turnout.transport import stream
from turnout.transport.orders import Order, Report

RECONNECT_S = 0.2


class SupervisorLink:
    """Orders go down, reports come up. An order that finds no connection is dropped: what the supervisor says first on
    each connection is compared with what shall run, and the difference is ordered again.
    """

    def __init__(self) -> None:
        self._stream: stream.MessageStream[Report] | None = None

    @property
    def connected(self) -> bool:
        """Whether the supervisor hears us."""
        return self._stream is not None

    def order(self, order: Order) -> None:
        """Send it, or drop it without a connection."""
        if self._stream is not None:
            self._stream.send(order)

    async def follow(self, path: Path, heard: Callable[[Report], None]) -> None:
        """Call ``heard`` with each report, connecting again whenever the connection is lost; until cancelled.

        Raises ServerError when the supervisor speaks another version: it cannot be helped by waiting.
        """
        decoder: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)
        while True:
            try:
                self._stream = await stream.connect(path, decoder)
            except OSError:
                await asyncio.sleep(RECONNECT_S)
                continue
            try:
                while (report := await self._stream.receive()) is not None:
                    heard(report)
            finally:
                self._stream.cut()
                self._stream = None
