"""Where the words of others leave for a terminal or a log: nothing in them may steer it, or pass for a line of ours.

Devices say what platform they are, and a job's own code prints what it likes. Their words are kept as they came and
are escaped here, at the last moment, so that no way in has to be watched. Imports nothing: every command needs it.
"""

LABEL_CHARS_MAX = 64  #: Of a name that becomes a label; the rest is cut off.
_OF_LABELS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 ._+:/@()-")


def printable(text: str) -> str:
    r"""The text in one line, each character that is not printable as Python spells it: ``\x1b``, ``\n``, ``\u202e``.

    Not printable are control characters (C0 and C1), line ends of every kind, and what changes the direction of text.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def printable_json(encoded: bytes) -> str:
    """JSON that means the same, with each such character in its strings as an escape. Line ends between them stay."""
    text = encoded.decode()
    if text.isprintable():
        return text
    import json

    return "".join(each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text)


def label(name: str) -> str:
    """A name that a device gives itself, as the label of a group: ASCII letters, digits and some marks, else ``?``."""
    return "".join(each if each in _OF_LABELS else "?" for each in name[:LABEL_CHARS_MAX])
