"""What the supervisor decides, with times that can be followed by hand."""

import signal

import pytest

from turnout.job import exits
from turnout.supervisor import policy
from turnout.supervisor.children import RETIRE, Children
from turnout.supervisor.effects import Delayed, Effect, Ended, Say, Signal, Start
from turnout.supervisor.policy import Kind, Policy, describe_exit

POLICIES = {
    Kind.GATEWAY: Policy(None, grace_s=3, retire_s=50, backoff_min_s=1, backoff_max_s=4, hang_s=8, start_s=30),
    Kind.JOB: Policy(3, grace_s=5, backoff_min_s=1, backoff_max_s=4, hang_s=8, start_s=30, failures_within_s=600),
    Kind.CONTROL: Policy(None, grace_s=2, backoff_min_s=1, backoff_max_s=4, hang_s=8, start_s=30),
}
KILLED = -signal.SIGKILL
KILL = signal.SIGKILL


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
    reason = "its process failed 3 times in a row without progress; "
    reason += "the last time it ended with exit code 1: ModuleNotFoundError: torch"
    assert lines(effects) == [f"job a (pid 9) ended with exit code 1 after 1.0 s; given up: {reason}"]
    assert others(effects) == [Ended("job a", 1, reason)]
    assert "job a" not in children


def test_a_job_that_makes_progress_between_its_failures_is_never_given_up(children: Children) -> None:
    run(children, "job a", Kind.JOB)
    for life in range(10):
        now = 5.0 * life
        children.progressed("job a", now)
        children.exited("job a", KILLED, "", now + 1)
        assert children.deadline() == now + 2  # and each restart waits no longer than the first
        children.tick(now + 2)
        children.started("job a", 8, now + 2)


def test_a_job_that_lives_long_but_crashes_again_and_again_without_progress_is_given_up(children: Children) -> None:
    run(children, "job a", Kind.JOB)
    children.beat("job a", 1)
    children.exited("job a", 1, "", now=200)
    fail(children, "job a", now=201, lived_s=199)
    effects = fail(children, "job a", now=401, lived_s=198)
    assert isinstance(effects[-1], Ended)
    assert "failed 3 times in a row without progress" in effects[-1].reason


def test_kills_far_apart_are_not_a_job_s_own_fault(children: Children) -> None:
    """Nobody works for it, so it makes no progress; that is no reason to end it."""
    run(children, "job a", Kind.JOB)
    children.exited("job a", KILLED, "", now=300)
    for night in range(1, 100):
        fail(children, "job a", now=300.0 * (2 * night), lived_s=1)
    assert "job a" in children


# --- a job that is killed from outside ---


def kill(children: Children, now: float, code: int = KILLED) -> list[Effect]:
    """Let the job be killed now, and started again once its wait is over."""
    effects = children.exited("job a", code, "", now)
    deadline = children.deadline()
    assert deadline is not None
    assert children.tick(deadline) == [Start("job a")]
    children.started("job a", 8, deadline)
    return effects


@pytest.mark.parametrize("code", [KILLED, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP, exits.EXIT_STOPPED])
def test_a_job_that_is_killed_from_outside_as_it_appears_is_never_given_up(children: Children, code: int) -> None:
    run(children, "job a", Kind.JOB)
    for _ in range(50):
        deadline = children.deadline()
        assert deadline is not None
        kill(children, deadline, code)
    assert "job a" in children


def test_each_kill_from_outside_lengthens_the_wait_and_the_third_is_told_as_the_job_s_state(children: Children) -> None:
    run(children, "job a", Kind.JOB)
    waits, told = [], []
    now = 0.0
    for _ in range(8):
        effects = kill(children, now)
        waits.append(float(lines(effects)[0].partition("again in ")[2].partition(" s")[0]))
        told.append(others(effects))
        now += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert told[:2] == [[], []]
    reason = "its process was killed by SIGKILL 3 times without progress: "
    assert told[2] == [Delayed("job a", reason + "by somebody, or because memory ran out (see dmesg)")]
    assert children.beat("job a", now + 1) == [Delayed("job a", "")]


def test_progress_and_time_make_the_wait_after_a_kill_short_again(children: Children) -> None:
    run(children, "job a", Kind.JOB)
    kill(children, 1)
    kill(children, 3)
    children.progressed("job a", 6)
    assert "again in 1.0 s" in lines(kill(children, 7))[0]
    assert "again in 1.0 s" in lines(kill(children, 7 + 601))[0]


def test_kills_from_outside_do_not_count_as_failures_nor_failures_as_kills(children: Children) -> None:
    run(children, "job a", Kind.JOB)
    children.exited("job a", 1, "", now=0)
    fail(children, "job a", now=1)
    children.tick(3)
    children.started("job a", 8, 3)
    kill(children, 4)
    assert isinstance(children.exited("job a", 1, "", now=6)[-1], Ended)


def test_a_crash_by_a_signal_of_its_own_is_the_job_s_fault(children: Children) -> None:
    run(children, "job a", Kind.JOB)
    children.exited("job a", -signal.SIGSEGV, "", now=0)
    children.tick(1)
    children.started("job a", 8, 1)
    children.exited("job a", -signal.SIGABRT, "", now=1)
    children.tick(3)
    children.started("job a", 8, 3)
    assert isinstance(children.exited("job a", -signal.SIGSEGV, "", now=3)[-1], Ended)


def test_a_job_that_cannot_go_on_is_not_started_again_and_its_last_line_is_the_reason(children: Children) -> None:
    run(children, "job a", Kind.JOB)
    effects = children.exited("job a", 4, "its journal is damaged", now=1)
    assert effects == [
        Say("job a (pid 7) failed: its journal is damaged"),
        Ended("job a", 4, "its journal is damaged"),
    ]
    assert "job a" not in children


def test_a_job_that_cannot_go_on_and_does_not_say_why_has_a_reason_all_the_same(children: Children) -> None:
    run(children, "job a", Kind.JOB)
    assert others(children.exited("job a", 4, "", now=1)) == [Ended("job a", 4, "its process ended with exit code 4")]


def test_a_job_that_beats_and_counts_nothing_before_each_failure_is_given_up(children: Children) -> None:
    run(children, "job a", Kind.JOB)
    effects = children.exited("job a", 1, "", now=0)
    for now in (1, 4):
        children.tick(now)
        children.started("job a", 8, now)
        children.beat("job a", now + 0.5)
        effects = children.exited("job a", 1, "", now=now + 1)
    assert isinstance(effects[-1], Ended)


# --- a job that cannot run for now ---


@pytest.mark.parametrize("code", policy.NOT_ITS_FAULT)
def test_a_job_that_cannot_run_for_now_is_tried_again_for_ever_and_its_reason_is_told(
    children: Children, code: int
) -> None:
    run(children, "job a", Kind.JOB)
    effects = children.exited("job a", code, "no space left on device", now=0.5)
    assert effects == [
        Say("job a (pid 7) cannot run for now, after 0.5 s; starting it again in 1.0 s: no space left on device"),
        Delayed("job a", "no space left on device"),
    ]
    waits = []
    for _ in range(100):
        now = children.deadline()
        assert now is not None
        assert children.tick(now) == [Start("job a")]
        children.started("job a", 8, now)
        assert others(children.exited("job a", code, "still none", now + 12)) == [Delayed("job a", "still none")]
        deadline = children.deadline()
        assert deadline is not None
        waits.append(deadline - now - 12)
    assert waits[:3] == [2, 4, 4]  # a life spent waiting for a lock is not a healthy one


def test_a_job_that_runs_again_after_a_delay_says_so_once_and_counts_no_failure_for_it(children: Children) -> None:
    run(children, "job a", Kind.JOB)
    for now in range(10, 200, 10):
        children.exited("job a", exits.EXIT_NOT_NOW, "", now)
        children.tick(now + 5)
        children.started("job a", 8, now + 5)
    assert children.beat("job a", 196) == [Delayed("job a", "")]
    assert children.progressed("job a", 197) == []
    fail_line = lines(children.exited("job a", 1, "", now=198))
    assert fail_line == ["job a (pid 8) ended with exit code 1 after 3.0 s; starting it again in 1.0 s"]


def test_a_delayed_job_whose_first_sign_is_progress_runs_again_too(children: Children) -> None:
    run(children, "job a", Kind.JOB)
    children.exited("job a", exits.EXIT_NOT_NOW, "", now=0)
    children.tick(1)
    children.started("job a", 8, 1)
    assert children.progressed("job a", 2) == [Delayed("job a", "")]


def test_a_delayed_job_that_then_fails_is_not_delayed_any_more(children: Children) -> None:
    run(children, "job a", Kind.JOB)
    children.exited("job a", exits.EXIT_NOT_NOW, "", now=0)
    assert others(fail(children, "job a", now=1)) == [Delayed("job a", "")]


def test_a_delayed_job_can_be_stopped(children: Children) -> None:
    run(children, "job a", Kind.JOB)
    children.exited("job a", exits.EXIT_NOT_NOW, "", now=0)
    assert children.stop("job a", now=0.5) == [Ended("job a", 0, "it was told to stop")]


def test_only_jobs_have_these_exit_codes(children: Children) -> None:
    run(children, "gateway 0", Kind.GATEWAY)
    assert others(children.exited("gateway 0", exits.EXIT_NOT_NOW, "", now=0)) == []


@pytest.mark.parametrize(("code", "words"), [(0, "completed"), (3, "was cancelled")])
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


def test_a_child_that_is_killed_while_it_starts_is_killed_once_it_has_started_and_nothing_spins(
    children: Children,
) -> None:
    children.add("gateway 0", Kind.GATEWAY)
    children.shut_down(now=0)
    children.shut_down(now=1)
    assert children.deadline() is None
    assert [children.tick(2 + tick / 100) for tick in range(1000)] == [[]] * 1000
    assert children.started("gateway 0", 7, now=13) == [Signal("gateway 0", KILL)]
    assert children.exited("gateway 0", KILLED, "", now=13) == [Ended("gateway 0", KILLED, "it was told to stop")]
    assert children.over


def test_a_child_whose_start_takes_longer_than_its_grace_is_killed_once_it_has_started(children: Children) -> None:
    children.add("job a", Kind.JOB)
    children.stop("job a", now=0)
    assert lines(children.tick(5)) == ["job a (not started) did not end within 5 s: killing it"]
    assert children.deadline() is None
    assert children.tick(6) == []
    assert children.started("job a", 7, now=7) == [Signal("job a", KILL)]


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


# --- signs of life ---


def look(children: Children, until: float, since: float = 0) -> list[Effect]:
    """Tick each second after ``since``, as the supervisor does."""
    effects: list[Effect] = []
    now = since
    while now < until:
        now += 1
        effects += children.tick(now)
    return effects


def test_the_supervisor_looks_each_second_while_something_runs_however_many_beats_come(children: Children) -> None:
    assert children.deadline() is None
    run(children, "job a", Kind.JOB)
    children.tick(0)
    for beat in range(10):
        children.beat("job a", 0.1 * beat)
    assert children.deadline() == 1


def test_a_child_that_falls_silent_is_killed_and_started_again(children: Children) -> None:
    run(children, "job a", Kind.JOB)
    children.beat("job a", 0)
    assert look(children, 7) == []
    assert children.tick(8) == [
        Say("job a (pid 7) hangs: no heartbeat for 8 s; killing it"),
        Signal("job a", KILL),
    ]
    assert look(children, 12, since=8) == []  # once is enough
    said = children.exited("job a", KILLED, "", now=12)
    assert lines(said) == ["job a (pid 7) hung and was killed after 12.0 s; starting it again in 1.0 s"]
    assert children.tick(13) == [Start("job a")]


def test_a_child_that_beats_lives_on(children: Children) -> None:
    run(children, "job a", Kind.JOB)
    for second in range(100):
        children.beat("job a", second)
        assert children.tick(second) == []


def test_a_child_that_starts_may_take_longer_before_its_first_beat(children: Children) -> None:
    run(children, "gateway 0", Kind.GATEWAY)
    assert look(children, 29) == []
    assert children.tick(30) == [
        Say("gateway 0 (pid 7) did not start in time: no heartbeat for 30 s; killing it"),
        Signal("gateway 0", KILL),
    ]


def test_a_supervisor_that_was_stopped_itself_kills_nobody_when_it_wakes(children: Children) -> None:
    run(children, "job a", Kind.JOB)
    children.beat("job a", 0)
    children.tick(0)
    assert children.tick(3600) == []  # a laptop was closed for an hour
    assert look(children, 3606, since=3600) == []
    assert lines(look(children, 3607, since=3606)) == ["job a (pid 7) hangs: no heartbeat for 8 s; killing it"]


def test_a_supervisor_that_is_always_late_is_more_patient(children: Children) -> None:
    run(children, "job a", Kind.JOB)
    children.beat("job a", 0)
    assert [children.tick(5.0 * look) for look in range(8)] == [[]] * 8
    assert lines(children.tick(40)) == ["job a (pid 7) hangs: no heartbeat for 8 s; killing it"]


def test_a_job_that_hangs_each_time_is_given_up(children: Children) -> None:
    run(children, "job a", Kind.JOB)
    now = 0.0
    for _ in range(3):
        children.beat("job a", now)
        look(children, now + 8, since=now)
        effects = children.exited("job a", KILLED, "computing", now=now + 8)
        children.tick(now + 12)
        if "job a" in children:
            children.started("job a", 7, now + 12)
        now += 12
    reason = "its process failed 3 times in a row without progress; the last time it hung and was killed: computing"
    assert effects[-1] == Ended("job a", KILLED, reason)


def test_a_child_that_was_told_to_stop_has_its_grace_instead(children: Children) -> None:
    run(children, "job a", Kind.JOB)
    children.beat("job a", 0)
    look(children, 7)
    children.stop("job a", now=7)
    assert look(children, 11, since=7) == []
    assert others(children.tick(12)) == [Signal("job a", KILL)]


def test_a_sign_of_life_that_comes_after_the_end_changes_nothing(children: Children) -> None:
    run(children, "job a", Kind.JOB)
    children.exited("job a", KILLED, "", now=1)
    assert children.beat("job a", 1) == []
    assert children.progressed("job a", 1) == []
    assert children.beat("job b", 1) == []


# --- replacing ---


def gateways(children: Children, number: int) -> None:
    for which in range(number):
        run(children, f"gateway {which}", Kind.GATEWAY, pid=10 + which)
        children.progressed(f"gateway {which}", 0)


def test_gateways_are_replaced_one_by_one_and_each_ends_only_when_its_successor_is_of_use(children: Children) -> None:
    gateways(children, 2)
    assert children.replace(Kind.GATEWAY) == [
        Say("replacing one after the other: gateway 0, gateway 1"),
        Start("gateway 2"),
    ]
    children.started("gateway 2", 12, now=1)
    assert children.beat("gateway 2", 1) == []  # it lives, but does not serve yet
    assert children.progressed("gateway 2", 2) == [
        Say("gateway 2 (pid 12) takes the place of gateway 0 (pid 10)"),
        Signal("gateway 0", RETIRE),
        Start("gateway 3"),
    ]
    assert children.progressed("gateway 2", 3) == []
    children.exited("gateway 0", 0, "", now=4)
    children.started("gateway 3", 13, now=4)
    assert children.progressed("gateway 3", 5) == [
        Say("gateway 3 (pid 13) takes the place of gateway 1 (pid 11)"),
        Signal("gateway 1", RETIRE),
        Say("every gateway has been replaced"),
    ]
    children.exited("gateway 1", 0, "", now=6)
    assert children.replace(Kind.GATEWAY)[-1] == Start("gateway 0")  # numbers are used again


def test_a_successor_that_fails_before_it_is_of_use_takes_nobody_s_place(children: Children) -> None:
    gateways(children, 2)
    children.replace(Kind.GATEWAY)
    children.started("gateway 2", 12, now=1)
    children.beat("gateway 2", 1)
    assert lines(children.exited("gateway 2", 1, "", now=2)) == [
        "gateway 2 (pid 12) ended with exit code 1 before it was ready; the old ones stay"
    ]
    assert "gateway 2" not in children
    assert lines(children.replace(Kind.GATEWAY)) == ["replacing one after the other: gateway 0, gateway 1"]


def test_a_gateway_that_dies_while_its_successor_starts_is_simply_over(children: Children) -> None:
    gateways(children, 1)
    children.replace(Kind.GATEWAY)
    children.exited("gateway 0", KILLED, "", now=1)
    children.started("gateway 1", 12, now=1)
    effects = others(children.progressed("gateway 1", 1.5))
    assert effects == [Ended("gateway 0", 0, "it was told to stop")]
    assert children.tick(5) == []


def test_a_second_request_to_replace_waits_for_the_first_to_be_done(children: Children) -> None:
    gateways(children, 1)
    children.replace(Kind.GATEWAY)
    busy = ["gateways are still being replaced: ask again when that is done"]
    assert lines(children.replace(Kind.GATEWAY)) == busy
    children.started("gateway 1", 12, now=1)
    children.progressed("gateway 1", 1)
    assert lines(children.replace(Kind.GATEWAY)) == busy  # the old one still answers what it was asked
    children.exited("gateway 0", 0, "", now=2)
    assert lines(children.replace(Kind.GATEWAY)) == ["replacing one after the other: gateway 1"]


def test_a_retiring_gateway_that_does_not_end_is_killed_in_the_end(children: Children) -> None:
    gateways(children, 1)
    children.replace(Kind.GATEWAY)
    children.started("gateway 1", 12, now=1)
    children.progressed("gateway 1", 1)
    effects = children.tick(51)
    assert lines(effects) == ["gateway 0 (pid 10) did not end within 50 s: killing it"]
    assert others(effects) == [Signal("gateway 0", KILL)]


def test_shutting_down_leaves_a_retiring_gateway_no_more_time_than_any(children: Children) -> None:
    gateways(children, 1)
    children.replace(Kind.GATEWAY)
    children.started("gateway 1", 12, now=1)
    children.progressed("gateway 1", 1)
    term = signal.SIGTERM
    assert children.shut_down(now=2) == [Signal("gateway 0", term), Signal("gateway 1", term)]
    assert others(children.tick(5)) == [Signal("gateway 0", KILL), Signal("gateway 1", KILL)]


def test_shutting_down_ends_the_replacing(children: Children) -> None:
    gateways(children, 2)
    children.replace(Kind.GATEWAY)
    children.started("gateway 2", 12, now=1)
    children.shut_down(now=2)
    assert children.progressed("gateway 2", 2) == []
    for which in range(3):
        children.exited(f"gateway {which}", 0, "", now=3)
    assert children.over
    assert children.replace(Kind.GATEWAY) == []
