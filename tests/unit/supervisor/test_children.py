"""What the supervisor decides, with times that can be followed by hand."""

import signal

import pytest

from turnout.supervisor.children import (
    Children,
    Effect,
    Ended,
    Kind,
    Policy,
    Say,
    Signal,
    Start,
    describe_exit,
)

POLICIES = {
    Kind.GATEWAY: Policy(failures_max=None, grace_s=3, backoff_min_s=1, backoff_max_s=4, healthy_s=10),
    Kind.JOB: Policy(failures_max=3, grace_s=5, backoff_min_s=1, backoff_max_s=4, healthy_s=10),
    Kind.CONTROL: Policy(failures_max=None, grace_s=2, backoff_min_s=1, backoff_max_s=4, healthy_s=10),
}
KILLED = -signal.SIGKILL


@pytest.fixture
def children() -> Children:
    return Children(POLICIES)


def lines(effects: list[Effect]) -> list[str]:
    return [effect.line for effect in effects if isinstance(effect, Say)]


def others(effects: list[Effect]) -> list[Effect]:
    return [effect for effect in effects if not isinstance(effect, Say)]


def run(children: Children, name: str, kind: Kind, pid: int = 7, now: float = 0) -> None:
    assert children.add(name, kind) == [Start(name)]
    assert children.started(name, pid, now) == []


def fail(children: Children, name: str, now: float, lived_s: float = 0) -> list[Effect]:
    """Let a waiting child be started again at ``now`` and fail ``lived_s`` later."""
    assert children.tick(now) == [Start(name)]
    children.started(name, 8, now)
    return children.exited(name, 1, "", now + lived_s)


def test_a_killed_gateway_is_started_again_after_its_backoff(children: Children) -> None:
    run(children, "gateway 0", Kind.GATEWAY)
    said = children.exited("gateway 0", KILLED, "", now=5)
    assert lines(said) == ["gateway 0 (pid 7) was killed by SIGKILL after 5.0 s; starting it again in 1.0 s"]
    assert others(said) == []
    assert children.deadline() == 6
    assert children.tick(5.9) == []
    assert children.tick(6) == [Start("gateway 0")]


def test_the_backoff_doubles_up_to_its_bound(children: Children) -> None:
    run(children, "gateway 0", Kind.GATEWAY)
    children.exited("gateway 0", 1, "", now=0)
    waits = []
    now = 0.0
    for _ in range(4):
        deadline = children.deadline()
        assert deadline is not None
        waits.append(deadline - now)
        now = deadline
        fail(children, "gateway 0", now)
    assert waits == [1, 2, 4, 4]


def test_a_healthy_life_makes_the_backoff_short_again(children: Children) -> None:
    run(children, "gateway 0", Kind.GATEWAY)
    children.exited("gateway 0", 1, "", now=0)
    fail(children, "gateway 0", now=1)
    fail(children, "gateway 0", now=3, lived_s=10)
    assert children.deadline() == 14


def test_a_gateway_is_never_given_up(children: Children) -> None:
    run(children, "gateway 0", Kind.GATEWAY)
    children.exited("gateway 0", 1, "", now=0)
    for attempt in range(100):
        fail(children, "gateway 0", now=10.0 * (attempt + 1))
    assert "gateway 0" in children


def test_a_job_that_fails_again_and_again_is_given_up_with_the_reason(children: Children) -> None:
    run(children, "job a", Kind.JOB)
    children.exited("job a", 1, "", now=0)
    fail(children, "job a", now=1)
    children.tick(3)
    children.started("job a", 9, 3)
    effects = children.exited("job a", 1, "ModuleNotFoundError: torch", now=4)
    reason = "its process failed 3 times in a row; the last time it ended with exit code 1: ModuleNotFoundError: torch"
    assert lines(effects) == [f"job a (pid 9) ended with exit code 1 after 1.0 s; given up: {reason}"]
    assert others(effects) == [Ended("job a", 1, reason)]
    assert "job a" not in children


@pytest.mark.parametrize(("code", "words"), [(0, "has completed"), (3, "has aborted")])
def test_a_job_that_ends_by_itself_is_not_started_again(children: Children, code: int, words: str) -> None:
    run(children, "job a", Kind.JOB)
    effects = children.exited("job a", code, "", now=60)
    assert lines(effects) == [f"job a (pid 7) {words} after 60.0 s"]
    assert others(effects) == [Ended("job a", code, "")]
    assert children.deadline() is None


def test_a_gateway_that_ends_by_itself_is_started_again(children: Children) -> None:
    run(children, "gateway 0", Kind.GATEWAY)
    children.exited("gateway 0", 0, "", now=60)
    assert children.tick(61) == [Start("gateway 0")]


def test_adding_a_known_child_changes_nothing(children: Children) -> None:
    run(children, "job a", Kind.JOB)
    assert children.add("job a", Kind.JOB) == []


def test_a_stopped_job_gets_its_grace_and_is_then_killed(children: Children) -> None:
    run(children, "job a", Kind.JOB)
    assert children.stop("job a", now=1) == [Signal("job a", signal.SIGTERM)]
    assert children.stop("job a", now=2) == []
    assert children.deadline() == 6
    effects = children.tick(6)
    assert lines(effects) == ["job a (pid 7) did not end within 5 s: killing it"]
    assert others(effects) == [Signal("job a", signal.SIGKILL)]
    assert children.deadline() is None
    assert children.exited("job a", KILLED, "", now=6) == [Ended("job a", KILLED, "it was told to stop")]


def test_a_job_that_completes_although_it_was_told_to_stop_has_completed(children: Children) -> None:
    run(children, "job a", Kind.JOB)
    children.stop("job a", now=1)
    assert children.exited("job a", 0, "", now=2) == [Ended("job a", 0, "")]


def test_a_job_stopped_while_it_waits_for_its_restart_is_over_at_once(children: Children) -> None:
    run(children, "job a", Kind.JOB)
    children.exited("job a", 1, "", now=0)
    assert children.stop("job a", now=0.5) == [Ended("job a", 0, "it was told to stop")]


def test_a_job_stopped_while_it_starts_is_signalled_once_it_has_started(children: Children) -> None:
    children.add("job a", Kind.JOB)
    assert children.stop("job a", now=0) == []
    assert children.started("job a", 7, now=1) == [Signal("job a", signal.SIGTERM)]


def test_shutting_down_stops_gateways_then_jobs_then_control(children: Children) -> None:
    run(children, "control", Kind.CONTROL)
    run(children, "gateway 0", Kind.GATEWAY)
    run(children, "gateway 1", Kind.GATEWAY)
    run(children, "job a", Kind.JOB)
    term = signal.SIGTERM
    assert children.shut_down(now=0) == [Signal("gateway 0", term), Signal("gateway 1", term)]
    assert others(children.exited("gateway 1", 0, "", now=1)) == [Ended("gateway 1", 0, "it was told to stop")]
    assert others(children.exited("gateway 0", 0, "", now=1))[1:] == [Signal("job a", term)]
    assert others(children.exited("job a", 0, "", now=2))[1:] == [Signal("control", term)]
    assert children.ending
    assert not children.over
    children.exited("control", 0, "", now=3)
    assert children.over


def test_shutting_down_waits_for_every_child_of_a_kind_even_if_one_of_them_was_not_running(children: Children) -> None:
    run(children, "gateway 0", Kind.GATEWAY)
    run(children, "gateway 1", Kind.GATEWAY)
    run(children, "job a", Kind.JOB)
    children.exited("gateway 0", KILLED, "", now=0)
    effects = children.shut_down(now=0.5)
    assert effects == [Ended("gateway 0", 0, "it was told to stop"), Signal("gateway 1", signal.SIGTERM)]


def test_nothing_is_restarted_or_added_while_shutting_down(children: Children) -> None:
    run(children, "gateway 0", Kind.GATEWAY)
    run(children, "job a", Kind.JOB)
    children.shut_down(now=0)
    assert children.add("job b", Kind.JOB) == []
    children.exited("gateway 0", 1, "", now=1)
    assert children.exited("job a", 1, "", now=2) == [Ended("job a", 1, "it was told to stop")]
    assert children.over


def test_asked_a_second_time_shutting_down_kills_what_is_left(children: Children) -> None:
    run(children, "gateway 0", Kind.GATEWAY)
    run(children, "control", Kind.CONTROL)
    children.shut_down(now=0)
    kill = signal.SIGKILL
    assert children.shut_down(now=1) == [Signal("gateway 0", kill), Signal("control", kill)]
    children.exited("gateway 0", KILLED, "", now=1)
    children.exited("control", KILLED, "", now=1)
    assert children.over


def test_a_server_without_children_is_over_as_soon_as_it_is_shut_down(children: Children) -> None:
    assert not children.over
    assert children.shut_down(now=0) == []
    assert children.over


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "ended with exit code 0"),
        (-9, "was killed by SIGKILL"),
        (-64, "was killed by SIGRTMAX"),
        (-99, "was killed by signal 99"),
    ],
)
def test_an_exit_is_described_in_words(code: int, words: str) -> None:
    assert describe_exit(code) == words
