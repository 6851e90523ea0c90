"""What can be said of the part for NVIDIA FLARE where FLARE is not; where it is, tests/flare says the rest."""

import subprocess
import sys

HIDDEN = "import sys; sys.modules['nvflare'] = None; "


def test_without_flare_the_error_names_what_to_install() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", HIDDEN + "import turnout.integrations.nvflare"],
        capture_output=True,
        text=True,
        timeout=60,
    )

    last = ran.stderr.splitlines()[-1]
    assert ran.returncode == 1
    assert last.startswith("ImportError: turnout.integrations.nvflare runs inside NVIDIA FLARE")
    assert 'pip install "nvflare' in last


def test_nothing_else_of_turnout_needs_flare() -> None:
    """The command line, a gateway, a job and control start without it."""
    modules = "turnout.cli, turnout.gateway.process, turnout.job.process, turnout.control.process, turnout.integrations"
    subprocess.run([sys.executable, "-c", f"{HIDDEN}import {modules}"], check=True, timeout=60)
