"""Refused results on their way to their jobs: together, and a bounded number."""

import msgspec

from turnout.dispatcher.refusals import MESSAGE_CHARS_MAX, REFUSALS_MAX, Refusals
from turnout.messages import DeviceInfo, RefusedResult, RefusedResults


def refused(number: int, job_id: str = "a", message: str = "no") -> RefusedResult:
    device = DeviceInfo(f"d{number}", "app", "1.0", "ios", "17", {"free": "text"})
    return RefusedResult(device, job_id, f"t{number}", "shape", message)


class Job:
    """Takes what it is told while it ``takes``."""

    def __init__(self) -> None:
        self.takes = True
        self.told: list[tuple[str, RefusedResults]] = []

    def send(self, job_id: str, payload: bytes) -> bool:
        if self.takes:
            self.told.append((job_id, msgspec.msgpack.decode(payload, type=RefusedResults)))
        return self.takes


def test_a_job_is_told_at_once() -> None:
    refusals, job = Refusals(), Job()
    refusals.tell(refused(1), job.send)
    refusals.tell(refused(2, "b"), job.send)
    assert [(job_id, [each.task_id for each in found.items]) for job_id, found in job.told] == [
        ("a", ["t1"]),
        ("b", ["t2"]),
    ]
    refusals.tick(job.send)
    assert len(job.told) == 2


def test_what_a_job_does_not_take_it_is_told_together_later() -> None:
    refusals, job = Refusals(), Job()
    job.takes = False
    refusals.tell(refused(1), job.send)
    refusals.tick(job.send)
    job.takes = True
    refusals.tell(refused(2), job.send)
    refusals.tick(job.send)
    assert [[each.task_id for each in found.items] for _, found in job.told] == [["t1", "t2"]]


def test_those_beyond_the_bound_of_a_tick_are_a_number() -> None:
    refusals, job = Refusals(), Job()
    for number in range(REFUSALS_MAX + 3):
        refusals.tell(refused(number), job.send)
    assert len(job.told) == REFUSALS_MAX
    refusals.tick(job.send)
    assert job.told[-1] == ("a", RefusedResults((), {"shape": 3}))
    refusals.tell(refused(0), job.send)
    assert len(job.told) == REFUSALS_MAX + 2


def test_what_is_kept_for_a_job_that_takes_nothing_is_bounded() -> None:
    refusals, job = Refusals(), Job()
    job.takes = False
    for number in range(REFUSALS_MAX + 3):
        refusals.tell(refused(number), job.send)
        refusals.tick(job.send)
    job.takes = True
    refusals.tick(job.send)
    ((_, found),) = job.told
    assert (len(found.items), found.more) == (REFUSALS_MAX, {"shape": 3})


def test_a_message_is_cut_and_a_device_is_told_by_what_is_counted() -> None:
    refusals, job = Refusals(), Job()
    refusals.tell(refused(1, message="x" * 5000), job.send)
    (item,) = job.told[0][1].items
    assert item.message == "x" * MESSAGE_CHARS_MAX
    assert item.device == DeviceInfo("d1", app_version="1.0", platform="ios")


def test_those_of_a_job_that_ended_are_dropped() -> None:
    refusals, job = Refusals(), Job()
    job.takes = False
    refusals.tell(refused(1), job.send)
    refusals.tell(refused(2, "b"), job.send)
    refusals.forget_unless(lambda job_id: job_id == "b")
    job.takes = True
    refusals.tick(job.send)
    assert [job_id for job_id, _ in job.told] == ["b"]
