"""The OpenAPI document as a page for people: one HTML file without scripts. Pure.

The policy allows its one style sheet by the hash of it, and nothing else.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from turnout.control.problems import PROBLEM_JSON

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: #2b66d9; }
@media (prefers-color-scheme: dark) { :root { --accent: #8ab4ff; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 3rem; border-bottom: 1px solid var(--line); }
h3 { margin: 2.5rem 0 .5rem; font: 600 1rem ui-monospace, monospace; overflow-wrap: anywhere; }
code, pre { font: .9em ui-monospace, monospace; background: var(--soft); padding: .1em .3em; border-radius: 3px; }
h3 b { display: inline-block; min-width: 4.5rem; color: var(--accent); }
a { color: var(--accent); } p, ul { margin: .5rem 0; } ul { padding-left: 1.2rem; }
td p { margin: 0 0 .5rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; display: block; overflow-x: auto; }
td, th { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); }
nav a { display: block; overflow-wrap: anywhere; font-size: .85rem; } nav b { display: block; margin-top: .6rem; }
pre { padding: .5rem .7rem; overflow-x: auto; }
@media (min-width: 64rem) { body { max-width: 80rem; padding-left: 22rem; }
  nav { position: fixed; left: 1rem; top: 1rem; bottom: 1rem; width: 19rem; overflow-y: auto; } }
"""
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def page(document: Mapping[str, Any]) -> str:
    """All routes by subject, then all schemas."""
    operations = [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    subjects = list(dict.fromkeys(operation["tags"][0] for _, _, operation in operations))
    links = "".join(_links(subject, operations) for subject in subjects)
    body = [
        "<h1>The API of turnout</h1>",
        _text(document["info"]["description"]),
        '<p>For programs: <a href="openapi.json">openapi.json</a>.</p>',
        f'<nav aria-label="Routes"><a href="../#/">To the dashboard</a>{links}<a href="#Schemas">Schemas</a></nav>',
    ]
    for subject in subjects:
        body.append(f"<h2>{subject.capitalize()}</h2>")
        body += (_route(*found) for found in operations if found[2]["tags"] == [subject])
    body.append('<h2 id="Schemas">Schemas</h2>')
    body += (_schema(name, schema) for name, schema in document["components"]["schemas"].items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>The API of turnout</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body>{''.join(body)}</body></html>"
    )


def _links(subject: str, operations: Iterable[tuple[str, str, Mapping[str, Any]]]) -> str:
    """To the routes of one subject, below its name."""
    return f"<b>{subject.capitalize()}</b>" + "".join(
        f'<a href="#{operation["operationId"]}">{method} {escape(path)}</a>'
        for method, path, operation in operations
        if operation["tags"] == [subject]
    )


def _example(method: str, path: str) -> str:
    """A call that can be pasted into a shell, once the variables and what is in braces are set."""
    verb = "" if method == "GET" else f"-X {method} "
    line = f'curl {verb}-H "Authorization: Bearer $TURNOUT_TOKEN" "$TURNOUT_URL{path}"'
    return f"<pre>{escape(line)}</pre>"


def _route(method: str, path: str, operation: Mapping[str, Any]) -> str:
    parts = [
        f'<h3 id="{operation["operationId"]}"><b>{method}</b> {escape(path)}</h3>',
        f"<p>{_words(operation['summary'])}. {_words(operation.get('description', 'Needs no token.'))}</p>",
    ]
    parts.append(_example(method, path))
    if operation.get("parameters"):
        parameters = (
            (f"<code>{escape(p['name'])}</code>", p["in"], _kind(p["schema"]), _words(p["description"]))
            for p in operation["parameters"]
        )
        parts.append(_table(("Parameter", "in", "Type", ""), parameters))
    if "requestBody" in operation:
        taken = operation["requestBody"]
        parts.append(f"<p>Body: {_content(taken['content'])}. {_words(taken['description'])}</p>")
    answers = operation["responses"].items()
    problems = [(status, answer) for status, answer in answers if PROBLEM_JSON in answer.get("content", {})]
    rows = (
        (status, _content(answer.get("content", {})), _text(answer["description"]))
        for status, answer in answers
        if (status, answer) not in problems
    )
    parts.append(_table(("Answer", "Body", ""), rows))
    words = ", ".join(f"{status} {answer['description']}" for status, answer in problems)
    parts.append(f'<p>Or <a href="#ProblemDetails">problem details</a>: {words}.</p>')
    return "".join(parts)


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    parts = [f'<h3 id="{name}">{escape(name)}</h3>', _text(schema.get("description", ""))]
    if "properties" in schema:
        rows = (
            (f"<code>{escape(field)}</code>", _kind(kind), _default(field, kind, schema.get("required", ())))
            for field, kind in schema["properties"].items()
        )
        parts.append(_table(("Field", "Type", "When it is absent"), rows))
    else:
        parts.append(f"<p>{_kind(schema)}</p>")
    return "".join(parts)


def _default(field: str, kind: Mapping[str, Any], required: Iterable[str]) -> str:
    return "it is always there" if field in required else f"<code>{escape(repr(kind.get('default')))}</code>"


def _content(content: Mapping[str, Any]) -> str:
    kinds = (
        f"<code>{escape(media)}</code>" + (f" {_kind(what['schema'])}" if "schema" in what else "")
        for media, what in content.items()
    )
    return " or ".join(kinds) or "none"


def _kind(schema: Mapping[str, Any]) -> str:
    """A JSON schema in words."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(map(_kind, schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    kind = schema.get("type", "anything")
    if kind == "array" and schema.get("items"):
        return f"list of {_kind(schema['items'])}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {_kind(schema['additionalProperties'])}"
    return escape(str(kind))


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    first = "".join(f"<th>{title}</th>" for title in head)
    rest = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{first}</tr></thead><tbody>{rest}</tbody></table>"


def _text(text: str) -> str:
    """Paragraphs and lists."""
    return "".join(_block(block) for block in text.strip().split("\n\n"))


def _block(block: str) -> str:
    lines = block.splitlines()
    if lines and all(line.startswith("- ") for line in lines):
        return f"<ul>{''.join(f'<li>{_words(line[2:])}</li>' for line in lines)}</ul>"
    return f"<p>{_words(block)}</p>"


def _words(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
