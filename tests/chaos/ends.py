"""Which ends of its processes a supervisor told of that no kill of ours explains. Pure."""

import re
from collections import Counter
from collections.abc import Iterable

from tests.chaos.killer import Kill, Role

#: A line about a process begins like this; whatever else is in the log is not the supervisor's verdict.
_PROCESS = re.compile(r"(?P<role>gateway|job|control)\b[^(]*\((?:pid \d+|not started)\) (?P<what>.*)")
_OUR_SIGNAL = "was killed by SIGKILL"
_TROUBLE = (
    "ended with exit code",
    "was killed by",  # by another signal than ours
    "hung and was killed",
    "hangs:",
    "did not start in time:",
    "did not end within",
    "given up:",
    "failed:",
    "before it was ready",
    "was cancelled",
    "completed",  # no job of ours reaches its last version
)


def unexplained(lines: Iterable[str], kills: Iterable[Kill]) -> list[str]:
    """The lines, and one more for each role that died of SIGKILL more often than it was killed."""
    found = []
    ours, told = Counter(kill.role for kill in kills), Counter[Role]()
    for line in lines:
        match = _PROCESS.match(line)
        if match is None:
            continue
        what = match["what"]
        if what.startswith(_OUR_SIGNAL):
            told[Role(match["role"])] += 1
            what = what.removeprefix(_OUR_SIGNAL)
        if any(trouble in what for trouble in _TROUBLE):
            found.append(line)
    for role, times in told.items():
        if times > ours[role]:
            found.append(f"a {role} was killed by SIGKILL {times} times, {ours[role]} of them by us")
    return found
