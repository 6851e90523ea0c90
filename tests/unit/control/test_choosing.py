"""Which model people get, and what they are told of it."""

import pytest

from turnout.control.choosing import choose, described
from turnout.errors import NotFoundError
from turnout.messages import JobStatus, KeptModel

KEPT = (KeptModel(54, "b" * 64, 8, {"accuracy": 0.9714}, 10), KeptModel(55, "a" * 64, 8, {"accuracy": 0.9605}, 10))
RANKED = JobStatus(
    "j-1", "j", "ENDED", "rounds", 55, model_sha256="a" * 64, best_version=54, best_metric=0.9714, kept=KEPT
)
UNRANKED = JobStatus("j-1", "j", "OPEN", "rounds", 55, model_sha256="a" * 64)


def test_with_a_metric_the_best_version_is_meant_unless_another_is_named() -> None:
    assert choose(RANKED).version == 54
    assert choose(RANKED, "newest").version == 55
    assert choose(RANKED, 55).sha256 == "a" * 64


def test_without_a_metric_the_newest_version_is_meant() -> None:
    assert (choose(UNRANKED).version, choose(UNRANKED).sha256) == (55, "a" * 64)
    with pytest.raises(NotFoundError, match="no version by a metric"):
        choose(UNRANKED, "best")


def test_version_0_can_be_the_best() -> None:
    status = JobStatus(
        "j-1", "j", "OPEN", "rounds", 1, best_metric=0.5, kept=(KeptModel(0, "c", 8), KeptModel(1, "d", 8))
    )
    assert choose(status).version == 0


def test_of_a_version_that_is_not_kept_those_are_told_that_are() -> None:
    with pytest.raises(NotFoundError, match="version 3 is not kept; give one of 54, 55, or newest or best"):
        choose(RANKED, 3)


def test_a_version_is_told_with_what_it_measured() -> None:
    assert described(RANKED, 54) == "version 54, the best (accuracy 0.9714)"
    assert described(RANKED, 55) == "version 55, the newest (accuracy 0.9605)"
    assert described(UNRANKED, 55) == "version 55, the newest (not measured)"
