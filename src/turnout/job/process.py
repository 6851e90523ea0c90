"""The process of one running job: its arguments and signals, its files, and the shell between them.

It ends with exit code 0 when the job is completed and 3 when it is cancelled, and says why in ``final.json``; with 4
when it has failed and another start would not help, and with 5 or 6 when it cannot run for now: the last line says why.
Any other end is a crash.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from turnout.blobs.folder import BlobStore
from turnout.errors import TurnoutError
from turnout.job import exits
from turnout.job.account.eventlog import wall_clock
from turnout.job.around import Around, Ended
from turnout.job.compose import core_of
from turnout.job.core.events import Evaluated
from turnout.job.folder.budget import DiskBudget
from turnout.job.folder.carried import keep_carried
from turnout.job.folder.folder import JobFolder, load_job_folder
from turnout.job.hooks.choices import chances_of, weights_of
from turnout.job.hooks.evaluator import Evaluator
from turnout.job.hooks.exports import Exports
from turnout.job.hooks.runner import HookRunner
from turnout.job.journal import damage
from turnout.job.journal.journal import Fenced, Journal, JournalDamaged, JournalUnusable, Snapshot
from turnout.job.journal.memory import MemoryJournal
from turnout.job.journal.recorder import Moment, Recorder
from turnout.job.journal.sqlite import SqliteJournal
from turnout.job.notes import Notes
from turnout.job.shell import Shell
from turnout.job.workflow.evaluation import Evaluate
from turnout.process import loops, role
from turnout.process.heartbeat import Pulse
from turnout.storage.lock import JobLocked
from turnout.transport.listening import CannotListen
from turnout.transport.sockets import SocketJobServer
from turnout.wire.forms import EXECUTORCH
from turnout.wire.tensors import num_parameters

#: "memory" measures what durability costs; a job that runs so loses everything with its process, and says so.
JOURNAL_VARIABLE, MEMORY = "TURNOUT_JOURNAL", "memory"
EXITS: dict[type[TurnoutError], int] = {
    JournalDamaged: exits.EXIT_FAILED,
    JournalUnusable: exits.EXIT_FAILED,
    JobLocked: exits.EXIT_NOT_OURS,
    Fenced: exits.EXIT_NOT_OURS,
    CannotListen: exits.EXIT_NOT_NOW,
}

logger = logging.getLogger("turnout.job")
T = TypeVar("T")


class JobProcess:
    """What is real around a job's shell: the event loop, its threads, files, and processes for the job's own code."""

    def __init__(
        self, folder: JobFolder, job_id: str, blobs: BlobStore, journal: Journal, pulse: Pulse | None = None
    ) -> None:
        """Raises JournalDamaged when the journal is not what was committed, JournalUnusable for another model's.

        The job's directory is the parent of the blobs' folder.
        """
        self.directory = blobs.folder.parent
        self.budget = DiskBudget(self.directory, blobs.folder, folder.spec.disk.bytes_max)
        self.ended = asyncio.Event()
        self.exit_code = exits.EXIT_STOPPED
        self.gave_up = ""  #: Why this process ended though the job has not.
        self._loop = asyncio.get_running_loop()
        self._threads: set[asyncio.Future[Any]] = set()
        self._evaluations: set[asyncio.Task[Evaluated]] = set()
        self._recorder = Recorder(self.directory)
        recovered = _read_journal(journal, folder, job_id, self.directory, self._recorder.before)
        self._journal, self._notes = journal, Notes(self.directory)
        self._runner = HookRunner(folder.server) if folder.server is not None else None
        self._evaluator = Evaluator.of(folder, self._runner)
        self._chances = chances_of(folder, self._runner, self._warn, self._now)
        self._weights = weights_of(folder, self._runner, self._warn)
        self._exports = self._exports_of(folder, blobs)
        around = Around(
            loop=self._loop,
            thread=self._in_thread,
            journal=journal,
            blobs=blobs,
            allow=self.budget.check,
            notes=self._notes,
            recorder=self._recorder,
            wall_clock=wall_clock,
            progressed=(pulse or Pulse(None)).progress,
            ended=self._end,
            named_before=[noted.sha256 for noted in damage.newest_first(self.directory)],
            evaluate=self._evaluate if self._evaluator is not None else None,
            chances=self._chances,
            weights=self._weights,
            exports=self._exports,
        )
        evaluates, rng = self._evaluator is not None, Random(folder.draws)
        self.core = core_of(folder.spec, job_id, folder.model, journal, evaluates=evaluates, rng=rng)
        self.shell = Shell(self.core, folder.schema, around, recovered, folder.spec.seed)

    def _exports_of(self, folder: JobFolder, blobs: BlobStore) -> Exports | None:
        if self._runner is None or folder.spec.wire.form != EXECUTORCH.name:
            return None
        return Exports(self._runner, blobs, self.budget.check, self._warn, carried=folder.carried)

    def _warn(self, text: str) -> None:
        self.shell.warn(text)

    def _now(self) -> float:
        return self.shell.now()

    def _in_thread(self, work: Callable[[], T], done: Callable[[T, float], object]) -> None:
        """What the thread waited for its turn is left out, so that it does not stretch the interval between commits."""

        def timed() -> tuple[T, float]:
            began = time.perf_counter()
            return work(), time.perf_counter() - began

        def ended(thread: asyncio.Future[tuple[T, float]]) -> None:
            self._threads.discard(thread)
            done(*thread.result())

        thread = self._loop.run_in_executor(None, timed)
        self._threads.add(thread)
        thread.add_done_callback(ended)

    def _evaluate(self, wanted: Evaluate, done: Callable[[Evaluated], None]) -> None:
        assert self._evaluator is not None

        def ended(evaluation: asyncio.Task[Evaluated]) -> None:
            self._evaluations.discard(evaluation)
            if not evaluation.cancelled():
                done(evaluation.result())

        evaluation = self._loop.create_task(self._evaluator.measure(wanted))
        self._evaluations.add(evaluation)
        evaluation.add_done_callback(ended)

    def _end(self, ended: Ended) -> None:
        self.exit_code = ended.exit_code
        self.gave_up = damage.explained(ended.error, self.directory) if ended.error is not None else ""
        self.ended.set()

    async def close(self) -> None:
        """Let go of all files. A commit under way is finished first; its devices hear of it when they send again."""
        self.shell.stop()
        for own_code in (self._exports, self._chances, self._weights, self._runner):
            if own_code is not None:
                await own_code.close()
        await asyncio.gather(*self._threads, *self._evaluations, return_exceptions=True)
        await asyncio.to_thread(self._notes.close)
        self._recorder.close(told_to_end=self.exit_code == exits.EXIT_STOPPED)
        self._journal.close()


def _read_journal(
    journal: Journal, folder: JobFolder, job_id: str, directory: Path, before: Moment | None
) -> Snapshot | None:
    snapshot = journal.load()
    if journal.durable:
        damage.check_witness(directory, before, snapshot)
    expected = num_parameters(folder.schema)
    if snapshot is not None and snapshot.model.size != expected:
        raise JournalUnusable(
            f"the journal in {directory} is of a model of {snapshot.model.size} numbers, and the job folder's has "
            f"{expected}: put the model back that the job began with and start it again with: turnout start {job_id}; "
            "or submit the new one as a new job"
        )
    return snapshot


async def run(folder: JobFolder, given: argparse.Namespace) -> int:
    """Run a job until it ends; the exit code of its process."""
    journal = _journal(folder, given)
    pulse = Pulse(given.pulse_fd)
    keep_carried(given.blobs.parent, folder.carried)
    process = JobProcess(folder, given.job_id, BlobStore(given.blobs), journal, pulse)
    asyncio.get_running_loop().set_exception_handler(_crash)
    server = SocketJobServer(given.address, given.job_id, journal.incarnation, folder.schema, process.shell)
    process.shell.start()
    await server.start()
    role.heed(given.lifeline_fd, pulse, process.ended.set, (signal.SIGTERM,))
    await process.ended.wait()
    await server.close()
    await process.close()
    if process.gave_up:
        print(process.gave_up, file=sys.stderr)
    return process.exit_code


def _journal(folder: JobFolder, given: argparse.Namespace) -> Journal:
    if given.journal == MEMORY:
        logger.warning("the journal is in memory: nothing is durable, and a restart begins at version 0")
        return MemoryJournal()
    directory = given.blobs.parent
    damage.check_presence(directory)
    return SqliteJournal(directory, given.job_id, bytes_max=folder.spec.disk.bytes_max)


def _crash(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """A broken invariant: end the process; the supervisor starts it again from its journal."""
    error = context.get("exception")
    if not isinstance(error, Exception):
        logger.warning("%s", context.get("message"))
        return
    logger.critical("%s", context.get("message"), exc_info=error)
    os._exit(1)


def main() -> int:
    """``python -m turnout.job.process``; called by the supervisor."""
    parser = argparse.ArgumentParser(description="The process of one running job; started by the supervisor.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--job-id", required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--blobs", type=Path, required=True)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--journal", choices=("sqlite", MEMORY), default=os.environ.get(JOURNAL_VARIABLE, "sqlite"))
    role.add_options(parser)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        folder = load_job_folder(given.folder, given.seed, accepted=True)
        role.spare_collector()
        return loops.run(run(folder, given))
    except TurnoutError as error:
        print(damage.explained(error, given.blobs.parent), file=sys.stderr)
        return EXITS.get(type(error), 1)
    except OSError as error:
        print(f"the job in {given.blobs.parent} cannot start: {error}", file=sys.stderr)
        return exits.EXIT_NOT_NOW
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
