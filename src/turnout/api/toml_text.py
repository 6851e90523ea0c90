"""Settings as the text of a TOML file; the other direction is ``job/folder/toml.py``."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from turnout.errors import JobFolderError

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_text(settings: Mapping[str, Any]) -> str:
    """The text of these settings; None is left out. Raises JobFolderError for a value that TOML cannot say."""
    return "\n".join(_lines(settings, ())).strip() + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """The table's own values first, then its tables, each under its head."""
    for key, value in table.items():
        if value is not None and not isinstance(value, Mapping):
            yield f"{_key(key)} = {_value(value, (*path, key))}"
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield f"\n[{'.'.join(_key(part) for part in (*path, key))}]"
            yield from _lines(value, (*path, key))


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise JobFolderError(f"the key {key!r} is not text; keys of settings are")
    return key if _BARE.fullmatch(key) else _text(key)


def _value(value: Any, path: tuple[str, ...]) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        inner = (f"{_key(key)} = {_value(part, (*path, key))}" for key, part in value.items() if part is not None)
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return "[" + ", ".join(_value(part, path) for part in value) + "]"
    shown = ".".join(str(part) for part in path)
    raise JobFolderError(f"{shown} is a {type(value).__name__}; expected is text, a number, true or false, or a table")


def _text(text: str) -> str:
    """As a basic string, whose escapes are those of JSON; TOML alone wants DEL escaped too."""
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")
