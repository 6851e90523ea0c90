"""Finds every reason for which something of a device is refused, by reading the source: none can be forgotten."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from turnout.gateway.calls import Kind
from turnout.gateway.http1.replies import STATUS

FOLDERS = ("gateway", "wire", "job", "aggregator")


@dataclass(frozen=True, slots=True, order=True)
class Refusal:
    """One reason. ``http`` is 0 for what a job refuses."""

    http: int
    reason: str
    says: str

    @property
    def by_gateway(self) -> bool:
        return self.http > 0


def refusals(source: Path) -> list[Refusal]:
    """All of them, each once, in order."""
    paths = [path for name in FOLDERS for path in (source / name).rglob("*.py")]
    trees = [ast.parse(path.read_text()) for path in sorted([*paths, source / "errors.py"])]
    found: dict[tuple[bool, str], Refusal] = {}
    for tree in trees:
        for each in _in(_Spelled(trees).visit(tree)):
            found.setdefault((each.by_gateway, each.reason), each)
    return sorted(found.values())


class _Spelled(ast.NodeTransformer):
    """Puts the text in the place of the name of a constant that is the first argument of a call."""

    def __init__(self, trees: list[ast.Module]) -> None:
        self._texts = {
            line.targets[0].id: line.value
            for tree in trees
            for line in tree.body
            if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name) and _is_text(line.value)
        }

    def visit_Call(self, node: ast.Call) -> ast.Call:
        match node.args:
            case [ast.Name(name) | ast.Attribute(attr=name), *rest] if name in self._texts:
                node.args = [self._texts[name], *rest]
        self.generic_visit(node)
        return node


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _in(tree: ast.AST) -> Iterator[Refusal]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name("misuse"), args=[ast.Constant(int(http)), ast.Constant(str(reason)), says, *_]):
                yield Refusal(http, reason, _text(says))
            case ast.Call(
                func=ast.Name("Refusal"), args=[ast.Attribute(attr=kind), ast.Constant(str(reason)), says, *_]
            ):
                yield Refusal(STATUS[Kind[kind]], reason, _text(says))
            case ast.Call(func=ast.Name("busy"), args=[ast.Constant(str(reason)), says, *_]):
                yield Refusal(STATUS[Kind.BUSY], reason, _text(says))
            case ast.Call(func=ast.Name("Refused" | "Refusal"), args=[ast.Constant(str(reason)), says, *_]):
                yield Refusal(0, reason, _text(says))
            case ast.ClassDef():
                yield from _kind_of_error(node)


def _kind_of_error(node: ast.ClassDef) -> Iterator[Refusal]:
    """A subclass of DeviceError: ``reason``, and what it says of itself."""
    assigned = {
        line.targets[0].id: line.value.value
        for line in node.body
        if isinstance(line, ast.Assign)
        and isinstance(line.targets[0], ast.Name)
        and isinstance(line.value, ast.Constant)
    }
    if isinstance(assigned.get("reason"), str):
        says = (ast.get_docstring(node) or "").partition("\n\n")[0]
        text = " ".join(says.split()).replace("``", "`")
        yield Refusal(STATUS[Kind.INVALID], assigned["reason"], text)


def _text(node: ast.expr) -> str:
    """A message, with … for what is put in."""
    match node:
        case ast.Constant(str(text)):
            return text
        case ast.JoinedStr():
            return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return "…"
