"""Tasks to measure only: who gets them, what becomes of their results, and that they are in no model."""

from collections.abc import Iterable

import msgspec
import pytest

from tests.unit.job.a_job import Job, make_parts, new_job
from turnout.job.core.events import Cancelled, Finish, Result, TaskAsked
from turnout.job.core.status import status_of
from turnout.job.places.leases import Lease, Seal
from turnout.job.workflow.buffered import Buffered
from turnout.job.workflow.federated import METRICS_MAX, SAMPLE_MAX, VERSIONS_MAX, Federated, SavedFederated
from turnout.messages import (
    VALIDATE,
    VALIDATED,
    DeviceInfo,
    ResultReport,
    ResultResponse,
    Status,
    TaskRequest,
    TaskResponse,
)

ACCEPT = ("safetensors", VALIDATE)


@pytest.fixture
def job() -> Job:
    """Every device that can measure is to measure first."""
    made = new_job(lambda: Buffered(concurrency=4, goal=2, staleness_max=3))
    made.core.parts.places.validate_share = 1.0

    def remade():  # type: ignore[no-untyped-def]
        parts = make_parts(Buffered(4, 2, 3))
        parts.places.validate_share = 1.0
        return parts

    made.remake = remade
    return made


def ask(job: Job, device: str, accept: tuple[str, ...] = ACCEPT) -> TaskResponse:
    ticket = job.ticket()
    job.happens(TaskAsked(ticket, TaskRequest(DeviceInfo(device), "job-1", accept=accept)))
    answer = job.answers[ticket]
    assert isinstance(answer, TaskResponse)
    return answer


def measured(
    job: Job,
    device: str,
    task: TaskResponse,
    accuracy: float,
    examples: float = 1.0,
    status: str = VALIDATED,
    others: Iterable[str] = (),
) -> int:
    """Send a result, with an accuracy or in its place metrics of ``others``, all 1; returns its ticket."""
    ticket = job.ticket()
    job.now += job.between_s
    report = ResultReport(
        DeviceInfo(device),
        "job-1",
        task.task_id or "",
        VALIDATE,
        memoryview(b""),
        examples,
        dict.fromkeys(others, 1.0) or {"accuracy": accuracy},
        status,
    )
    job.happens(Result(ticket, report))
    return ticket


def answer(job: Job, ticket: int) -> ResultResponse:
    found = job.answers[ticket]
    assert isinstance(found, ResultResponse)
    return found


def test_a_task_to_measure_goes_to_who_can_do_it(job: Job) -> None:
    assert ask(job, "new").task_name == VALIDATE
    assert ask(job, "old", accept=()).task_name == "train"


def test_the_metrics_of_devices_are_combined_by_their_examples(job: Job) -> None:
    """(0.5 * 1 + 0.9 * 3) / 4 = 0.8; the third device measures on more than its update would weigh."""
    for device, accuracy, examples in (("a", 0.5, 1.0), ("b", 0.9, 3.0)):
        measured(job, device, ask(job, device), accuracy, examples)
    job.settle()
    assert status_of(job.core, job.now).metrics == {"federated/accuracy": pytest.approx(0.8)}, "nothing else measures"
    measured(job, "c", ask(job, "c"), 0.1, 96.0)
    assert status_of(job.core, job.now).metrics["federated/accuracy"] == pytest.approx((0.8 * 4 + 0.1 * 96) / 100)


def test_a_measurement_is_counted_once_when_it_is_durable_and_is_in_no_model(job: Job) -> None:
    task = ask(job, "a")
    first = measured(job, "a", task, 0.5)
    assert first not in job.answers
    job.commit()
    assert answer(job, first).counted
    again = answer(job, measured(job, "a", task, 0.7))
    assert (again.counted, again.duplicate) == (True, True)
    assert job.core.federated.mean(0) == {"federated/accuracy": 0.5}
    assert job.core.parts.aggregator.count == 0


def test_a_device_that_has_measured_a_version_trains_it_and_measures_it_no_more(job: Job) -> None:
    measured(job, "a", ask(job, "a"), 0.5)
    job.settle()
    train = ask(job, "a")
    assert train.task_name == "train"
    job.report("a", train)
    job.settle()
    assert ask(job, "a").status is Status.RETRY
    assert job.core.parts.aggregator.count == 1


def test_an_update_from_a_task_to_measure_is_refused_and_the_other_way_round(job: Job) -> None:
    wrong = job.report("a", ask(job, "a"))()
    assert wrong is not None
    assert (wrong.status, wrong.message) == (Status.ERROR, "the device reports 'OK', and not 'VALIDATED'")
    told = answer(job, measured(job, "b", ask(job, "b", accept=()), 0.5))
    assert (told.status, told.counted) == (Status.ERROR, False)
    assert job.core.federated.mean(0) == {}


def test_measurements_survive_a_restart_with_their_commits(job: Job) -> None:
    task = ask(job, "a")
    measured(job, "a", task, 0.5)
    job.settle()
    again = job.restart()
    assert again.core.federated.mean(0) == {"federated/accuracy": 0.5}
    assert answer(again, measured(again, "a", task, 0.9)).duplicate


def test_a_measurement_whose_commit_failed_is_counted_when_it_is_sent_again(job: Job) -> None:
    task = ask(job, "a")
    first = measured(job, "a", task, 0.5)
    job.fail_commit()
    assert answer(job, first).status is Status.RETRY
    job.now += 2.0
    second = measured(job, "a", task, 0.5)
    job.settle()
    assert answer(job, second).counted
    assert job.core.federated.mean(0) == {"federated/accuracy": 0.5}
    assert job.core.tally.counted == 1


def test_who_has_measured_is_answered_when_the_job_is_ended(job: Job) -> None:
    """Though nothing is in the buffer, of which a last version could be made."""
    task = ask(job, "a")
    job.commit() if job.committing else None
    ticket = job.ticket()
    report = ResultReport(DeviceInfo("a"), "job-1", task.task_id or "", VALIDATE, memoryview(b""), status=VALIDATED)
    job.happens(Result(ticket, report))
    job.happens(Cancelled("enough"))
    job.settle()
    assert answer(job, ticket).counted
    assert isinstance(job.effects[-1], Finish)


def test_the_seal_says_what_a_task_is() -> None:
    seal = Seal("job-1", b"k" * 32)
    train, validate = (Lease(1, 2, b"d" * 16, 10.0, 0.0, 60.0, kind) for kind in (False, True))
    assert seal.open(seal.close(train)) == train
    assert seal.open(seal.close(validate)) == validate
    assert seal.close(train) != seal.close(validate)


def test_a_metric_is_told_with_what_it_was_made_of() -> None:
    """Ten devices of 0.0 to 0.9, the last with 91 examples: 0.9 * 91 + 3.6 over 100, and 0.45 by device."""
    federated = Federated()
    for number in range(10):
        federated.add(3, {"accuracy": number / 10}, 91.0 if number == 9 else 1.0, task=number)
    (told,) = federated.shown()
    assert (told.name, told.version, told.devices, told.examples) == ("federated/accuracy", 3, 10, 100.0)
    assert told.mean == pytest.approx((0.9 * 91 + 3.6) / 100)
    assert told.mean_by_device == pytest.approx(0.45)
    assert told.spread == pytest.approx(0.28722813)
    assert told.percentiles == pytest.approx({"p10": 0.0, "p50": 0.4, "p90": 0.8})


def test_one_device_cannot_use_up_the_names_of_a_version() -> None:
    federated = Federated()
    federated.add(0, {f"junk{number}": 1.0 for number in range(METRICS_MAX)}, 1.0)
    for number in range(5):
        federated.add(0, {"accuracy": 0.5}, 1.0, task=number)
    assert federated.mean(0)["federated/accuracy"] == 0.5
    assert federated.shown()[0].name == "federated/accuracy"
    federated.add(0, {f"more{number}": 1.0 for number in range(METRICS_MAX)}, 1.0)
    assert federated.shown()[0].devices == 5, "what several devices say stays"


def test_devices_that_send_all_the_names_they_may_hide_nothing_that_honest_ones_measured(job: Job) -> None:
    """One before three honest devices and one after them; the honest mean is (0.6 + 0.7 + 0.8) / 3."""
    for number, device in enumerate(("first", "a", "b", "c", "last")):
        junk = [] if len(device) == 1 else [f"{device}-{name}" for name in range(METRICS_MAX)]
        sent = measured(job, device, ask(job, device), 0.5 + number / 10, others=junk)
        job.settle()
        assert answer(job, sent).counted
    told = status_of(job.core, job.now)
    assert next(iter(told.metrics.items())) == ("federated/accuracy", pytest.approx(0.7)), "shown before all junk"
    assert (told.by_devices[0].name, told.by_devices[0].devices) == ("federated/accuracy", 3)
    assert len(told.metrics) == METRICS_MAX


def test_what_is_kept_of_a_metric_is_bounded_however_many_devices_measure() -> None:
    federated = Federated()
    for number in range(1000):
        federated.add(0, {"loss": float(number)}, 1.0, task=number)
    (kept,) = federated.save().sums[0].values()
    assert (kept.devices, len(kept.sample)) == (1000, SAMPLE_MAX)
    assert federated.shown()[0].percentiles["p50"] == pytest.approx(500, abs=200)


def test_sums_of_earlier_releases_are_read() -> None:
    federated = Federated()
    federated.load(msgspec.convert({"sums": {4: {"accuracy": (0.9, 2.0)}}}, SavedFederated))
    assert federated.mean(4) == {"federated/accuracy": 0.45}


def test_what_devices_name_is_bounded() -> None:
    federated = Federated()
    federated.add(0, {f"m{number}": 1.0 for number in range(METRICS_MAX + 5)}, 1.0)
    federated.add(0, {"n" * 100: 1.0, "m10": float("inf"), "m11": 1e300}, 1.0)
    assert len(federated.mean(0)) == METRICS_MAX
    assert federated.mean(0)["federated/m10"] == 1.0
    for version in range(VERSIONS_MAX + 5):
        federated.add(version, {"a": 1.0}, 1.0)
    assert list(federated.save().sums) == [5, 6, 7]
    federated.add(4, {"a": 1.0}, 1.0)
    assert list(federated.save().sums) == [5, 6, 7], "older than all that are kept"


def test_the_duration_of_measuring_counts_in_time_as_well_as_late(job: Job) -> None:
    """Late ones alone would raise the lease time."""
    in_time, late = ask(job, "a"), ask(job, "b")
    job.now += 3.0
    measured(job, "a", in_time, 0.5)
    assert len(job.core.parts.places.lease_time.durations()) == 1
    job.now += 2 * (late.lease_s or 0.0)
    measured(job, "b", late, 0.5)
    assert len(job.core.parts.places.lease_time.durations()) == 2
