"""When a version closes: rounds (Bonawitz et al. 2019) and buffered (FedBuff)."""

from turnout.job.workflow.buffered import Buffered
from turnout.job.workflow.rounds import Rounds
from turnout.job.workflow.workflow import Verdict


def rounds(extensions_max: int = 1) -> Rounds:
    a_round = Rounds(goal=10, over_selection=1.3, deadline_s=60.0, quorum=0.8, extensions_max=extensions_max)
    a_round.opened(now=100.0)
    return a_round


def test_the_buffer_closes_at_its_goal_and_not_before() -> None:
    buffered = Buffered(concurrency=20, goal=4, staleness_max=5)
    assert buffered.verdict(buffered=3, live=20, now=0.0) is Verdict.WAIT
    assert buffered.verdict(buffered=4, live=20, now=0.0) is Verdict.CLOSE
    assert buffered.places(buffered=3) == 20, "a place freed by a result is given again"


def test_a_round_asks_more_devices_than_it_needs() -> None:
    assert rounds().places(buffered=0) == 13


def test_a_place_used_up_by_a_result_is_not_given_again_in_the_round() -> None:
    assert rounds().places(buffered=5) == 8


def test_a_round_closes_when_its_cohort_is_complete() -> None:
    assert rounds().verdict(buffered=10, live=3, now=101.0) is Verdict.CLOSE


def test_a_quorum_closes_the_round_only_at_its_deadline() -> None:
    assert rounds().verdict(buffered=8, live=5, now=159.9) is Verdict.WAIT
    assert rounds().verdict(buffered=8, live=5, now=160.0) is Verdict.CLOSE


def test_a_round_below_quorum_at_its_deadline_is_extended_with_more_places() -> None:
    a_round = rounds()
    assert a_round.verdict(buffered=5, live=8, now=160.0) is Verdict.EXTEND
    assert a_round.deadline() == 220.0
    assert a_round.places(buffered=5) == 8 + 7, "the silent ones, and 1.3 times the five that are missing"


def test_a_round_that_was_extended_too_often_pauses_until_a_person_resumes_it() -> None:
    a_round = rounds(extensions_max=1)
    assert a_round.verdict(buffered=5, live=0, now=160.0) is Verdict.EXTEND
    assert a_round.verdict(buffered=5, live=0, now=220.0) is Verdict.PAUSE
    assert a_round.places(buffered=5) == 0
    assert a_round.verdict(buffered=5, live=0, now=1000.0) is Verdict.WAIT
    words = a_round.words(buffered=5, live=0, version=7, now=1000.0)
    assert words == "a person to resume or cancel it: 5 of 10 updates for version 8 came in 2 deadlines"
    a_round.resume(now=1000.0)
    assert a_round.places(buffered=5) > 0
    assert a_round.deadline() == 1060.0


def test_a_late_quorum_ends_a_pause() -> None:
    a_round = rounds(extensions_max=0)
    assert a_round.verdict(buffered=5, live=3, now=160.0) is Verdict.PAUSE
    assert a_round.verdict(buffered=8, live=0, now=170.0) is Verdict.CLOSE


def test_one_result_is_the_least_quorum() -> None:
    a_round = Rounds(goal=2, over_selection=1.0, deadline_s=1.0, quorum=0.01, extensions_max=5)
    a_round.opened(0.0)
    assert a_round.verdict(buffered=0, live=0, now=1.0) is Verdict.EXTEND


def test_a_round_survives_a_restart_as_it_was() -> None:
    a_round, another = rounds(), rounds()
    a_round.verdict(buffered=5, live=8, now=160.0)
    another.load(a_round.save())
    assert another == a_round
