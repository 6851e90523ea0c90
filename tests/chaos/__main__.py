"""``python -m tests.chaos``: kill the processes of a server again and again, and show that nothing is lost or doubled.

Exit code 0 when every promise held, 1 when one was broken, 2 when the run could not be brought to its end.
"""

import argparse
import secrets
import sys
import tempfile
from dataclasses import fields
from functools import partial
from pathlib import Path

from tests.chaos.harness import FLEET_LOG, SERVER_LOG, ChaosFailed, Plan, run
from tests.chaos.report import table

EXIT_HELD, EXIT_BROKEN, EXIT_UNFINISHED = 0, 1, 2
LINES_SHOWN = 20


def main() -> int:
    """Every field of a Plan is an option."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--keep", type=Path, help="a new folder for the server's data and the ledger")
    for each in fields(Plan):
        default = secrets.randbelow(10**6) if each.name == "seed" else each.default
        option = f"--{each.name.replace('_', '-')}"
        parser.add_argument(option, type=type(default), default=default, help=f"{default} unless given")
    given = vars(parser.parse_args())
    keep = given.pop("keep")
    if keep is not None:
        keep.mkdir(parents=True)
    plan = Plan(**given)
    print(f"seed {plan.seed}; again with: python -m tests.chaos --seed {plan.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="turnout-chaos-", ignore_cleanup_errors=True) as thrown_away:
        folder = keep or Path(thrown_away)
        try:
            outcome = run(plan, folder, partial(print, file=sys.stdout, flush=True))
        except ChaosFailed as failure:
            for log in (SERVER_LOG, FLEET_LOG):
                print(f"--- the end of {log}", *_last_lines(folder / log), sep="\n", file=sys.stderr)
            print(f"not finished: {failure}", file=sys.stderr)
            return EXIT_UNFINISHED
    print(table(outcome))
    return EXIT_HELD if outcome.holds else EXIT_BROKEN


def _last_lines(log: Path) -> list[str]:
    return log.read_text().splitlines()[-LINES_SHOWN:] if log.exists() else []


if __name__ == "__main__":
    sys.exit(main())
