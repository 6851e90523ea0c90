"""The verdict of the chaos harness sees each broken promise, and none where there is none."""

import dataclasses

import numpy as np

from tests.chaos.ledger import Task
from tests.chaos.verdict import Verdict, judge
from tests.unit.job.journal.snapshots import snapshot as written
from turnout.aggregator.mean import TOTAL, SavedSum
from turnout.job.account.tally import SavedTally
from turnout.job.journal.journal import MODEL, Snapshot
from turnout.job.places.counted import COUNTED, CountedTasks
from turnout.job.workflow.made import SavedMade

GOAL = 2


def task(device: int, version: int, *, acknowledged: bool = False, refused: str = "") -> Task:
    return Task(device, version, f"sim-{device}", "lease", acknowledged, refused)


def tasks() -> dict[int, Task]:
    """Three devices: tasks 10 and 11 of version 0 made version 1, task 12 of version 1 is in the buffer."""
    return {
        10: task(0, 0, acknowledged=True),
        11: task(1, 0, acknowledged=True),
        12: task(0, 1, acknowledged=True),
        13: task(2, 1, refused="ERROR: norm"),
    }


def snapshot(model: list[float], total: list[float], counted: dict[int, list[int]], tally: int = 3) -> Snapshot:
    """At version 1 with one result in the buffer; ``counted`` are the task numbers of each version."""
    bitmaps = CountedTasks()
    for version, numbers in counted.items():
        bitmaps.open(version, 10)
        for number in numbers:
            bitmaps.add(version, number)
    return written(
        7,
        bitmaps.save(),
        SavedSum(1.0, 1),
        SavedTally(tally),
        SavedMade(GOAL),
        version=1,
        vectors={MODEL: np.array(model, np.float32), TOTAL: np.array(total)},
        tables={COUNTED: bitmaps.rows()},
    )


def all_in_order() -> Snapshot:
    return snapshot([0.5, 0.5, 0], [1, 0, 0], {0: [10, 11], 1: [12]})


def test_all_is_well_when_every_word_is_true() -> None:
    verdict = judge(tasks(), all_in_order(), GOAL)
    assert verdict == Verdict(counted=3, lost=0, double=0, invented=0, denied=0, open=0)
    assert verdict.holds


def test_an_acknowledged_result_that_is_not_in_the_model_is_lost() -> None:
    verdict = judge(tasks(), snapshot([0.5, 0.5, 0], [0, 0, 0], {0: [10, 11], 1: [12]}), GOAL)
    assert (verdict.lost, verdict.double) == (1, 0)
    assert not verdict.holds


def test_an_acknowledged_result_that_is_in_no_bitmap_is_lost_though_the_sums_agree() -> None:
    verdict = judge(tasks(), snapshot([0.5, 0.5, 0], [1, 0, 0], {0: [10, 11], 1: []}), GOAL)
    assert verdict.lost == 1


def test_a_result_that_is_in_the_model_twice_is_double() -> None:
    verdict = judge(tasks(), snapshot([0.5, 1, 0], [1, 0, 0], {0: [10, 11], 1: [12]}), GOAL)
    assert (verdict.lost, verdict.double) == (0, 1)
    assert not verdict.holds


def test_one_device_s_loss_does_not_hide_another_s_double() -> None:
    verdict = judge(tasks(), snapshot([0.5, 0.5, 0], [0, 1, 0], {0: [10, 11], 1: [12]}), GOAL)
    assert (verdict.lost, verdict.double, verdict.counted) == (1, 1, 3)


def test_a_task_that_was_refused_may_not_be_in_the_model() -> None:
    verdict = judge(tasks(), snapshot([0.5, 0.5, 0], [1, 0, 1], {0: [10, 11], 1: [12, 13]}, tally=4), GOAL)
    assert (verdict.denied, verdict.double) == (1, 0)
    assert not verdict.holds


def test_a_task_that_was_acknowledged_may_not_be_refused_too() -> None:
    both = tasks() | {12: task(0, 1, acknowledged=True, refused="NO_TASK: trained from model version 1")}
    assert judge(both, all_in_order(), GOAL).denied == 1
    forgotten = snapshot([0.5, 0.5, 0], [1, 0, 0], {})
    assert judge(both, forgotten, GOAL).denied == 1


def test_a_task_that_was_refused_may_not_be_in_the_sum_though_its_bitmap_is_gone() -> None:
    forgotten = snapshot([0.5, 0.5, 0.5], [1, 0, 0], {1: [12]}, tally=4)
    sent = tasks() | {9: task(2, 0, refused="NO_TASK: trained from model version 0")}
    assert judge(sent, forgotten, GOAL).double == 1
    sent[9] = dataclasses.replace(sent[9], refused="", too_old=True)
    assert judge(sent, forgotten, GOAL).double == 0, "nobody knows any more, and nobody said more than that"
    assert judge(sent, all_in_order(), GOAL).holds


def test_a_task_that_nobody_sent_may_not_be_counted() -> None:
    verdict = judge(tasks(), snapshot([0.5, 0.5, 0], [1, 0, 1], {0: [10, 11], 1: [12, 14]}, tally=4), GOAL)
    assert (verdict.invented, verdict.double) == (1, 1)


def test_a_result_without_an_answer_may_be_counted_or_not() -> None:
    for acknowledged in (True, False):
        sent = tasks() | {12: task(0, 1, acknowledged=acknowledged)}
        assert judge(sent, all_in_order(), GOAL).holds
        assert judge(sent, all_in_order(), GOAL).open == (not acknowledged)


def test_where_the_bitmaps_are_gone_the_sums_still_tell() -> None:
    assert judge(tasks(), snapshot([0.5, 0.5, 0], [1, 0, 0], {1: [12]}), GOAL).holds
    assert judge(tasks(), snapshot([0.5, 0, 0], [1, 0, 0], {1: [12]}), GOAL).lost == 1
    assert judge(tasks(), snapshot([0.5, 1, 0], [1, 0, 0], {1: [12]}), GOAL).double == 1


def test_the_job_s_own_count_must_agree() -> None:
    (mistake,) = judge(tasks(), all_in_order().but(SavedTally(4)), GOAL).mistakes
    assert mistake == "the job says that it counted 4, and its model holds 3"


def test_versions_and_buffer_must_add_up() -> None:
    left, made = judge(tasks(), all_in_order().but(SavedSum(0.0, 0)), GOAL).mistakes
    assert left == "0 results are left over, and their sum is 1"
    assert made == "1 versions of 2 and 0 in the buffer make another number than the 3 in the model"


def test_half_a_result_is_no_result() -> None:
    verdict = judge(tasks(), snapshot([0.5, 0.25, 0], [1, 0, 0], {0: [10, 11], 1: [12]}), GOAL)
    assert verdict.lost == 1
    assert "the model holds what no sum of whole results is" in verdict.mistakes
