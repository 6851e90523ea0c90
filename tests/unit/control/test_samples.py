"""Samples are bounded: those of one job, and those of all."""

from turnout.control.samples import Samples, sample_of
from turnout.control.traffic import Traffic
from turnout.messages import JobStatus


def add(samples: Samples, job_id: str, *times: float) -> None:
    for at in times:
        samples.add(job_id, sample_of(JobStatus(job_id, "digits", "open", "buffered"), Traffic(), at))


def times(samples: Samples, job_id: str) -> list[float]:
    return [sample.at for sample in samples.since(job_id, 0.0)]


def test_a_sample_says_how_many_devices_train_and_how_many_wait() -> None:
    sample = sample_of(JobStatus("a", "digits", "OPEN", "buffered", training=4, waiting=7), Traffic(), 1.0)
    assert (sample.training, sample.waiting) == (4, 7)


def test_of_each_job_the_newest_are_kept() -> None:
    samples = Samples(each_max=2)
    add(samples, "a", 1.0, 2.0, 3.0)
    assert times(samples, "a") == [2.0, 3.0]
    assert [sample.at for sample in samples.since("a", 2.0)] == [3.0]


def test_when_all_are_too_many_the_job_with_most_loses_its_oldest() -> None:
    samples = Samples(all_max=3)
    add(samples, "a", 1.0, 2.0)
    add(samples, "b", 3.0, 4.0)
    assert (times(samples, "a"), times(samples, "b")) == ([2.0], [3.0, 4.0])


def test_a_forgotten_job_makes_room() -> None:
    samples = Samples(all_max=2)
    add(samples, "a", 1.0, 2.0)
    samples.forget("a")
    add(samples, "b", 3.0, 4.0)
    assert times(samples, "b") == [3.0, 4.0]
    assert samples.newest("a") is None
