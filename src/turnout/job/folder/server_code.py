"""What a job folder's ``server.py`` has, read without running it: it runs in processes of its own only."""

import ast
from collections.abc import Iterator
from pathlib import Path

from turnout.errors import JobFolderError

ANYTHING = "*"  #: Among the names: what ``from module import *`` brings, nobody can tell.


def names_in(file: Path) -> frozenset[str]:
    """The names that a Python file defines at its top level. Raises JobFolderError when it is no Python."""
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError as error:
        raise JobFolderError(f"{file.name}: not valid Python: {error.msg} (line {error.lineno})") from None
    except (ValueError, RecursionError) as error:
        raise JobFolderError(f"{file.name}: not valid Python: {error}") from None
    except OSError as error:
        raise JobFolderError(f"{file.name}: cannot be read: {error.strerror}") from None
    return frozenset(_names(tree))


def has(names: frozenset[str], hook: str) -> bool:
    """Whether a file of these names has, or may have, this function."""
    return hook in names or ANYTHING in names


def _names(tree: ast.AST) -> Iterator[str]:
    """What is bound below ``tree``, but within no function and no class: also in an ``if`` or a ``try``."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                yield from ((alias.asname or alias.name).partition(".")[0] for alias in aliases)
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.Lambda():
                pass
            case _:
                yield from _names(node)
