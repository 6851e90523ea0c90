"""``turnout.gateway.asgi_app:app``: a gateway within an ASGI server, for the jobs of a turnout server beside it.

    TURNOUT_PORT=8710 uvicorn --loop uvloop turnout.gateway.asgi_app:app

TURNOUT_PORT names the server, of the same user on the same machine, by the port on which its own gateways listen;
TURNOUT_CORS_ORIGINS the pages that may use this one, separated by spaces; TURNOUT_RESULT_BYTES_MAX and
TURNOUT_WEIGHTS_MODEL_BYTES_MAX are its --result-bytes-max and --weights-model-bytes-max: give it what the server has.
Give uvicorn ``--http h11`` if devices offer HTTP/2 by an Upgrade header, as Java's HttpClient does: its quicker parser
drops the body of such a request.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from turnout.errors import TurnoutError, UsageError
from turnout.gateway.asgi import AsgiGateway, Receive, Scope, Send
from turnout.gateway.bounds import (
    RESULT_BYTES_MAX,
    RESULT_BYTES_MOST,
    WEIGHTS_MODEL_BYTES_MAX,
    WEIGHTS_MODEL_BYTES_MOST,
)
from turnout.gateway.cors import Origins
from turnout.gateway.gateway import Gateway
from turnout.gateway.limits import GatewayLimits
from turnout.transport import socket_folder

PORT_VARIABLE = "TURNOUT_PORT"
ORIGINS_VARIABLE = "TURNOUT_CORS_ORIGINS"
RESULT_BYTES_VARIABLE = "TURNOUT_RESULT_BYTES_MAX"
WEIGHTS_MODEL_BYTES_VARIABLE = "TURNOUT_WEIGHTS_MODEL_BYTES_MAX"
DEFAULT_PORT = "8710"

logger = logging.getLogger(__name__)


class App:
    """The application, with its start and its end."""

    def __init__(self, variables: Mapping[str, str] = os.environ) -> None:
        self._variables = variables
        self._gateway: AsgiGateway | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the whole life of the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            assert self._gateway is not None, "the server must tell us that it starts: switch its lifespan on"
            await self._gateway(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            limits = limits_of(self._variables)
            folder = socket_folder.folder_of(self._variables.get(PORT_VARIABLE, DEFAULT_PORT))
        except TurnoutError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        origins = Origins(self._variables.get(ORIGINS_VARIABLE, "").split())
        async with _gateway(limits, origins, socket_folder.feed_path(folder)) as self._gateway:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


def limits_of(variables: Mapping[str, str]) -> GatewayLimits:
    """The bounds that are set, and else those of every gateway. Raises UsageError."""
    return GatewayLimits(
        result_bytes_max=_size(variables, RESULT_BYTES_VARIABLE, RESULT_BYTES_MAX, RESULT_BYTES_MOST),
        weights_model_bytes_max=_size(
            variables, WEIGHTS_MODEL_BYTES_VARIABLE, WEIGHTS_MODEL_BYTES_MAX, WEIGHTS_MODEL_BYTES_MOST
        ),
    )


def _size(variables: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = variables.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and 1 <= int(text) <= most):
        raise UsageError(f"{name} must be a number of bytes from 1 to {most}; it is {text!r}")
    return int(text)


@asynccontextmanager
async def _gateway(limits: GatewayLimits, origins: Origins, feed_at: Path) -> AsyncIterator[AsgiGateway]:
    """A gateway that knows the jobs of a server by its feed, for as long as the block."""
    gateway = Gateway(os.getpid(), limits, origins)
    tasks = gateway.run(feed_at, logger.warning)
    try:
        await gateway.server.start([])
        await gateway.wait_told()
        yield AsgiGateway(gateway.server.shared)
    finally:
        await gateway.server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        gateway.close()


app = App()
