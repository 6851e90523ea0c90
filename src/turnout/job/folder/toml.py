"""TOML text -> a frozen struct; whatever is wrong becomes one line that names file, key, value and what is allowed.

The types say what is allowed: msgspec checks them, and ``msgspec.inspect`` lets us read them out to a person.
"""

import difflib
import math
import re
import tomllib
from collections.abc import Mapping
from datetime import date, time
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from turnout.errors import JobFolderError

VALUE_SHOWN_CHARS = 60
NOTHING: Mapping[str, str] = {}
DEPTH_MAX = 64  #: Of tables and lists in one another; dotted keys nest as well.

_PLACED = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<key>.*)`$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<key>.*)`$", re.DOTALL)
_STEP = re.compile(r"\.(?P<key>\w+)|\[(?P<index>\d+)\]")

Path = tuple[str | int, ...]
Settings = TypeVar("Settings", bound=msgspec.Struct)


def decode_toml(
    text: str, kind: type[Settings], file: str, removed: Mapping[str, str] = NOTHING, *, accepted: bool = False
) -> Settings:
    """The settings in ``text``. Raises JobFolderError; ``file`` is how the error calls the text.

    ``removed`` says of settings of earlier releases what became of them. In a text that was ``accepted`` by such a
    release they mean nothing; elsewhere they are an error.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = str(error).replace("at end of document", f"at line {text.count(chr(10)) + 1}, where the file ends")
        raise JobFolderError(f"{file}: not valid TOML: {place}") from None
    except RecursionError:
        raise JobFolderError(f"{file}: not valid TOML: nested too deeply") from None
    _check_values(document, (), file)
    for key, what in removed.items():
        if _take_out(document, key.split(".")) and not accepted:
            raise JobFolderError(f"{file}: {key} {what}: remove it")
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise JobFolderError(f"{file}: {_explain(str(error), document, kind)}") from None


def _take_out(document: dict[str, Any], path: list[str]) -> bool:
    """Whether there was such a setting."""
    *tables, last = path
    found: Any = document
    for table in tables:
        found = found.get(table) if isinstance(found, dict) else None
    if not isinstance(found, dict) or last not in found:
        return False
    del found[last]
    return True


def _check_values(value: Any, path: Path, file: str) -> None:
    """Refuse what TOML can say but no setting means: dates, nan and inf, and thousands of tables in one another."""
    if len(path) > DEPTH_MAX:
        raise JobFolderError(f"{file}: {_clip(_shown(path[:1]))}: nested more than {DEPTH_MAX} deep; make it flatter")
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_values(inner, (*path, key), file)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check_values(inner, (*path, index), file)
    elif isinstance(value, (date, time)):
        raise JobFolderError(f"{file}: {_shown(path)} = {value}: no setting is a date or a time; put it in quotes")
    elif isinstance(value, float) and not math.isfinite(value):
        raise JobFolderError(f"{file}: {_shown(path)} = {value}: expected is a finite number")


def _explain(message: str, document: dict[str, Any], kind: type) -> str:
    """msgspec's complaint in words for the person who wrote the file."""
    placed = _PLACED.match(message)
    assert placed is not None
    what = placed["what"]
    path: Path = tuple(
        step["key"] if step["index"] is None else int(step["index"]) for step in _STEP.finditer(placed["path"] or "")
    )
    if unknown := _UNKNOWN.match(what):
        return _unknown_key(unknown["key"], path, _table(_walk(kind, document, path)))
    if missing := _MISSING.match(what):
        path = (*path, missing["key"])
        return f"{_shown(path)} is missing; expected is {allowed(_walk(kind, document, path))}"
    if what.startswith(("Expected ", "Invalid ")):
        value = _clip(msgspec.json.encode(_value(document, path)).decode())
        return f"{_shown(path)} = {value}: expected is {allowed(_walk(kind, document, path))}"
    return f"[{_shown(path)}]: {what}" if path else what  # a rule between several keys, in the section's own words


def _unknown_key(key: str, path: Path, table: inspect.StructType) -> str:
    allowed = _keys(table)
    near = difflib.get_close_matches(key, allowed, 1)
    hint = f'did you mean "{near[0]}"? ' if near else ""
    return f"unknown setting {_clip(_shown((*path, key)))}; {hint}allowed are: {', '.join(allowed)}"


def _keys(table: inspect.StructType) -> list[str]:
    tag = [table.tag_field] if table.tag_field is not None else []
    return [*tag, *(field.encode_name for field in table.fields)]


# --- finding the place --------------------------------------------------------------------------------------------


def _value(document: Any, path: Path) -> Any:
    for step in path:
        document = document[step]
    return document


def _walk(kind: type, document: Any, path: Path) -> inspect.Type:
    """The type at ``path``; where a table has several forms, the one that the document chose."""
    node = _settled(inspect.type_info(kind), document)
    for step in path:
        document = document.get(step) if isinstance(document, dict) else document[step]
        match node:
            case inspect.StructType(tag_field=tag_field, tag=tag) if step == tag_field:
                node = inspect.LiteralType((tag,))
            case inspect.StructType():
                node = next(field.type for field in node.fields if field.encode_name == step)
            case inspect.UnionType():  # of tables, and the document names none of them: the step is their tag
                node = inspect.LiteralType(
                    tuple(table.tag for table in node.types if isinstance(table, inspect.StructType))
                )
            case inspect.VarTupleType():
                node = node.item_type
        node = _settled(node, document)
    return node


def _settled(node: inspect.Type, value: Any) -> inspect.Type:
    """A union without None, and narrowed to the one table that ``value`` names by its tag, if it does."""
    if not isinstance(node, inspect.UnionType):
        return node
    types = tuple(inner for inner in node.types if not isinstance(inner, inspect.NoneType))
    for inner in types:
        if not isinstance(inner, inspect.StructType) or inner.tag_field is None:
            continue
        if isinstance(value, dict) and value.get(inner.tag_field) == inner.tag:
            return inner
    return types[0] if len(types) == 1 else inspect.UnionType(types)


def _table(node: inspect.Type) -> inspect.StructType:
    assert isinstance(node, inspect.StructType), "only a table can have an unknown key"
    return node


# --- words --------------------------------------------------------------------------------------------------------


def allowed(node: inspect.Type) -> str:
    """What a value may be, in words."""
    match node:
        case inspect.Metadata(extra_json_schema={"description": str(words)}):
            return words
        case inspect.Metadata():
            return allowed(node.type)
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return "an integer" + _bounds(node)
        case inspect.FloatType():
            return "a number" + _bounds(node)
        case inspect.StrType():
            return "text"
        case inspect.LiteralType():
            return " or ".join(f'"{value}"' for value in node.values)
        case inspect.VarTupleType():
            return f"a list, each item {allowed(node.item_type)}"
        case inspect.StructType():
            return f"a table of {', '.join(_keys(node))}"
        case inspect.DictType() | inspect.UnionType():
            return "a table"
    raise AssertionError(f"no words for {node}")


def _bounds(node: inspect.IntType | inspect.FloatType) -> str:
    words = {"above": node.gt, "at least": node.ge, "below": node.lt, "at most": node.le}
    text = " and ".join(f"{word} {bound:.10g}" for word, bound in words.items() if bound is not None)
    return f", {text}" if text else ""


def _shown(path: Path) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _clip(text: str) -> str:
    return text if len(text) <= VALUE_SHOWN_CHARS else text[:VALUE_SHOWN_CHARS] + "…"
