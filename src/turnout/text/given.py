"""Words that people give to be sent as they are: addresses, tokens, names.

Read from a file or a variable, one often has a line end at its end. Parsers of URLs and headers drop it, or send it:
what was checked is then not what is sent. So it is refused, by the name of what was given.
"""

import re

from turnout.errors import UsageError

JOB_NAME_CHARS_MAX = 128
#: What stands in a job's name; no space at its ends.
JOB_NAME_PATTERN = r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$"


def check_word(what: str, text: str, *, secret: bool = False) -> None:
    """Raise UsageError for a text with spaces or line ends in it; ``secret``: without saying the text."""
    if any(character.isspace() for character in text):
        shown = what if secret else f"{what} {text!r}"
        raise UsageError(f"{shown} has spaces or line ends in it; give it without them")


def check_job_name(name: str) -> None:
    """Raise UsageError for a name that no job can have: a device would ask for it for ever."""
    if name != name.strip():
        raise UsageError(f"the job's name {name!r} has spaces or line ends around it; give it without them")
    if not 1 <= len(name) <= JOB_NAME_CHARS_MAX or re.search(JOB_NAME_PATTERN, name) is None:
        raise UsageError(f"the job's name must have 1 to {JOB_NAME_CHARS_MAX} printable characters, not {name!r:.200}")
