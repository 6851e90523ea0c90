"""docs/TUTORIAL.md works word for word: typed into a fresh copy, it shows what it promises."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.terminals import Pressed, Promised, Typed, steps

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "TUTORIAL.md"
#: With this set, ``make install`` really installs into the copy, with pip, and the ports of the page must be free.
FRESH = bool(os.environ.get("TURNOUT_FRESH_INSTALL"))
#: A network of one's own, in which these ports are free and nobody is disturbed.
ALONE = ("unshare", "--net", "--map-root-user", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
TIMEOUT_S = 400.0


def alone() -> tuple[str, ...]:
    """What makes a command run in a network of its own; nothing where the system does not let us."""
    try:
        tried = subprocess.run([*ALONE, "true"], capture_output=True, check=False, timeout=60)
    except FileNotFoundError:
        return ()
    return ALONE if tried.returncode == 0 else ()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What ``git clone`` gives, as far as the page needs it."""
    folder = tmp_path / "turnout"
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("Makefile", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    if not FRESH:
        activate = folder / ".venv" / "bin" / "activate"
        activate.parent.mkdir(parents=True)
        activate.write_text(f'PATH="{Path(sys.executable).parent}:$PATH"\n')
        stamps = folder / ".venv" / ".stamps"
        stamps.mkdir()
        (activate.parent / "python").symlink_to(sys.executable)
        (stamps / "base").touch()
    return folder


def test_the_tutorial_works_word_for_word(tmp_path: Path, clone: Path) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    ours = {"TURNOUT_URL", "TURNOUT_TOKEN", "VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    followed = subprocess.run(
        [*(() if FRESH else alone()), sys.executable, "-m", "tests.end_to_end.terminals", str(PAGE), str(clone)],
        cwd=ROOT,
        env={**inherited, "XDG_RUNTIME_DIR": str(runtime)},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert followed.returncode == 0, followed.stderr


def test_a_page_is_read_as_its_reader_does() -> None:
    page = """**Terminal 1** and then

```sh
one
```

```text
seen
```

Still in **terminal 2**, while terminal 1 goes on:

```sh
two
```

Now terminal 1 shows

```text
more
```

**Ctrl-C in terminal 1**.
"""
    assert list(steps(page)) == [
        Typed("1", "one\n"),
        Promised("1", "seen\n"),
        Typed("2", "two\n"),
        Promised("1", "more\n"),
        Pressed("1"),
    ]
