"""Who may wait for a job of FLARE's: all while it answers, one of each kind once it has fallen silent."""

import pytest

from turnout.integrations.silence import SILENCE_S, Silence

REFUSED, SENT = None, 0.0


def filled(threads: int = 8) -> Silence:
    """A job with its half of 8 threads in flight since second 0, and no answer."""
    silence = Silence(threads)
    assert [silence.ask("job", "task", 0.0) for _ in range(threads // 2)] == [SENT] * (threads // 2)
    return silence


def test_a_lone_job_has_half_of_the_threads_in_flight_and_the_next_request_waits() -> None:
    silence = filled()
    assert silence.ask("job", "task", 0.0) == SILENCE_S
    assert silence.ask("job", "result", 0.2) == pytest.approx(SILENCE_S - 0.2), "until it would be silent"


def test_however_many_jobs_hang_the_next_one_finds_a_thread() -> None:
    silence = Silence(100)
    taken = []
    for number in range(7):
        count = 0
        while silence.ask(f"job-{number}", "task", 0.0) == SENT:
            count += 1
        taken.append(count)
    assert taken == [50, 25, 12, 6, 3, 2, 1]
    assert silence.ask("another", "task", 0.0) == SENT


@pytest.mark.parametrize("kind", ["task", "result"])
def test_a_job_that_has_said_nothing_is_asked_by_one_request_of_each_kind(kind: str) -> None:
    silence = filled()
    if kind != "task":
        assert silence.ask("job", kind, SILENCE_S) == SENT
    assert silence.ask("job", kind, SILENCE_S) is REFUSED
    assert silence.ask("job", kind, SILENCE_S, waited=True) is REFUSED


def test_a_job_that_is_only_slow_is_asked_by_a_tenth_of_the_threads() -> None:
    silence = Silence(100)
    assert [silence.ask("job", "task", 0.1 * number) for number in range(12)] == [SENT] * 10 + [REFUSED] * 2


def test_it_stays_silent_until_it_answers_whoever_gives_up() -> None:
    silence = filled()
    for _ in range(4):
        silence.leave("job", "task", answered=False, now=5.0)
    assert [silence.ask("job", "task", 60.0) for _ in range(3)] == [SENT, REFUSED, REFUSED]
    silence.leave("job", "task", answered=True, now=61.0)
    assert [silence.ask("job", "task", 61.0) for _ in range(3)] == [SENT] * 3


def test_every_answer_lets_those_who_wait_wait_on() -> None:
    silence = filled()
    silence.wait("job", 1)
    silence.leave("job", "task", answered=True, now=0.4)
    silence.wait("job", -1)
    assert silence.ask("job", "task", 0.4, waited=True) == SENT
    assert silence.ask("job", "task", 0.6) == pytest.approx(0.3), "silent half a second after its last answer"


def test_nobody_passes_those_who_wait() -> None:
    silence = filled()
    silence.wait("job", 1)
    silence.leave("job", "task", answered=True, now=0.1)
    assert silence.ask("job", "result", 0.1) == SILENCE_S
    silence.wait("job", -1)
    assert silence.ask("job", "task", 0.1, waited=True) == SENT


def test_a_job_that_nobody_asks_does_not_fall_silent() -> None:
    silence = Silence(8)
    silence.ask("job", "task", 0.0)
    silence.leave("job", "task", answered=True, now=0.1)
    assert [silence.ask("job", "task", 100.0) for _ in range(3)] == [SENT] * 3


def test_a_job_is_forgotten_when_it_is_over_or_has_answered_and_never_while_it_is_asked() -> None:
    silence = filled()
    for number in range(4):
        silence.forget("job", running=False)
        assert silence.ask("job", "task", 9.0) is REFUSED, number
        silence.leave("job", "task", answered=False, now=9.0)
    silence.forget("job", running=True)
    assert [silence.ask("job", "task", 9.0) for _ in range(2)] == [SENT, REFUSED], "it may hang still"
    silence.leave("job", "task", answered=False, now=9.0)
    silence.forget("job", running=False)
    assert [silence.ask("job", "task", 9.0) for _ in range(2)] == [SENT, SENT]
