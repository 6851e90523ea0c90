"""Counts how much of the code one task request and one result pass, from the socket to the answer.

``python -m tools.walk``; ``make lint`` runs it with ``--check``.

The real gateway server, dispatcher, transport, job and journal run in this process, each with its own timers but that
of the dispatcher, and devices come one after another over HTTP. Of each request that is not among the first, every call
of a function of ``src/turnout`` is counted, in all threads, until nothing is left to do at once.

These are counts of calls and not times, so a machine's speed and load do not change them; one thing is left to chance:
whether a timer of the job or of the gateway fires meanwhile. Therefore several requests are counted, and the commonest
count is the answer. The event loop is asyncio's own, which every machine has. What threads do is kept apart from what
the loop does, since their order is not fixed.
"""

import argparse
import ast
import asyncio
import re
import socket
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import CodeType, FrameType
from urllib.parse import urlencode

import msgspec
import numpy as np

from turnout.blobs.folder import BlobStore
from turnout.blobs.place import sources_of
from turnout.control.check import running_job
from turnout.dispatcher.service import EdgeTaskDispatcher
from turnout.dispatcher.table import JobTable
from turnout.gateway.http1.server import GatewayServer
from turnout.job.folder.folder import load_job_folder
from turnout.job.journal.sqlite import SqliteJournal
from turnout.job.process import JobProcess
from turnout.messages import JobLaunched
from turnout.transport.sockets import SocketJobServer, SocketTransport
from turnout.wire.tensors import to_safetensors

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "turnout"
PAGE = ROOT / "docs" / "ARCHITECTURE.md"
BEGIN, END = "<!-- made by python -m tools.walk --write -->", "<!-- end of what is made -->"

JOB_ID = "job-1"
JOB_TOML = """
name = "walk"
[training]
workflow = "buffered"
buffer_goal = 1000
concurrency = 1000
[selection]
kind = "checkin"
thinning_window_s = 0
[stop]
versions = 1000
"""
MODEL_PY = """
import numpy as np
def initial_model():
    return {"w": np.zeros(8, np.float32)}
"""
WARM = 5  #: Devices whose requests are not counted: some things are made once.
DEVICES = 11
QUIET_TURNS = 20  #: Turns of the event loop after an answer, in which what it leaves to do is counted too.
QUIET_S = 0.05  #: Between two requests, so that timers of one do not fire in the next.
PARTS = ("<module>", "<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>")  #: Parts of functions, by Python's version.


@dataclass(frozen=True, slots=True)
class Walk:
    """What one request passed: each call in its order, as (file, function), of the loop and then of other threads."""

    path: tuple[tuple[str, str], ...]

    @property
    def files(self) -> int:
        return len({file for file, _ in self.path})

    @property
    def functions(self) -> int:
        return len(set(self.path))

    @property
    def calls(self) -> int:
        return len(self.path)

    @property
    def changes(self) -> int:
        """How often a call is of another file than the one before."""
        return sum(a[0] != b[0] for a, b in zip(self.path, self.path[1:], strict=False))


@dataclass(frozen=True, slots=True)
class Budget:
    """What a walk may have at most."""

    files: int
    functions: int
    calls: int


#: Lower these whenever the numbers fall; the aim is 90 functions and 118 calls; 34, 133 and 194.
BUDGETS = {"task": Budget(34, 102, 118), "result": Budget(60, 206, 265)}
#: Lines of a function: the longest, and what nine in ten do not exceed. The aim is 50 and 17.
LONGEST_MAX, P90_MAX = 58, 17


# --- counting -----------------------------------------------------------------------------------------------------


class _Recording:
    """Of all calls into turnout while ``on``."""

    def __init__(self) -> None:
        self.on = False
        self._loop: list[CodeType] = []
        self._threads: list[CodeType] = []
        self._home = threading.get_ident()

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and self.on and frame.f_code.co_filename.startswith(_PREFIX):
            calls = self._loop if threading.get_ident() == self._home else self._threads
            calls.append(frame.f_code)

    def take(self) -> Walk:
        calls, self._loop, self._threads = self._loop + self._threads, [], []
        return Walk(tuple((_file(code), code.co_qualname) for code in calls if code.co_name not in PARTS))


_PREFIX = f"{SRC}/"


def _file(code: CodeType) -> str:
    return code.co_filename.removeprefix(_PREFIX)


def measure(devices: int = DEVICES) -> dict[str, Walk]:
    """The commonest walk of a task request and of a result."""
    recording = _Recording()
    threading.setprofile(recording)  # the journal writes in a thread
    sys.setprofile(recording)
    try:
        with tempfile.TemporaryDirectory(prefix="walk") as directory:
            walks = asyncio.run(_run(Path(directory), recording, devices))
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return {kind: _commonest(found) for kind, found in walks.items()}


def _commonest(walks: list[Walk]) -> Walk:
    def size(walk: Walk) -> tuple[int, int, int]:
        return walk.files, walk.functions, walk.calls

    ((common, _),) = Counter(map(size, walks)).most_common(1)
    return next(walk for walk in walks if size(walk) == common)


async def _run(directory: Path, recording: _Recording, devices: int) -> dict[str, list[Walk]]:
    folder = directory / "folder"
    folder.mkdir()
    (folder / "job.toml").write_text(JOB_TOML)
    (folder / "model.py").write_text(MODEL_PY)
    job_folder, blobs = load_job_folder(folder), BlobStore(directory / "job" / "blobs")
    journal = SqliteJournal(directory / "job", JOB_ID)
    job = JobProcess(job_folder, JOB_ID, blobs, journal)
    address = str(directory / "job.sock")
    jobs = SocketJobServer(address, JOB_ID, journal.incarnation, job_folder.schema, job.shell)
    transport, table = SocketTransport(), JobTable()
    dispatcher = EdgeTaskDispatcher(table, transport, asyncio.get_running_loop().time, Random(1))
    gateway = GatewayServer(dispatcher, dispatcher.schema, sources_of(table.jobs))
    job.shell.start()
    await jobs.start()
    known = running_job(job_folder)
    dispatcher.apply(
        JobLaunched(msgspec.structs.replace(known, job_id=JOB_ID, address=address, blobs=str(blobs.folder)))
    )
    while dispatcher.schema(JOB_ID) is None:  # noqa: ASYNC110  # nothing tells
        await asyncio.sleep(QUIET_S)
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    await gateway.start([listening])
    update = to_safetensors(np.ones(8, np.float32), job_folder.schema)
    walks: dict[str, list[Walk]] = {"task": [], "result": []}
    for number in range(-WARM, devices):
        device = await _Device.connect(port, f"device-{number + WARM}", recording)
        answer, task = await device.ask("/task", {}, b'{"accept": ["safetensors"]}', "application/json")
        assert answer["status"] == "OK", answer
        query = {"task_id": answer["task_id"], "task_name": "train", "num_examples": "5"}
        answer, result = await device.ask("/result", query, update, "application/vnd.safetensors")
        assert answer["counted"] is True, answer
        if number >= 0:
            walks["task"].append(task)
            walks["result"].append(result)
        device.close()
    await gateway.close()
    await jobs.close()
    await job.close()
    transport.close_all()
    return walks


class _Device:
    """One device's kept connection."""

    def __init__(self, sock: socket.socket, name: str, recording: _Recording) -> None:
        self._sock = sock
        self._name = name
        self._recording = recording
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def connect(cls, port: int, name: str, recording: _Recording) -> "_Device":
        sock = socket.socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return cls(sock, name, recording)

    async def ask(self, path: str, query: dict[str, str], body: bytes, form: str) -> tuple[dict[str, object], Walk]:
        """The answer to one request, and its walk."""
        head = (
            f"POST {path}?{urlencode({'job_id': JOB_ID, **query})} HTTP/1.1\r\nHost: localhost\r\n"
            f"X-Flare-Device-ID: {self._name}\r\nContent-Type: {form}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        await asyncio.sleep(QUIET_S)
        self._recording.on = True
        await self._loop.sock_sendall(self._sock, head.encode() + body)
        answer = await self._loop.sock_recv(self._sock, 65536)
        for _ in range(QUIET_TURNS):
            await asyncio.sleep(0)
        self._recording.on = False
        _, _, content = answer.partition(b"\r\n\r\n")
        return msgspec.json.decode(content, type=dict[str, object]), self._recording.take()

    def close(self) -> None:
        self._sock.close()


# --- lengths of functions -----------------------------------------------------------------------------------------


def lengths() -> list[tuple[int, str]]:
    """The lines of every function of turnout and its place, the longest first."""
    found = [
        ((node.end_lineno or 0) - node.lineno + 1, f"{path.relative_to(SRC)}:{node.name}")
        for path in SRC.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return sorted(found, reverse=True)


def quantile(sizes: list[tuple[int, str]], share: float) -> int:
    """What ``share`` of the functions does not exceed."""
    return sorted(size for size, _ in sizes)[int(share * (len(sizes) - 1))]


# --- what is shown ------------------------------------------------------------------------------------------------

NAMES = {"task": "a task request, to its answer", "result": "a result, to `counted: true`"}


def page(walks: dict[str, Walk], sizes: list[tuple[int, str]]) -> str:
    """The table in docs/ARCHITECTURE.md."""
    rows = [
        f"| {NAMES[kind]} | {walk.files} | {walk.functions} | {walk.calls} | {walk.changes} |"
        for kind, walk in walks.items()
    ]
    return "\n".join(
        (
            *(
                BEGIN,
                "| one request | files | functions | calls | changes of file |",
                "|---|---|---|---|---|",
                *rows,
                "",
            ),
            f"Of {len(sizes)} functions half have at most {quantile(sizes, 0.5)} lines, nine in ten at most "
            f"{quantile(sizes, 0.9)}, and the longest has {sizes[0][0]}.",
            END,
        )
    )


def by_folder(walk: Walk) -> Iterator[str]:
    """A line for each folder and each file of it: functions and calls."""
    folders = Counter(file.rpartition("/")[0] for file, _ in walk.path)
    for folder, calls in folders.most_common():
        within = [call for call in walk.path if call[0].rpartition("/")[0] == folder]
        yield f"  {folder or '.':24} {len(set(within)):4} functions {calls:4} calls"
        for file, count in Counter(file for file, _ in within).most_common():
            functions = len({call for call in within if call[0] == file})
            yield f"      {file.rpartition('/')[2]:20} {functions:4} functions {count:4} calls"


def in_order(walk: Walk) -> Iterator[str]:
    """Each call, under its file."""
    last = ""
    for file, function in walk.path:
        if file != last:
            yield f"  {file}"
        yield f"      {function}"
        last = file


def too_much(walks: dict[str, Walk], sizes: list[tuple[int, str]]) -> list[str]:
    """What is beyond the budget, one sentence each."""
    found = [
        f"{kind}: {getattr(walks[kind], what)} {what}, allowed are {getattr(budget, what)}"
        for kind, budget in BUDGETS.items()
        for what in ("files", "functions", "calls")
        if getattr(walks[kind], what) > getattr(budget, what)
    ]
    found += [f"{place} has {size} lines, allowed are {LONGEST_MAX}" for size, place in sizes if size > LONGEST_MAX]
    if (p90 := quantile(sizes, 0.9)) > P90_MAX:
        found.append(f"one in ten functions has more than {p90} lines, allowed are {P90_MAX}")
    return found


def main() -> int:
    """Print the table; the options say what else."""
    parser = argparse.ArgumentParser(prog="python -m tools.walk", description=__doc__)
    parser.add_argument("--by", choices=["folder"], help="show how much is in each folder and file")
    parser.add_argument("--path", action="store_true", help="show each call in its order")
    parser.add_argument("--write", action="store_true", help="write the table into docs/ARCHITECTURE.md")
    parser.add_argument("--check", action="store_true", help="fail when anything is beyond the budget")
    options = parser.parse_args()
    walks, sizes = measure(), lengths()
    print(page(walks, sizes))
    details = [by_folder] * (options.by == "folder") + [in_order] * options.path
    for kind, walk in walks.items():
        for lines in details:
            print(f"\n{NAMES[kind]}:", *lines(walk), sep="\n")
    if options.write:
        PAGE.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: page(walks, sizes), PAGE.read_text(), flags=re.DOTALL))
    found = too_much(walks, sizes) if options.check else []
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
