"""Refused results on their way to their jobs: together, and a bounded number."""

import msgspec

from turnout.dispatcher.refusals import MESSAGE_CHARS_MAX, REFUSALS_MAX, Refusals
from turnout.messages import DeviceInfo, RefusedResult, RefusedResults


def refused(number: int, job_id: str = "a", message: str = "no") -> RefusedResult:
    device = DeviceInfo(f"d{number}", "app", "1.0", "ios", "17", {"free": "text"})
    return RefusedResult(device, job_id, f"t{number}", "shape", message)


def told(refusals: Refusals, takes: bool = True) -> dict[str, RefusedResults]:
    sent: dict[str, RefusedResults] = {}

    def send(job_id: str, payload: bytes) -> bool:
        sent[job_id] = msgspec.msgpack.decode(payload, type=RefusedResults)
        return takes

    refusals.tell(send)
    return sent


def test_each_job_is_told_of_its_own_together() -> None:
    refusals = Refusals()
    for result in (refused(1), refused(2), refused(3, "b")):
        refusals.add(result)
    sent = told(refusals)
    assert {job_id: [each.task_id for each in found.items] for job_id, found in sent.items()} == {
        "a": ["t1", "t2"],
        "b": ["t3"],
    }
    assert told(refusals) == {}


def test_what_a_job_does_not_take_now_it_is_told_later() -> None:
    refusals = Refusals()
    refusals.add(refused(1))
    assert told(refusals, takes=False) == told(refusals) != {}


def test_those_beyond_the_bound_are_a_number() -> None:
    refusals = Refusals()
    for number in range(REFUSALS_MAX + 3):
        refusals.add(refused(number))
    found = told(refusals)["a"]
    assert (len(found.items), found.more) == (REFUSALS_MAX, {"shape": 3})


def test_a_message_is_cut_and_a_device_is_told_by_what_is_counted() -> None:
    refusals = Refusals()
    refusals.add(refused(1, message="x" * 5000))
    (item,) = told(refusals)["a"].items
    assert item.message == "x" * MESSAGE_CHARS_MAX
    assert item.device == DeviceInfo("d1", app_version="1.0", platform="ios")


def test_those_of_a_job_that_ended_are_dropped() -> None:
    refusals = Refusals()
    refusals.add(refused(1))
    refusals.add(refused(2, "b"))
    refusals.forget_unless(lambda job_id: job_id == "b")
    assert told(refusals).keys() == {"b"}
