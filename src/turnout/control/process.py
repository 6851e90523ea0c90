"""The control process: API, store, feed and the supervisor's reports on one loop."""

import argparse
import asyncio
import socket
import sys
import time
from functools import partial
from pathlib import Path

from turnout.control.api import Api
from turnout.control.jobs import Jobs
from turnout.control.listening import make_server, sweep
from turnout.control.questions import Questions
from turnout.control.store import Store
from turnout.control.supervised import SupervisorLink
from turnout.errors import TurnoutError
from turnout.gateway.bounds import RESULT_BYTES_MAX
from turnout.messages import JobLaunched, LifeCycleEvent
from turnout.process import role
from turnout.process.heartbeat import Pulse
from turnout.process.streams import say
from turnout.storage import owner
from turnout.transport.feed import FeedServer
from turnout.transport.socket_folder import feed_path, supervisor_path
from turnout.transport.sockets import SocketTransport


async def run(
    listen: socket.socket, runtime: Path, data: Path, lifeline_fd: int | None, pulse: Pulse, result_bytes_max: int
) -> None:
    """Serve until SIGTERM or the end of the lifeline."""
    store = Store(data / "control.sqlite")
    link = SupervisorLink()
    questions = Questions(SocketTransport())

    def publish(event: LifeCycleEvent) -> None:
        match event:
            case JobLaunched():
                questions.watch(event.job)
            case _:
                questions.forget(event.job_id)
        feed.publish(event)

    jobs = Jobs(store, data, runtime, link.order, publish, time.time)
    for job in jobs.running.values():
        questions.watch(job)
    feed = FeedServer(jobs.running.values)
    api = Api(
        store,
        jobs,
        questions,
        feed.gateways,
        data,
        owner.take(data),
        connected=lambda: link.connected,
        closing=lambda: server.should_exit,
        wall_clock=time.time,
        result_bytes_max=result_bytes_max,
    )
    server, crowd = make_server(api.app())
    role.heed(lifeline_fd, pulse, partial(setattr, server, "should_exit", True))  # signals are uvicorn's
    api.cancelling.resume()
    async with asyncio.TaskGroup() as tasks:
        others = [
            tasks.create_task(feed.serve(feed_path(runtime))),
            tasks.create_task(api.sampler.run()),
            tasks.create_task(sweep(crowd)),
            tasks.create_task(link.follow(supervisor_path(runtime), jobs.heard)),
        ]
        await server.serve(sockets=[listen])
        for task in others:
            task.cancel()
    store.close()


def main() -> int:
    """``python -m turnout.control.process``: started by the supervisor, see ``supervisor/commands.py``."""
    parser = argparse.ArgumentParser(prog="turnout.control.process")
    parser.add_argument("--listen-fd", type=int, required=True)
    parser.add_argument("--runtime", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    role.add_options(parser)
    parser.add_argument("--result-bytes-max", type=int, default=RESULT_BYTES_MAX)
    given = parser.parse_args()
    listen, pulse = socket.socket(fileno=given.listen_fd), Pulse(given.pulse_fd)
    try:
        asyncio.run(run(listen, given.runtime, given.data, given.lifeline_fd, pulse, given.result_bytes_max))
    except TurnoutError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
