"""A run that would come to nothing is refused before it begins."""

from pathlib import Path

import pytest

from turnout.errors import UsageError
from turnout.job.folder.spec import BufferedTraining, RoundsTraining
from turnout.local.feasible import check_devices, check_target


def test_as_many_devices_are_needed_as_a_version_takes_results() -> None:
    check_devices(BufferedTraining(buffer_goal=10), 10)
    check_devices(RoundsTraining(cohort=10, quorum=0.5), 5)
    with pytest.raises(UsageError, match=r"9 devices are too few: .* with buffer_goal = 10 .* or lower buffer_goal$"):
        check_devices(BufferedTraining(buffer_goal=10), 9)
    with pytest.raises(UsageError, match="with cohort = 11 a version takes 6 of them"):
        check_devices(RoundsTraining(cohort=11, quorum=0.5), 5)
    with pytest.raises(UsageError, match=r"^1 device is too few: "):
        check_devices(RoundsTraining(cohort=2), 1)


def test_a_model_that_could_not_be_saved_is_not_trained(tmp_path: Path) -> None:
    check_target(tmp_path / "new" / "model")
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").write_text("")
    for target in (tmp_path, tmp_path / "file" / "model"):
        with pytest.raises(UsageError, match="cannot be written"):
            check_target(target)
