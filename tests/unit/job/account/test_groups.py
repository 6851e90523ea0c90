"""The counts of a job by platform and app version."""

import msgspec
import pytest

from tests.unit.job.a_job import LEASE_S, Job, new_job
from turnout.job.account.groups import GROUPS_MAX, ZEROS_TOLD, Counts, Groups, SavedGroups
from turnout.job.account.latency import Latency
from turnout.job.core.events import Result, TaskAsked, Tick
from turnout.job.core.status import status_of
from turnout.job.workflow.buffered import Buffered
from turnout.messages import DeviceInfo, FleetGroup, ResultReport, TaskRequest, TaskResponse

PHONE = DeviceInfo("p", platform="android", app_version="1.4")


def ask(job: Job, device: DeviceInfo) -> TaskResponse:
    ticket = job.ticket()
    job.happens(TaskAsked(ticket, TaskRequest(device, "job-1")))
    answer = job.answers[ticket]
    assert isinstance(answer, TaskResponse)
    return answer


def fleet(job: Job) -> tuple[FleetGroup, ...]:
    return status_of(job.core, job.now).fleet


def test_devices_are_counted_by_platform_and_app_version(job: Job) -> None:
    ask(job, PHONE)
    job.ask("b")
    assert fleet(job) == (
        FleetGroup("android", "1.4", asked=1, given=1, training=1),
        FleetGroup("", "", asked=1, given=1, training=1),
    )


def test_a_lease_that_is_lost_after_a_restart_is_of_the_group_of_its_device(job: Job) -> None:
    ask(job, PHONE)
    job.now = 1.0
    job.happens(Tick())
    job.settle()
    again = job.restart()
    assert fleet(again)[0].training == 1
    again.now = LEASE_S + 1.0
    again.happens(Tick())
    assert fleet(again) == (FleetGroup("android", "1.4", asked=1, given=1, lost=1),)


def test_a_device_that_asks_again_is_given_one_task(job: Job) -> None:
    ask(job, PHONE)
    job.now = 1.0
    ask(job, PHONE)
    assert fleet(job) == (FleetGroup("android", "1.4", asked=2, given=1, training=1),)


def test_a_result_is_counted_for_the_platform_that_its_task_went_to(job: Job) -> None:
    """Though the result names none."""
    job.report("p", ask(job, PHONE))
    job.commit()
    assert fleet(job) == (FleetGroup("android", "1.4", asked=1, given=1, counted=1),)


def test_a_device_that_falls_silent_is_lost_and_one_that_fails_is_refused(job: Job) -> None:
    task = ask(job, PHONE)
    job.now = LEASE_S + 1
    job.happens(Tick())
    assert fleet(job) == (FleetGroup("android", "1.4", asked=1, given=1, lost=1),)
    failed = ResultReport(PHONE, "job-1", task.task_id or "", "train", memoryview(b""), status="ERROR")
    job.happens(Result(job.ticket(), failed))
    (group,) = fleet(job)
    assert (group.lost, group.refused, group.refusals) == (1, 1, {"device_failed": 1})


def test_the_counts_survive_a_restart(job: Job) -> None:
    job.report("p", ask(job, PHONE))
    job.settle()
    again = job.restart()
    assert fleet(again) == (FleetGroup("android", "1.4", asked=1, given=1, counted=1),)


def test_updates_of_zeros_are_told_by_platform(job: Job) -> None:
    job.report("p", ask(job, PHONE), (0.0, 0.0))
    job.report("b", job.ask("b"), (0.0, 1e-30))
    job.commit()
    phone, other = fleet(job)
    assert (phone.counted, phone.zeros) == (1, 1)
    assert (other.counted, other.zeros) == (1, 0)


def test_a_platform_that_sends_nothing_but_zeros_is_a_warning_once() -> None:
    groups = Groups()
    said = [groups.counted(b"p", PHONE, zeros=True) for _ in range(2 * ZEROS_TOLD)]
    assert [bool(text) for text in said] == [number == ZEROS_TOLD for number in range(1, 2 * ZEROS_TOLD + 1)]
    assert said[ZEROS_TOLD - 1] == 'all 10 updates of platform "android", app "1.4", are zeros: it does not train'

    others = Groups()
    assert not any(others.counted(b"p", PHONE, zeros=number > 0) for number in range(2 * ZEROS_TOLD))


@pytest.mark.parametrize(("written", "zeros"), [((1, 2, 3, 4, 5), 0), ((1, 2, 3, 4, 5, 6), 6)])
def test_counts_of_journals_that_knew_less_are_restored(written: tuple[int, ...], zeros: int) -> None:
    groups = Groups()
    groups.load(SavedGroups(((("ios", "2.0"), msgspec.convert(written, Counts)),)))
    assert groups.shown() == (FleetGroup("ios", "2.0", asked=1, given=2, counted=3, refused=4, lost=5, zeros=zeros),)


def test_groups_beyond_the_bound_are_one() -> None:
    groups = Groups()
    for number in range(GROUPS_MAX + 10):
        groups.asked(DeviceInfo("d", platform=f"p{number}"))
    shown = groups.shown()
    assert len(shown) == GROUPS_MAX + 1
    assert shown[0] == FleetGroup("other", asked=10)


def test_latencies_are_quantiles_in_milliseconds() -> None:
    latency = Latency()
    assert latency.quantiles() == {}
    for number in range(101):
        latency.add(number / 1000)
    assert latency.quantiles() == {"p50": 50.0, "p99": 99.0}


def test_devices_without_examples_are_counted_apart_and_nobody_is_warned_of_them() -> None:
    job = new_job(lambda: Buffered(50, 20, 3))
    for number in range(20):
        device = f"d{number}"
        task_id = job.ask(device).task_id or ""
        report = ResultReport(DeviceInfo(device), "job-1", task_id, "train", memoryview(b""), status="NO_EXAMPLES")
        job.happens(Result(job.ticket(), report))
    assert dict(job.core.tally.refused) == {"no_examples": 20}
    assert job.core.warnings.newest == []
