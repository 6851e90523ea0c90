"""The job's own code that judges devices and results, in its process."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from turnout.errors import JobFolderError
from turnout.job.hooks.choices import CHANCE_S, DROPPED_S, Chances, Decided, Judge, Weights
from turnout.job.hooks.returned import checked_number
from turnout.job.hooks.runner import HookRunner
from turnout.job.places.leases import Lease
from turnout.messages import DeviceInfo, ResultReport

LEASE = Lease(version=3, task=1, device=b"d", weight_max=10.0, granted_at=0.0, expires_at=1.0)
REPORT = ResultReport(
    DeviceInfo("d", platform="ios"), "job-1", "t", "train", memoryview(b""), num_examples=8.0, metrics={"loss": 0.5}
)


class FakeJudge:
    """Decides when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, Any], Decided]] = []

    def ask(self, facts: dict[str, Any], decided: Decided, num_bytes: int = 0) -> None:
        self.asked.append((facts, decided))

    async def close(self) -> None:
        pass


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Server:
    """A server.py that the test writes, and what calls it."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "server.py"
        self.runner = HookRunner(self._file)

    def judge(
        self,
        code: str,
        warnings: list[str],
        waiting_max: int = 10,
        patience_s: float = 60.0,
        call_timeout_s: float = 60.0,
    ) -> Judge:
        self._file.write_text(code)
        return Judge(self.runner, "weigh", patience_s, warnings.append, waiting_max, 100, call_timeout_s)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    made = Server(tmp_path)
    yield made
    await made.runner.close()


async def factor_of(judge: Judge) -> float:
    """What the code makes of a result, by its own process."""
    weights, factor = Weights(judge), asyncio.get_running_loop().create_future()
    weights.ask(REPORT, LEASE, 5, factor.set_result)
    try:
        return await asyncio.wait_for(factor, 60)
    finally:
        await weights.close()


@pytest.mark.anyio
async def test_a_result_is_weighed_by_what_is_known_of_it(server: Server) -> None:
    code = "def weigh(r): return r['metrics']['loss'] * r['num_examples'] + r['staleness'] + (r['platform'] == 'ios')"
    assert await factor_of(server.judge(code, [])) == 0.5 * 8 + 2 + 1


@pytest.mark.anyio
async def test_where_weighing_fails_a_result_counts_as_it_would_without_and_people_are_told(server: Server) -> None:
    warnings: list[str] = []
    assert await factor_of(server.judge("def weigh(r): raise KeyError('loss')", warnings)) == 1.0
    assert len(warnings) == 1
    assert "weigh of server.py failed" in warnings[0]


@pytest.mark.anyio
async def test_results_that_came_together_are_judged_in_their_order(server: Server) -> None:
    judge, decided, done = server.judge("def weigh(r): return r['n']", [], 1000), [], asyncio.Event()

    def note(number: float | None) -> None:
        decided.append(number)
        if len(decided) == 600:
            done.set()

    for number in range(600):
        judge.ask({"n": number}, note)
    await asyncio.wait_for(done.wait(), 60)
    await judge.close()
    assert decided == list(range(600))


@pytest.mark.anyio
async def test_more_results_than_may_wait_count_as_they_are_at_once(server: Server) -> None:
    judge, decided = server.judge("def weigh(r): return 2", [], waiting_max=1), list[float | None]()
    judge.ask({}, decided.append)
    judge.ask({}, decided.append)
    assert decided == [None]
    await judge.close()


@pytest.mark.anyio
async def test_results_whose_updates_are_too_large_together_count_as_they_are_at_once(server: Server) -> None:
    judge, decided = server.judge("def weigh(r): return 2", []), list[float | None]()
    for _ in range(3):
        judge.ask({}, decided.append, num_bytes=50)
    assert decided == [None]
    await judge.close()


@pytest.mark.anyio
async def test_a_function_that_hangs_is_warned_of_by_the_name_that_people_gave_it(server: Server) -> None:
    warnings: list[str] = []
    judge = server.judge("def weigh(r):\n    while True: pass", warnings, call_timeout_s=0.1)
    decided = asyncio.get_running_loop().create_future()
    judge.ask({}, decided.set_result)
    assert await asyncio.wait_for(decided, 60) is None
    assert warnings == ["weigh of server.py failed, and is done without: weigh took longer than 0.1 s"]
    await judge.close()


@pytest.mark.anyio
async def test_nobody_waits_longer_than_the_patience_and_those_after_it_are_judged_again(
    server: Server, tmp_path: Path
) -> None:
    """The function hangs over the first, until a file is there."""
    gate = tmp_path / "gate"
    code = f"import os\ndef weigh(r):\n    while not os.path.exists({str(gate)!r}): pass\n    return 3"
    warnings: list[str] = []
    judge, first = server.judge(code, warnings, patience_s=0.2), asyncio.get_running_loop().create_future()
    judge.ask({}, first.set_result)
    assert await asyncio.wait_for(first, 60) is None
    assert warnings == ["weigh of server.py takes longer than 0.2 s, and is done without"]
    await asyncio.to_thread(gate.touch)
    number = None
    while number is None:  # the process is busy with the first for a moment
        again = asyncio.get_running_loop().create_future()
        judge.ask({}, again.set_result)
        number = await asyncio.wait_for(again, 60)
    assert number == 3.0
    await judge.close()


@pytest.mark.anyio
async def test_a_failure_of_who_is_called_back_is_not_swallowed(server: Server) -> None:
    """What it was doing may be half done: the job's process ends by it."""
    told = asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.set())

    def fails(number: float | None) -> None:
        raise AssertionError("half of it is in the sum")

    judge = server.judge("def weigh(r): return 1", [])
    judge.ask({}, fails)
    await asyncio.wait_for(told.wait(), 60)
    await judge.close()


def test_made_up_kinds_of_devices_do_not_push_out_those_that_ask() -> None:
    judge = FakeJudge()
    chances, phone = Chances(judge, Clock()), DeviceInfo("a", platform="ios")
    chances.of(phone)
    judge.asked[0][1](0.0)
    for number in range(5000):
        chances.of(DeviceInfo("b", app_version=str(number)))
        assert chances.of(phone) == 0.0


def test_a_question_that_could_not_be_asked_is_asked_again_soon() -> None:
    judge, clock = FakeJudge(), Clock()
    chances, phone = Chances(judge, clock), DeviceInfo("a")
    chances.of(phone)
    judge.asked[0][1](None)
    clock.now = DROPPED_S
    chances.of(phone)
    assert len(judge.asked) == 2


def test_the_chance_of_a_kind_of_device_is_known_once_it_was_judged() -> None:
    judge = FakeJudge()
    chances, phone = Chances(judge, Clock()), DeviceInfo("a", platform="android", app_version="1.0")
    assert [chances.of(phone), chances.of(phone)] == [1.0, 1.0]
    ((facts, decided),) = judge.asked
    assert facts == {"platform": "android", "platform_version": "", "app_name": "", "app_version": "1.0"}
    decided(0.25)
    assert chances.of(DeviceInfo("another", platform="android", app_version="1.0")) == 0.25
    assert chances.of(DeviceInfo("b")) == 1.0


def test_a_chance_is_asked_for_again_after_a_while_and_holds_until_it_is_there() -> None:
    judge, clock = FakeJudge(), Clock()
    chances, phone = Chances(judge, clock), DeviceInfo("a")
    chances.of(phone)
    judge.asked[0][1](0.25)
    clock.now = CHANCE_S
    assert chances.of(phone) == 0.25
    judge.asked[1][1](None)
    assert chances.of(phone) == 0.25, "a failure changes nothing"
    assert len(judge.asked) == 2


def test_a_chance_above_one_is_one() -> None:
    judge = FakeJudge()
    chances = Chances(judge, Clock())
    chances.of(DeviceInfo("a"))
    judge.asked[0][1](7.0)
    assert chances.of(DeviceInfo("a")) == 1.0


@pytest.mark.parametrize("returned", ["many", None, float("nan"), float("inf"), -0.1])
def test_what_is_no_weight_and_no_chance_is_refused(returned: object) -> None:
    with pytest.raises(JobFolderError, match="expected is a finite number, 0 or more"):
        checked_number("weigh", returned)
