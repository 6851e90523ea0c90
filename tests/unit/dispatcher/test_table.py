"""The job table: what is offered, to whom, and what changes it."""

from collections import Counter
from random import Random
from typing import Any

import pytest

from tests.contract.flare.quirks import covers
from turnout.dispatcher.table import JobTable, admits, version_numbers
from turnout.messages import (
    DeviceInfo,
    Eligibility,
    FeedEvent,
    JobCancelled,
    JobCompleted,
    JobFailed,
    JobLaunched,
    JobRequest,
    RunningJob,
    TableSnapshot,
)

EDGE = {"edge_method": "cnn"}


def job(job_id: str, name: str = "mnist", **fields: Any) -> RunningJob:
    return RunningJob(job_id, name, **{"meta": EDGE, **fields})


def table_of(*jobs: RunningJob) -> JobTable:
    table = JobTable()
    assert table.apply(TableSnapshot(jobs)) is None
    return table


def ask(table: JobTable, name: str = "mnist", seed: int = 1, **device: Any) -> str | None:
    found = table.match(JobRequest(DeviceInfo("d", **device), name), Random(seed))
    return None if found is None else found.job_id


def test_a_launched_job_is_found_by_name_and_id() -> None:
    table = JobTable()

    assert table.apply(JobLaunched(job("1"))) is None

    assert ask(table) == "1"
    assert table.get("1") == job("1")
    assert list(table) == [job("1")]


class NotToBeLookedAt(tuple[str, ...]):
    """The platforms of a job for which nobody asks."""

    def __bool__(self) -> bool:
        raise AssertionError("a job was looked at that is not the one asked for")


@covers("hole-21")
def test_a_job_is_found_without_a_look_at_those_of_other_names() -> None:
    others = [job(f"{n}", f"other-{n}", eligibility=Eligibility(NotToBeLookedAt(("ios",)))) for n in range(100)]
    table = table_of(*others, job("mine"))
    assert ask(table) == "mine"
    assert table.get("mine") == job("mine")
    with pytest.raises(AssertionError):
        ask(table, "other-1")


def test_namesakes_are_drawn_uniformly() -> None:
    table = table_of(job("1"), job("2"), job("3"), job("other", "cifar"))
    rng = Random(1)
    request = JobRequest(DeviceInfo("always the same device"), "mnist")

    drawn = Counter(found.job_id for _ in range(3000) if (found := table.match(request, rng)))

    assert set(drawn) == {"1", "2", "3"}
    assert all(900 < count < 1100 for count in drawn.values())


def test_a_draw_is_only_among_the_namesakes_that_take_the_device() -> None:
    table = table_of(job("1", eligibility=Eligibility(platforms=("ios",))), job("2"), job("3"))

    assert {ask(table, seed=seed, platform="android") for seed in range(50)} == {"2", "3"}


def test_a_snapshot_replaces_everything() -> None:
    table = table_of(job("1"), job("2", "cifar"))

    table.apply(TableSnapshot((job("3"),)))

    assert [found.job_id for found in table] == ["3"]
    assert ask(table, "cifar") is None


def test_a_job_launched_again_takes_the_place_of_the_first() -> None:
    table = table_of(job("1", address=""))

    table.apply(JobLaunched(job("1", "renamed", address="/run/1.sock")))

    assert len(table) == 1
    assert ask(table) is None
    assert ask(table, "renamed") == "1"


def test_a_job_launched_again_without_edge_method_is_offered_no_more() -> None:
    table = table_of(job("1"))

    assert table.apply(JobLaunched(job("1", meta={"edge_method": ""}))) is None

    assert table.get("1") is None


@pytest.mark.parametrize("end", [JobCompleted, JobCancelled, JobFailed])
def test_an_ended_job_is_gone_and_its_namesake_stays(end: type[JobCompleted]) -> None:
    table = table_of(job("1"), job("2"))

    assert table.apply(end("1")) is None

    assert table.get("1") is None
    assert ask(table) == "2"


@pytest.mark.parametrize(
    ("event", "complaint"),
    [
        (JobCompleted("9"), 'JobCompleted for job "9", which is not running: ignored'),
        (JobFailed(""), "JobFailed without a job id: ignored"),
        (JobLaunched(job("")), 'JobLaunched without a job id (name "mnist"): ignored'),
        (JobLaunched(job("9", meta={})), 'JobLaunched without meta for job "9": ignored'),
        (TableSnapshot((job("1"), job("9", meta={}))), 'JobLaunched without meta for job "9": ignored'),
    ],
)
def test_what_cannot_be_applied_changes_nothing_and_is_complained_of(event: FeedEvent, complaint: str) -> None:
    table = table_of(job("1"))

    assert table.apply(event) == complaint

    assert list(table) == [job("1")]


@pytest.mark.parametrize(
    ("eligibility", "admitted"),
    [
        (Eligibility(), True),
        (Eligibility(platforms=("ios", "Android")), True),
        (Eligibility(platforms=("ios",)), False),
        (Eligibility(methods=("xor", "cnn")), True),
        (Eligibility(methods=("xor",)), False),
        (Eligibility(app_version_min="1.9"), True),
        (Eligibility(app_version_min="1.10.2"), True),
        (Eligibility(app_version_min="1.10.3"), False),
        (Eligibility(app_version_min="2"), False),
        (Eligibility(app_version_min="no version"), False),
        (Eligibility(platforms=("android",), methods=("cnn",), app_version_min="1"), True),
        (Eligibility(platforms=("android",), methods=("cnn",), app_version_min="3"), False),
    ],
)
def test_eligibility_is_judged_by_platform_methods_and_version(eligibility: Eligibility, admitted: bool) -> None:
    device = DeviceInfo("d", platform="android", app_version="1.10.2")

    assert admits(eligibility, JobRequest(device, "mnist", {"methods": ["cnn"]})) is admitted


@pytest.mark.parametrize("capabilities", [{}, {"methods": []}, {"methods": "cnn"}, {"methods": {"cnn": 1}}])
def test_a_device_without_a_list_of_methods_is_taken_only_by_jobs_that_do_not_ask(
    capabilities: dict[str, Any],
) -> None:
    request = JobRequest(DeviceInfo("d"), "mnist", capabilities)

    assert not admits(Eligibility(methods=("cnn",)), request)
    assert admits(Eligibility(), request)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1.10.2", (1, 10, 2)),
        ("v2.0-beta", (2,)),
        (" 3.1 (build 7)", (3, 1)),
        ("0", ()),
        ("", None),
        ("None", None),
        ("beta", None),
        ("9" * 5000, None),
        ("\u0661.2", None),
    ],
)
def test_a_version_is_its_leading_numbers(text: str, numbers: tuple[int, ...] | None) -> None:
    assert version_numbers(text) == numbers
