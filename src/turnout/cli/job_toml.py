"""A job.toml in which every setting is explained, made from the settings' own types and the comments above them.

Those that are given are set; all others stand there as comments, with their default. So nothing can be forgotten.
"""

import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import msgspec

from turnout.job.folder.spec import JobSpec

WIDTH = 100
HEAD = 'All that this job can be told. A line like "#key = value" is a default: take the # away to change it.'
_FIELD = re.compile(r"    (?P<name>\w+): ")
_COMMENT = re.compile(r"    #: ?(?P<text>.*)")

Given = Mapping[str, object]


def job_toml(given: Given) -> str:
    """``given`` are values by their path, like ``"training.concurrency": 40``."""
    return written(JobSpec, HEAD, given)


def written(kind: type[msgspec.Struct], head: str, given: Given) -> str:
    """The same for settings of any kind; ``head`` is its first line."""
    return "\n".join([f"# {head}", "", *_settings(kind, "", given), ""])


def _settings(struct: type[msgspec.Struct], path: str, given: Given) -> Iterator[str]:
    """The lines of a table: its values first, then the tables below it, as TOML wants it."""
    about = comments(struct)
    tables = []
    for field in msgspec.structs.fields(struct):
        choices = structs(field.type)
        if choices or field.type == dict[str, Any]:
            tables.append((field, choices))
        else:
            yield from _commented(about.get(field.name, ""))
            yield _value(field, f"{path}{field.encode_name}", given)
    for field, choices in tables:
        yield ""
        name = f"{path}{field.encode_name}"
        if choices:
            yield from _table(name, _chosen(field, choices), choices, given)
        else:
            yield from _commented(about.get(field.name, "").removeprefix(f"[{field.encode_name}]: "))
            yield from _free(name, given)


def _table(name: str, chosen: type[msgspec.Struct], choices: list[type[msgspec.Struct]], given: Given) -> Iterator[str]:
    """A table, in the form that is the default; its other forms follow as comments."""
    yield from _commented(_summary(chosen))
    yield f"[{name}]"
    yield from _tag(chosen, "")
    yield from _settings(chosen, f"{name}.", given)
    for other in choices:
        if other is not chosen:
            yield "#"
            yield from _commented(f"Or [{name}] in another form. {_summary(other)}")
            yield from _tag(other, "#")
            own = {field.name for field in msgspec.structs.fields(chosen)}
            about = comments(other)
            for field in msgspec.structs.fields(other):
                if field.name not in own:
                    yield from _commented(about.get(field.name, ""))
                    yield _value(field, "", {})


def _tag(struct: type[msgspec.Struct], before: str) -> Iterator[str]:
    config = struct.__struct_config__
    if config.tag_field:
        yield f'{before}{config.tag_field} = "{config.tag}"'


def _free(name: str, given: Given) -> Iterator[str]:
    """A table that takes any keys."""
    values = given.get(name) or {}
    assert isinstance(values, dict)
    yield f"[{name}]"
    yield from (f"{key} = {_toml(value)}" for key, value in values.items())


def _value(field: msgspec.structs.FieldInfo, path: str, given: Given) -> str:
    if path in given:
        return f"{field.encode_name} = {_toml(given[path])}"
    default = field.default if field.default is not msgspec.NODEFAULT else None
    if field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory()
    return f"# {field.encode_name} is not set" if default is None else f"#{field.encode_name} = {_toml(default)}"


def _toml(value: object) -> str:
    """A value as TOML writes it; JSON's way does for all that settings have."""
    return msgspec.json.encode(value).decode()


def _chosen(field: msgspec.structs.FieldInfo, choices: list[type[msgspec.Struct]]) -> type[msgspec.Struct]:
    """The form that a table has unless it says otherwise."""
    default = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory()
    return type(default) if isinstance(default, msgspec.Struct) else choices[0]


def structs(annotation: object) -> list[type[msgspec.Struct]]:
    """The tables that a setting may be."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return [annotation]
    return [struct for inner in get_args(annotation) for struct in structs(inner)]


def comments(kind: type) -> dict[str, str]:
    """What is written with ``#:`` above each field of the class, and of our classes that it extends."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if not each.__module__.startswith("turnout."):
            continue
        text: list[str] = []
        for line in inspect.getsource(each).splitlines():
            if comment := _COMMENT.fullmatch(line):
                text.append(comment["text"])
            elif field := _FIELD.match(line):
                if text:
                    found[field["name"]] = " ".join(text).replace("``", "")
                text = []
            else:
                text = []
    return found


def _summary(struct: type[msgspec.Struct]) -> str:
    return (inspect.getdoc(struct) or "").partition("\n\n")[0].replace("\n", " ").replace("``", "")


def _commented(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text[:1].upper() + text[1:], WIDTH)]
