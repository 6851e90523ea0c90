"""What ``turnout doctor`` has found about one thing."""

from turnout.messages import Message


class Finding(Message, frozen=True):
    """``found`` in words; where it is not ``ok``, ``advice`` says how to mend it."""

    name: str
    ok: bool
    found: str
    advice: str = ""
