"""Errors of the library name parameters, which Python and the command line share, and no option of the command line."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OPTION = re.compile(r"(?<![\w-])--[a-z]")
# Their text is for a terminal: the commands, the files of options, and two programs of their own.
TERMINAL = re.compile(r"borzoi_rt/cli/|export/(promoter/)?(cli(_\w+)?|demo_model)\.py")
LIBRARY = [
    path
    for room in ("borzoi_rt", "export")
    for path in sorted((ROOT / room).rglob("*.py"))
    if not TERMINAL.match(path.relative_to(ROOT).as_posix())
]


def raised(path: Path) -> list[str]:
    """Return the texts of what a module raises, calls for an exception included."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = []
    for node in ast.walk(tree):
        named = isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith(("Error", "Interrupted"))
        if named or isinstance(node, ast.Raise):
            found += [
                item.value for item in ast.walk(node) if isinstance(item, ast.Constant) and isinstance(item.value, str)
            ]
    return found


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_error_of_the_library_names_an_option(path: Path) -> None:
    assert [text for text in raised(path) if OPTION.search(text)] == []


def test_errors_are_found() -> None:
    assert sum(len(raised(path)) for path in LIBRARY) > 500
