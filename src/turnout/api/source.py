"""The source of a function or class, wherever it was written: in a module, a script or a cell of a notebook.

``inspect.getsource`` cannot be used as it is: it does not find classes of a notebook before Python 3.13.
"""

import ast
import inspect
import linecache
import symtable
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from turnout.errors import JobFolderError

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True)
class Definition:
    """A function or class as text that can stand in another module, at its left margin."""

    name: str
    text: str  #: With its decorators.
    uses: tuple[str, ...]  #: The names it takes from around it, builtins among them, in order.
    dotted: tuple[str, ...]  #: Such as "xml.etree" where it says ``xml.etree.ElementTree``, in order.
    scope: Mapping[str, Any]  #: What names around it stand for: those of its module and of its closure.


def definition_of(thing: Any, who: str) -> Definition:
    """The definition of a function or class. Raises JobFolderError, which calls it ``who``, when it has no source."""
    thing = inspect.unwrap(thing)
    if isinstance(thing, FunctionType) and thing.__name__ == "<lambda>":
        raise JobFolderError(f"{who} is a lambda, whose source cannot be read; write it with def")
    functions = [thing] if isinstance(thing, FunctionType) else _methods(thing)
    if not functions:
        raise JobFolderError(f"{who} is a class without methods, whose source cannot be found; put it into a module")
    text = _text(thing.__name__, functions[0], isinstance(thing, type), who)
    scope = dict(functions[0].__globals__)
    for function in functions:
        scope |= _closure(function)
    return Definition(thing.__name__, text, _names_used(text, thing.__name__), _dotted(text), scope)


def _methods(kind: type) -> list[FunctionType]:
    """The functions written in a class's body, as opposed to those that a decorator has made."""
    found = []
    for value in vars(kind).values():
        value = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
        value = inspect.unwrap(value) if callable(value) else value
        written = isinstance(value, FunctionType) and value.__module__ == kind.__module__
        if written and not value.__code__.co_filename.startswith("<string"):
            found.append(value)
    return found


def _closure(function: FunctionType) -> dict[str, Any]:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    found = {}
    for name, cell in cells:
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return found


def _text(name: str, function: FunctionType, is_class: bool, who: str) -> str:
    """The lines of ``function``, or of the class that it is a method of."""
    code = function.__code__
    lines = linecache.getlines(code.co_filename, function.__globals__)
    if not lines:
        raise JobFolderError(
            f"{who} has no source that can be read ({code.co_filename}): write it in a file or in a notebook's cell"
        )
    try:
        tree = ast.parse("".join(lines))
    except SyntaxError as error:
        raise JobFolderError(f"{who}: {code.co_filename} cannot be read as Python: {error}") from None
    for node in ast.walk(tree):
        if isinstance(node, _Definition) and node.name == name and isinstance(node, ast.ClassDef) == is_class:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            last = node.end_lineno or node.lineno
            if first == code.co_firstlineno or (is_class and first < code.co_firstlineno <= last):
                return textwrap.dedent("".join(lines[first - 1 : last])).rstrip() + "\n"
    raise JobFolderError(f"{who}: {code.co_filename} has changed since it was run; run it again")


# --- the names that a definition uses -----------------------------------------------------------------------------


def _names_used(text: str, own_name: str) -> tuple[str, ...]:
    """Names that a definition at a module's top takes from the module."""
    bare = ast.unparse(_WithoutAnnotations().visit(ast.parse(text)))
    module = symtable.symtable(bare, own_name, "exec")
    used = {
        symbol.get_name()
        for table in _tables(module)
        for symbol in table.get_symbols()
        if symbol.is_referenced() and (table is module or symbol.is_global())
    }
    return tuple(sorted(used - {own_name, "__class__"}))


def _dotted(text: str) -> tuple[str, ...]:
    """Every chain of two or more names with dots between them, and all beginnings of it."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute):
            words = ast.unparse(node)
            if all(part.isidentifier() for part in words.split(".")):
                found.add(words)
    return tuple(sorted(found))


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _tables(child)


class _WithoutAnnotations(ast.NodeTransformer):
    """Leaves out what is never evaluated under ``from __future__ import annotations``, but for fields of classes."""

    def __init__(self) -> None:
        self._in_class = False

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._inside(node, in_class=True)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self._inside(node, in_class=False)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self._inside(node, in_class=False)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        if not self._in_class:
            node.annotation = ast.Constant(None)
        return node

    def _inside(self, node: ast.AST, in_class: bool) -> ast.AST:
        before, self._in_class = self._in_class, in_class
        self.generic_visit(node)
        self._in_class = before
        return node
