"""Which paths of a folder a list of patterns names, as ``.gitignore`` has it. Pure.

One pattern a line; ``#`` begins a comment, ``!`` takes back what an earlier line named, and the last line that matches
decides. A ``/`` at the end is for folders only; a pattern with a ``/`` before its end is of paths from the top, any
other of names at any depth. ``*`` and ``?`` stop at ``/``, ``**`` does not, ``[...]`` is one of these characters.
"""

import re
from collections.abc import Iterator


class Ignore:
    """The patterns of one text. What is in a folder that they name is named too."""

    def __init__(self, text: str) -> None:
        self._rules = list(_rules(text))

    def names(self, path: str, is_folder: bool) -> bool:
        """Whether the patterns name ``path``, whose parts are joined by ``/``."""
        named = False
        for pattern, of_folders, names in self._rules:
            if (is_folder or not of_folders) and pattern.fullmatch(path):
                named = names
        return named


def _rules(text: str) -> Iterator[tuple[re.Pattern[str], bool, bool]]:
    """The pattern of each line, whether it is for folders only, and whether it names or takes back."""
    for line in text.splitlines():
        line = line.rstrip()
        if not line or line.startswith("#"):
            continue
        names = not line.startswith("!")
        glob = line.removeprefix("!")
        of_folders = glob.endswith("/")
        glob = glob.rstrip("/")
        if glob:
            try:
                pattern = re.compile(_pattern(glob))
            except re.error:  # a range from high to low: as git has it, the line names nothing
                continue
            yield pattern, of_folders, names


def _pattern(glob: str) -> str:
    anywhere = "" if "/" in glob else "(?:.*/)?"
    return f"(?s:{anywhere}{''.join(_pieces(glob.removeprefix('/')))})"


def _pieces(glob: str) -> Iterator[str]:
    """The glob as pieces of a regular expression."""
    at = 0
    while at < len(glob):
        if glob.startswith("**/", at) and (at == 0 or glob[at - 1] == "/"):
            yield "(?:.*/)?"
            at += 3
        elif glob[at] == "*":
            end = at
            while end < len(glob) and glob[end] == "*":
                end += 1
            whole = end - at > 1 and (at == 0 or glob[at - 1] == "/") and end == len(glob)
            yield ".+" if whole else "[^/]*"
            at = end
        elif glob[at] == "?":
            yield "[^/]"
            at += 1
        elif glob[at] == "[" and (end := glob.find("]", at + 2)) > 0:
            inside = glob[at + 1 : end].replace("\\", r"\\").replace("[", r"\[")
            yield f"[^{inside[1:]}/]" if inside[0] in "!^" else f"[{inside}]"
            at = end + 1
        else:
            at += glob[at] == "\\" and at + 1 < len(glob)
            yield re.escape(glob[at])
            at += 1
