"""Writes docs/REFERENCE.md from the code itself: settings, messages, refusals, limits, options. ``make reference``.

A test holds the page against what this makes. What the code cannot say stands in ``reference_words.py``; a field
without words there is an error here, and so are words without a field.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import msgspec
from cyclopts import App

from tools import reference_words as words
from tools.refusals import Refusal, refusals
from turnout.cli import server_toml
from turnout.cli.commands import app
from turnout.cli.job_toml import comments, structs, written
from turnout.client.view import JobState
from turnout.dispatcher.pending import DispatcherLimits
from turnout.gateway import limits
from turnout.job.folder import toml
from turnout.job.folder.spec import JobSpec

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "REFERENCE.md"
SAMPLE = ROOT / "examples" / "deploy" / "server.toml"
Table = type[msgspec.Struct]


def page() -> str:
    """The whole page."""
    parts = [words.HEAD, *_settings(), *_server(), *_messages(), *_statuses(), *_limits(), *_options(), *_variables()]
    return "\n".join(parts)


def sample() -> str:
    """A file of settings for ``turnout up``."""
    return written(server_toml.ServerFile, server_toml.HEAD, server_toml.SAMPLE)


# --- job.toml -----------------------------------------------------------------------------------------------------


def _settings() -> Iterator[str]:
    yield words.SETTINGS
    yield from _table_of_settings(JobSpec, "")


def _server() -> Iterator[str]:
    yield words.SERVER
    yield from _table_of_settings(server_toml.ServerFile, "")


def _table_of_settings(table: Table, name: str) -> Iterator[str]:
    """The values of a table of job.toml, then the tables below it, each form of one by itself."""
    about, below, rows = comments(table), [], []
    for field in msgspec.structs.fields(table):
        inner = structs(field.type)
        if inner:
            below.append((f"{name}.{field.encode_name}".strip("."), inner))
        else:
            meaning = about.get(field.encode_name, "")
            rows.append((f"`{field.encode_name}`", _default(field), _allowed(field), meaning))
    config = table.__struct_config__
    if name:
        yield f"\n### [{name}]" + (f', {config.tag_field} = "{config.tag}"' if config.tag_field else "") + "\n"
        yield _sentence(table) + "\n"
    yield from _markdown(("setting", "default", "allowed", "meaning"), rows)
    for path, forms in below:
        for form in forms:
            yield from _table_of_settings(form, path)


def _default(field: msgspec.structs.FieldInfo) -> str:
    value = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    if value is msgspec.NODEFAULT:
        return "required"
    return "not set" if value is None else f"`{msgspec.json.encode(value).decode()}`"


def _allowed(field: msgspec.structs.FieldInfo) -> str:
    if field.type == dict[str, Any]:
        return "any keys"
    kind = msgspec.inspect.type_info(field.type)
    if isinstance(kind, msgspec.inspect.UnionType):
        (kind,) = (each for each in kind.types if not isinstance(each, msgspec.inspect.NoneType))
    return toml.allowed(kind)


# --- messages -----------------------------------------------------------------------------------------------------


def _messages() -> Iterator[str]:
    yield words.MESSAGES
    spoken = set()
    for message in words.EDGE_MESSAGES:
        name = message.__name__
        rows = []
        for field in msgspec.structs.fields(message):
            key = f"{name}.{field.name}"
            if key in words.NOT_SENT:
                continue
            assert key in words.FIELDS, f"{key} has no words in reference_words.py"
            where, meaning = words.FIELDS[key]
            spoken.add(key)
            rows.append((f"`{field.name}`", where, meaning))
        yield f"\n### {name}\n"
        yield _sentence(message) + "\n"
        yield from _markdown(("field", "where", "meaning"), rows)
    assert spoken == set(words.FIELDS), f"words without a field: {set(words.FIELDS) - spoken}"


def _statuses() -> Iterator[str]:
    yield words.STATUSES
    yield from _markdown(("status", "of a job"), ((f"`{state}`", words.JOB_STATES[state]) for state in JobState))
    yield words.STATES
    yield from _markdown(
        ("state", "of its process"), ((f"`{name}`", said) for name, said in words.STATES_OF_CORE.items())
    )
    found = refusals(ROOT / "src" / "turnout")
    yield words.REFUSED_BY_JOBS
    yield from _markdown(("reason", "it says"), _told(each for each in found if not each.by_gateway))
    yield words.REFUSED_BY_GATEWAYS
    rows = (
        (str(each.http), *told) for each, told in ((each, next(_told([each]))) for each in found if each.by_gateway)
    )
    yield from _markdown(("HTTP", "reason", "it says, or means"), rows)


def _told(found: Iterable[Refusal]) -> Iterator[tuple[str, str]]:
    return ((f"`{each.reason}`", each.says) for each in found)


# --- limits, options, variables -----------------------------------------------------------------------------------


def _limits() -> Iterator[str]:
    yield words.LIMITS
    of_gateways = (kind for name, kind in vars(limits).items() if name.endswith("Limits") and is_dataclass(kind))
    for kind in (*of_gateways, DispatcherLimits):
        about = words.PLAIN_LIMITS | comments(kind)
        yield f"\n### {kind.__name__}\n"
        yield _sentence(kind) + "\n"
        rows, before = [], ""
        for each in fields(kind):
            meaning = about.get(each.name) or f"See `{before}`."  # one comment may be about two
            rows.append((f"`{each.name}`", _number(each.name, each.default), meaning))
            before = each.name
        yield from _markdown(("limit", "is", "meaning"), rows)


def _number(name: str, value: object) -> str:
    assert value is not MISSING, "every limit has a default"
    if isinstance(value, int) and "bytes" in name:
        return f"{value >> 20} MiB" if value % (1 << 20) == 0 else f"{value >> 10} KiB"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _options() -> Iterator[str]:
    yield words.OPTIONS
    for name, command in _commands(app, ""):
        rows = [
            (
                _names(option.names, option.index is not None),
                _default_of(option),
                option.parameter.help,
            )
            for option in command.assemble_argument_collection()
            if option.show and option.parameter.help and not words.EVERYWHERE & set(option.names)
        ]
        if rows:
            yield f"\n### turnout {name}\n"
            yield from _markdown(("argument", "default", "meaning"), rows)


def _commands(group: App, before: str) -> Iterator[tuple[str, App]]:
    for name in sorted(each for each in group if not each.startswith("-")):
        command = group[name]
        if command.default_command is None:
            yield from _commands(command, f"{before}{name} ")
        elif command.show:
            yield before + name, command


def _names(names: Iterable[str], positional: bool) -> str:
    """As ``--help`` shows them; what is given by its place, in capitals."""
    return ", ".join(f"`{each.lstrip('-').replace('-', '_').upper() if positional else each}`" for each in names)


def _default_of(option: Any) -> str:
    """As ``--help`` shows it: of an option that a file may give as well, in so many words."""
    told = option.show_default
    return _shown(told if isinstance(told, str) else option.field_info.default)


def _shown(default: object) -> str:
    if default is None or default == "" or isinstance(default, type):
        return ""
    return f"`{default}`" if isinstance(default, str | int | float | Path) else ""


def _variables() -> Iterator[str]:
    yield words.VARIABLES
    yield from _markdown(("variable", "meaning"), ((f"`{name}`", said) for name, said in words.ENVIRONMENT.items()))


# --- Markdown -----------------------------------------------------------------------------------------------------


def _markdown(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    cells = [tuple(cell.replace("|", "\\|").replace("\n", " ") for cell in row) for row in rows]
    if cells:
        yield f"| {' | '.join(head)} |"
        yield "|---" * len(head) + "|"
        yield from (f"| {' | '.join(row)} |" for row in cells)


def _sentence(kind: type) -> str:
    """The first paragraph of what a class says of itself."""
    return " ".join(str(kind.__doc__).partition("\n\n")[0].split()).replace("``", "`")


if __name__ == "__main__":
    for path, text in ((PAGE, page()), (SAMPLE, sample())):
        path.write_text(text)
        print(f"written: {path}", file=sys.stderr)
