"""The third reference: a gateway as most would write it, uvicorn and Starlette with the same decoder of JSON.

    python -m bench.starlette_app PORT

Ends with its standard input.
"""

import asyncio
import gc
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.echo import BINARY, decode, encode
from bench.traffic import STATIC_REPLY


async def answer(request: Request) -> Response:
    """The same reply to everything, once its body was read and decoded."""
    body = await request.body()
    if request.headers["content-type"] != BINARY.decode():
        decode(body)
    return Response(encode(STATIC_REPLY), media_type="application/json")


app = Starlette(routes=[Route(path, answer, methods=["POST"]) for path in ("/job", "/task", "/selection", "/result")])


async def serve(port: int) -> None:
    config = uvicorn.Config(
        app, port=port, loop="uvloop", http="httptools", lifespan="off", access_log=False, log_level="warning"
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    await asyncio.to_thread(sys.stdin.read)
    server.should_exit = True
    await serving


if __name__ == "__main__":
    gc.freeze()
    with asyncio.Runner(loop_factory=uvicorn.Config(app, loop="uvloop").get_loop_factory()) as runner:
        runner.run(serve(int(sys.argv[1])))
