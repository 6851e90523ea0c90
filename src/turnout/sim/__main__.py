"""``python -m turnout.sim --seed 41``: run one world again, or many one after the other."""

import argparse
import logging
import sys
import time
from collections import Counter

from turnout.sim.books import Violation
from turnout.sim.world import World


def main() -> int:
    """0: no violation."""
    parser = argparse.ArgumentParser(prog="python -m turnout.sim", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=1, help="how many seeds to run")
    arguments = parser.parse_args()
    logging.getLogger("turnout").setLevel(logging.CRITICAL)  # what a job warns of happens all the time
    began = time.perf_counter()
    totals: Counter[str] = Counter()
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        try:
            totals.update(World(seed).run())
        except Violation as violation:
            print(f"{violation}\n\nRun it again with: make sim SEED={seed}", file=sys.stderr)
            return 1
    print(f"{arguments.count} worlds, no violation, {time.perf_counter() - began:.1f} s:")
    for what, count in sorted(totals.items()):
        print(f"  {count:>9,} {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
