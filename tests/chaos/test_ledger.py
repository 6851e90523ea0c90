"""The chaos harness reads what the devices did and heard, line by line."""

from pathlib import Path

import pytest

from tests.chaos.ledger import Book, task_of
from turnout.fleet.ledger import Ledger
from turnout.job.core.answers import TOO_OLD
from turnout.job.places.leases import Lease, Seal, device_hash
from turnout.messages import DeviceInfo, ResultReport, ResultResponse, Status

SEAL = Seal("job", b"k" * 32)


def report(number: int, granted_at: float = 0.0, version: int = 3) -> ResultReport:
    lease = Lease(version, number, device_hash("sim-1"), 1.0, granted_at, granted_at + 5.0)
    return ResultReport(DeviceInfo("sim-1"), "job", SEAL.close(lease), "train", memoryview(b""))


def said(status: Status, counted: bool, *, duplicate: bool = False, message: str = "") -> ResultResponse:
    return ResultResponse(status, counted, message=message, duplicate=duplicate)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


def test_a_lease_tells_its_version_and_task_without_the_key() -> None:
    assert task_of(report(number=12_345_678, version=77).task_id) == (77, 12_345_678)


def test_a_task_is_open_until_it_is_answered_for_good(path: Path) -> None:
    ledger, book = Ledger(path), Book(path)
    ledger.sends(1, report(7))
    ledger.add(1, report(7), said(Status.RETRY, False))
    book.catch_up()
    (task,) = book.open_tasks()
    assert (task.device, task.version, task.device_id) == (1, 3, "sim-1")
    ledger.add(1, report(7), said(Status.OK, True))
    book.catch_up()
    assert book.open_tasks() == []
    assert task.acknowledged
    ledger.close()


def test_a_task_is_acknowledged_once_however_often_it_is_sent(path: Path) -> None:
    ledger, book = Ledger(path), Book(path)
    for granted_at in (0.0, 9.0):  # the same task, by another lease
        ledger.sends(1, report(7, granted_at))
        ledger.add(1, report(7, granted_at), said(Status.OK, True, duplicate=granted_at > 0))
    book.catch_up()
    assert (book.sent, book.acknowledged, book.duplicates, len(book.tasks)) == (2, 1, 1, 1)
    assert book.tasks[7].task_id == report(7, 9.0).task_id
    ledger.close()


def test_a_refusal_is_kept_with_its_reason_beside_an_acknowledgement(path: Path) -> None:
    ledger, book = Ledger(path), Book(path)
    ledger.sends(1, report(7))
    ledger.add(1, report(7), said(Status.OK, True))
    ledger.add(1, report(7), said(Status.NO_TASK, False, message="too old"))
    book.catch_up()
    assert book.tasks[7].acknowledged
    assert book.tasks[7].refused == "NO_TASK: too old"
    ledger.close()


def test_too_old_to_know_is_an_answer_and_no_refusal(path: Path) -> None:
    ledger, book = Ledger(path), Book(path)
    ledger.sends(1, report(7))
    ledger.add(1, report(7), said(Status.NO_TASK, False, message=TOO_OLD.message))
    book.catch_up()
    assert (book.tasks[7].too_old, book.tasks[7].refused, book.tasks[7].is_open) == (True, "", False)
    ledger.close()


def test_half_a_line_is_read_when_it_is_whole(path: Path) -> None:
    ledger = Ledger(path)
    ledger.sends(1, report(7))
    ledger.close()
    line = path.read_bytes()
    book = Book(path)
    path.write_bytes(line[:-5])
    book.catch_up()
    assert book.sent == 0
    path.write_bytes(line)
    book.catch_up()
    assert book.sent == 1


def test_a_ledger_that_is_not_there_yet_holds_nothing(path: Path) -> None:
    book = Book(path)
    book.catch_up()
    assert book.tasks == {}
