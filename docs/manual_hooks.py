"""Pages of the manual that are made when it is built: the command reference, the changelog, and the notebooks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import click
from mkdocs.structure.files import File, Files

from borzoi_rt.cli import main
from borzoi_rt.cli._commands import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def on_config(config: Any) -> Any:
    """Let the menu hold every page: one that it does not name stands at the end of the guides."""
    menu = str(config.nav)
    guides = next(item["Guides"] for item in config.nav if "Guides" in item)
    guides += [path.name for path in sorted((ROOT / "docs").glob("*.md")) if f"'{path.name}'" not in menu]
    guides += [f"notebooks/{path.stem}.md" for path in NOTEBOOKS]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that no file holds."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for name, text in (("commands.md", command_reference()), ("changelog.md", changelog)):
        files.append(File.generated(config, name, content=text))
    for path in NOTEBOOKS:
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=notebook_page(path)))
    return files


def notebook_page(path: Path) -> str:
    """Return a notebook as a page: its texts, its code, and below each piece of code what it printed and showed."""
    lines: list[str] = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        lines += [source, ""] if cell["cell_type"] == "markdown" else ["```python", source, "```", ""]
        for output in cell.get("outputs", ()):
            shown = "".join(output.get("data", {}).get("text/html", ()))
            text = "".join(output.get("text", ())) or "".join(output.get("data", {}).get("text/plain", ()))
            lines += [shown, ""] if shown else [f"<pre>{escape(text)}</pre>", ""]
    return "\n".join([*lines, f"[The notebook itself]({path.name})", ""])


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Drop the roles of docstrings, which Markdown does not know: what they mark stays code."""
    return re.sub(r":(?:mod|class|func|meth|data|attr|exc):(?=<code>)", "", html)


def command_reference() -> str:
    """Return the help of every command as a page, in the order of their use."""
    context = click.Context(main, info_name="borzoi-rt")
    lines = ["# Command reference", "", "What `--help` says.", ""]
    for name, (_, summary) in COMMANDS.items():
        lines += [f"## {name}", "", summary, ""]
        command = main.get_command(context, name)
        assert command is not None
        for level, (path, leaf) in enumerate(_leaves(command, (name,))):
            if level or len(path) > 1:
                lines += [f"### {' '.join(path)}", ""]
            lines += ["```text", _help(leaf, path), "```", ""]
    return "\n".join(lines)


def _leaves(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, below in command.commands.items():
        yield from _leaves(below, (*path, name))


def _help(command: click.Command, path: tuple[str, ...]) -> str:
    parent = None
    for word in ("borzoi-rt", *path[:-1]):
        parent = click.Context(main, info_name=word, parent=parent)
    return command.get_help(click.Context(command, info_name=path[-1], parent=parent, max_content_width=100))
