"""The OpenAPI 3.1 document, made from the operations and from the types that they take and give. Pure."""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from turnout import __version__
from turnout.client.view import ProblemDetails
from turnout.control.operations import JSON, Operation, Returned
from turnout.control.problems import PROBLEM_JSON
from turnout.messages import JobEvent

ABOUT = """What people's tools and the dashboard use. JSON in and out; errors are problem details (RFC 9457).

Send `Authorization: Bearer turnout_...`. Each scope includes those before it: `view` looks; `operate` pauses, resumes,
cancels, starts again and deletes jobs; `submit` hands in jobs, whose code can do all that the server's account can;
`admin` makes tokens and backups. The dashboard has a session instead: a cookie, and the header `X-Turnout-Session`.

A POST needs a Content-Type that no web form has, such as `application/json`, also without a body."""
REF = "#/components/schemas/{name}"


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """The whole document, ready to be encoded."""
    every = list(operations)
    kinds = [returned.type for op in every for returned in (op.returns, *op.also) if returned.type is not None]
    kinds += [op.accepts.type for op in every if op.accepts is not None and op.accepts.type is not None]
    kinds += [ProblemDetails, JobEvent]
    found, components = msgspec.json.schema_components(kinds, ref_template=REF)
    schemas = dict(zip(map(repr, kinds), found, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for op in every:
        paths.setdefault(op.path, {})[op.method.lower()] = _operation(op, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "turnout", "version": __version__, "description": ABOUT},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": {name: _described(schema) for name, schema in sorted(components.items())},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "turnout_..."}},
        },
    }


def _operation(op: Operation, schemas: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": operation_id(op),
        "summary": op.summary,
        "tags": [subject(op.path)],
        "responses": _responses(op, schemas),
    }
    if op.deprecated:
        made["deprecated"] = True
    if op.scope is None:
        made["security"] = []
    else:
        made["description"] = f"Scope: `{op.scope}`."
    if op.parameters:
        made["parameters"] = [
            {"name": p.name, "in": p.where, "description": p.about, "schema": dict(p.schema)}
            | ({"required": True} if p.where == "path" else {})
            for p in op.parameters
        ]
    if op.accepts is not None:
        schema = schemas[repr(op.accepts.type)] if op.accepts.type is not None else {}
        content = {op.accepts.media_type: {"schema": schema} if schema else {}}
        made["requestBody"] = {"description": op.accepts.about, "required": True, "content": content}
    return made


def _responses(op: Operation, schemas: Mapping[str, Any]) -> dict[str, Any]:
    made = {str(returned.status.value): _good(returned, schemas) for returned in (op.returns, *op.also)}
    problem = {"content": {PROBLEM_JSON: {"schema": schemas[repr(ProblemDetails)]}}}
    for status in sorted(op.problems | _usual(op)):
        made[str(status.value)] = {"description": status.phrase, **problem}
    return made


def _usual(op: Operation) -> frozenset[HTTPStatus]:
    """What any operation of its kind may answer."""
    usual = {HTTPStatus.FORBIDDEN}
    if op.scope is not None:
        usual |= {HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS}
    if op.parameters:
        usual.add(HTTPStatus.BAD_REQUEST)
    if "{" in op.path:
        usual.add(HTTPStatus.NOT_FOUND)
    if op.method == "POST":
        usual |= {HTTPStatus.BAD_REQUEST, HTTPStatus.UNSUPPORTED_MEDIA_TYPE}
    return frozenset(usual)


def _good(returned: Returned, schemas: Mapping[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": returned.about}
    if returned.type is not None:
        answer["content"] = {JSON: {"schema": schemas[repr(returned.type)]}}
    elif returned.status is not HTTPStatus.NO_CONTENT:
        answer["content"] = {media_type: {} for media_type in returned.media_types}
    return answer


def _described(schema: dict[str, Any]) -> dict[str, Any]:
    """A docstring without its indentation and its double backquotes."""
    if "description" in schema:
        text = re.sub(r"\n +", "\n", schema["description"]).replace("``", "`")
        return {**schema, "description": text}
    return schema


def operation_id(op: Operation) -> str:
    """A name for those who generate clients: get_jobs_job_id_model."""
    return re.sub(r"\W+", "_", f"{op.method.lower()}{op.path.removeprefix('/api')}").rstrip("_")


def subject(path: str) -> str:
    """What an operation is about: jobs, tokens, access by browsers, or the server."""
    first = path.removeprefix("/api/").partition("/")[0]
    return first if first in ("jobs", "tokens") else "access" if first in ("links", "session") else "server"
