"""FLARE's Python client where it speaks gRPC itself, as its routing proxy does: the same device, another wire.

A request is one message, whose payload holds all that HTTP has in headers, query and body, nulls included. Each opens a
channel of its own and has no deadline. A reply whose own status is not OK is that status, and an empty one is as RETRY.
"""

import asyncio
import json
import os
from collections.abc import Mapping
from typing import Any

os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # as in a gateway, which is not the first to import it here
from grpc import aio

from tests.contract.flare.players.line import WAIT_S
from tests.contract.flare.players.python import PythonDevice, Reply, response
from tests.unit.wire.edge_messages import Reply as ReplyMessage
from tests.unit.wire.edge_messages import Request

METHOD = "/edgeapi.EdgeApi/Query"
NONE = b"0"
TYPES = {"job": "JobRequest", "task": "TaskRequest", "selection": "SelectionRequest", "result": "ResultReport"}
VERBS = {"job": "POST", "task": "GET", "selection": "GET", "result": "POST"}


class PythonGrpcDevice(PythonDevice):
    """``line.url`` is the address, without a scheme."""

    async def post(self, path: str, query: Mapping[str, str], body: Any) -> Reply:
        payload: dict[str, Any] = {"device_info": self.about, **query, **body}
        if path != "selection":
            payload["user_info"] = self.user
        if path in ("task", "result"):
            payload.setdefault("cookie", None)
        message = Request(
            type=TYPES[path], method=VERBS[path], header=NONE, payload=json.dumps(payload).encode()
        ).SerializeToString()
        async with aio.insecure_channel(self.line.url) as channel, asyncio.timeout(WAIT_S):
            self.line.opened += 1
            reply = ReplyMessage.FromString(await channel.unary_unary(METHOD)(message))
        if reply.status != "OK":
            return response(status=reply.status)
        return response(**json.loads(reply.payload)) if reply.payload != NONE else response("RETRY")
