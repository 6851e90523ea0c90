"""``import turnout`` is fast and light: what is named there is loaded when it is first used."""

import subprocess
import sys

import pytest

import turnout

HEAVY = ("numpy", "msgspec", "asyncio", "rich", "torch", "starlette", "turnout.api")


def test_importing_turnout_loads_nothing_heavy() -> None:
    code = f"import sys, turnout; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.split() == []


def test_using_turnout_loads_no_torch() -> None:
    code = "import sys, turnout; turnout.Job, turnout.run_device; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.split() == ["False"]


@pytest.mark.parametrize("name", turnout.__all__)
def test_every_public_name_is_there_and_explained(name: str) -> None:
    assert name in dir(turnout)
    assert getattr(turnout, name).__doc__


def test_other_names_are_refused_as_usual() -> None:
    with pytest.raises(AttributeError, match="module 'turnout' has no attribute 'jobs'"):
        turnout.jobs  # noqa: B018


def test_the_command_imports_next_to_nothing_before_it_can_answer_ctrl_c() -> None:
    """Whatever is imported sooner shows a traceback when it is interrupted.

    The streams are needed to say that it was; they import nothing but what the interpreter has loaded already.
    """
    code = "import sys; before = set(sys.modules); import turnout.cli; print(*sorted(set(sys.modules) - before))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.split() == [
        *("turnout", "turnout.cli", "turnout.process", "turnout.process.exits"),
        *("turnout.process.streams", "turnout.text", "turnout.text.printable"),
    ]
