"""The chaos harness lets no end of a process pass that it did not bring about itself."""

import pytest

from tests.chaos.ends import unexplained
from tests.chaos.harness import Outcome, Plan
from tests.chaos.killer import Interrupted, Kill, Role
from tests.chaos.verdict import Verdict
from turnout.supervisor.children import Children
from turnout.supervisor.effects import Effect, Say
from turnout.supervisor.policy import Kind, Policy

OURS = "job chaos-1 (pid 7) was killed by SIGKILL after 3.0 s; starting it again in 0.2 s"
KILL = Kill(Role.JOB, Interrupted.STAGED, "")
PATIENT = {kind: Policy(failures_max=2, grace_s=3.0) for kind in Kind}


def said(effects: list[Effect]) -> list[str]:
    return [effect.line for effect in effects if isinstance(effect, Say)]


def running(kind: Kind, name: str) -> Children:
    children = Children(PATIENT)
    children.add(name, kind)
    children.started(name, 7, 0.0)
    return children


def test_what_we_killed_is_no_trouble() -> None:
    assert unexplained([OURS, "turnout is up: devices at http://a, API at http://b"], [KILL]) == []


def test_a_kill_that_was_not_ours_is() -> None:
    assert unexplained([OURS, OURS], [KILL]) == ["a job was killed by SIGKILL 2 times, 1 of them by us"]
    gateway = Kill(Role.GATEWAY, Interrupted.SERVING, "")
    assert unexplained([OURS], [gateway]) == ["a job was killed by SIGKILL 1 times, 0 of them by us"]


@pytest.mark.parametrize("code", [0, 1, 3, 4, 143, -6, -11, -15])
@pytest.mark.parametrize(("kind", "name"), [(Kind.JOB, "job chaos-1"), (Kind.GATEWAY, "gateway 0")])
def test_every_other_end_is_in_the_supervisor_s_own_words(kind: Kind, name: str, code: int) -> None:
    lines = said(running(kind, name).exited(name, code, "its last words", 1.0))
    assert lines
    assert unexplained(lines, [KILL]) == lines


def test_a_process_that_hangs_is_and_so_is_its_end() -> None:
    children = running(Kind.CONTROL, "control")
    children.beat("control", 0.0)
    lines: list[str] = []
    for second in range(30):
        lines += said(children.tick(float(second)))
    assert "hangs" in lines[0]
    lines += said(children.exited("control", -9, "", 30.0))
    assert len(lines) == 2
    assert unexplained(lines, []) == lines


def test_a_process_that_does_not_end_is() -> None:
    children = running(Kind.JOB, "job chaos-1")
    children.stop("job chaos-1", 1.0)
    (line,) = said(children.tick(10.0))
    assert "did not end within" in line
    assert unexplained([line], [KILL]) == [line]


def test_a_job_that_is_given_up_is_even_after_kills_of_ours() -> None:
    children = running(Kind.JOB, "job chaos-1")
    ours = said(children.exited("job chaos-1", -9, "", 1.0))
    its_own: list[str] = []
    for pid, at in ((8, 5.0), (9, 10.0)):
        children.tick(at)
        children.started("job chaos-1", pid, at)
        its_own += said(children.exited("job chaos-1", 1, "", at + 1.0))
    assert unexplained(ours + its_own, [KILL]) == its_own
    assert "given up" in its_own[-1]


def test_a_run_with_such_an_end_does_not_hold() -> None:
    verdict = Verdict(counted=0, lost=0, double=0, invented=0, denied=0, open=0)
    assert Outcome(Plan(seed=1), verdict=verdict).holds
    assert not Outcome(Plan(seed=1), verdict=verdict, crashes=["gateway 0 (pid 7) hangs: no sign of life"]).holds
