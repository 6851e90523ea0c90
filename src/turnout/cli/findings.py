"""What ``turnout doctor`` has found about one thing."""

from turnout.messages import Message

NAME_WIDTH = 14


class Finding(Message, frozen=True):
    """``found`` in words; where it is not ``ok``, ``advice`` says how to fix it."""

    name: str
    ok: bool
    found: str
    advice: str = ""


def line(finding: Finding) -> str:
    """For people."""
    mark = "ok   " if finding.ok else "WRONG"
    return f"{mark}  {finding.name:<{NAME_WIDTH}}{finding.found}" + (f": {finding.advice}" if finding.advice else "")
