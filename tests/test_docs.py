"""What the pages say of the program exists: commands and their options, columns, statuses, regions, members, paths."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import borzoi_rt
from borzoi_rt.cli import main
from borzoi_rt.cli.scores import scores
from borzoi_rt.scoring.results import STATUSES
from borzoi_rt.tables import dft

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Options of other programs that pages name: published commands, torchrun, Triton, openssl and kubectl take one or two
# hyphens as they please, and are not checked.
FOREIGN = {
    "README.md": {"--indel_stitch"},
    "scoring.md": {"--indel_stitch"},
    "coming_from.md": {"--indel_stitch", "--no_untransform"},
    "runs.md": {"--array", "--cores", "--shards", "--snakefile"},  # of Slurm, Snakemake and the Nextflow workflow
    "serving.md": {"--allow-client-shm", "--from-file", "--from-literal"},
    "vcf.md": {"--cache", "--custom"},
    "training.md": {"--nproc-per-node", "--nnodes", "--node-rank", "--master-addr", "--master-port"},
}
# Programs of this repository beside `borzoi-rt`; what a line gives them is theirs.
SCRIPT = re.compile(r"python\s+(?:-m\s+(?:benchmarks|borzoi_export)\.|benchmarks/|deploy/)[^`]*")
OPTION = re.compile(r"(?<![\w-])--[a-zA-Z][\w-]*")


def commands(
    command: click.Command, path: tuple[str, ...], parent: click.Context | None
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path[-1] if path else None, parent=parent)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, (*path, name), context)


@pytest.fixture(scope="module")
def known() -> dict[tuple[str, ...], set[str]]:
    """The options of every command that are shown in its help, and --help."""
    return {
        path: {"--help", "--version"}
        | {
            text
            for parameter in command.params
            if isinstance(parameter, click.Option) and not parameter.hidden
            for text in (*parameter.opts, *parameter.secondary_opts)
        }
        for path, command in commands(main, (), None)
    }


def lines_of_code(page: Path) -> list[str]:
    """Lines of fenced blocks, those that end in a backslash joined, without comments; and what stands in backticks."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    spans = re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return [*(line.split(" #")[0] for line in lines), *spans]


def calls(page: Path, known: dict[tuple[str, ...], set[str]]) -> list[tuple[tuple[str, ...], set[str]]]:
    """Return the commands that a page calls in whole, with the options it gives them."""
    found = []
    for line in lines_of_code(page):
        called = re.search(r"(?:borzoi-rt|-m borzoi_rt) +(.*)", " ".join(line.split()))
        words = called[1].split() if called else []
        path = next((tuple(words[:n]) for n in (2, 1) if tuple(words[:n]) in known and len(words) >= n), None)
        if path is not None:
            found.append((path, set(OPTION.findall(called[1] if called else ""))))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_take_the_options_that_pages_give_them(page: Path, known: dict[tuple[str, ...], set[str]]) -> None:
    for path, options in calls(page, known):
        assert options <= known[path], f"{page.name}: `borzoi-rt {' '.join(path)}` has no {options - known[path]}"


def test_calls_are_found(known: dict[tuple[str, ...], set[str]]) -> None:
    assert sum(len(options) for page in PAGES for _, options in calls(page, known)) > 100


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_that_pages_name_exist(page: Path, known: dict[tuple[str, ...], set[str]]) -> None:
    text = SCRIPT.sub("", page.read_text(encoding="utf-8"))
    every = set.union(*known.values()) | FOREIGN.get(page.name, set())
    assert set(OPTION.findall(text)) - every == set()


def test_no_page_holds_a_mark_of_unfinished_work() -> None:
    for page in PAGES:
        assert not re.search(r"@@|TODO|FIXME|XXX|\?\?", page.read_text(encoding="utf-8")), page.name


def first_cells(page: str, heading: str) -> list[str]:
    """Return what stands in backticks in the first cells of the tables under a heading."""
    text = (ROOT / page).read_text(encoding="utf-8")
    part = re.split(r"^#+ ", text.split(f"{heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    cells = re.findall(r"^\| (`.*?) \|", part, flags=re.MULTILINE)
    return [name.strip() for cell in cells for text in re.findall(r"`([^`]+)`", cell) for name in text.split(",")]


def test_statuses_are_told() -> None:
    assert sorted(first_cells("docs/scoring.md", "## Status")) == sorted(STATUSES)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    row = re.search(r"^\| `status`, .*$", readme, flags=re.MULTILINE)
    assert row
    assert set(STATUSES) <= set(re.findall(r"`(\w+)`", row[0]))


def test_regions_are_those_that_scores_lists() -> None:
    out = CliRunner().invoke(scores, []).stdout.split("Regions")[1].split("Presets")[0]
    names = re.findall(r"^  (\S+) ", out, flags=re.MULTILINE)
    assert first_cells("docs/scoring.md", "## A score has a name") == names


def test_columns_of_dft_scores_are_told() -> None:
    assert sorted(first_cells("docs/promoter.md", "## The score")) == sorted(dft.COLUMNS)


def source(kind: type) -> str:
    return inspect.getsource(kind) if kind.__module__.startswith("borzoi_rt") else ""


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("Model", "A model"),
        ("ScoreResult", "`ScoreResult`"),
        ("VariantScores", "one allele of it"),
        ("TrackValues", "one score of it"),
        ("IsmResult", "`IsmResult`"),
        ("CoverageResult", "`CoverageResult`"),
    ],
)
def test_members_that_the_python_page_names_exist(name: str, row: str) -> None:
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    part = text.split("## A model")[1].split("## Results")[0] if name == "Model" else text.split("## Results")[1]
    lines = [line for line in part.splitlines() if line.startswith("| `." if name == "Model" else f"| {row} |")]
    members = {member for line in lines for member in re.findall(r"`\.(\w+)", line)}
    kind = getattr(borzoi_rt, name)
    fields = {key for base in kind.__mro__ for key in getattr(base, "__annotations__", {})}
    set_by_it = {name for base in kind.__mro__[:-1] for name in re.findall(r"self\.(\w+)\b.* =", source(base))}
    assert lines
    assert members <= set(dir(kind)) | fields | set_by_it


def paths_of(page: Path) -> Iterator[str]:
    """Return the paths that the page of the architecture names: those of its tree, and those with a folder in it."""
    text = page.read_text(encoding="utf-8")
    tree = re.search(r"^```\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert tree
    root = ""
    folder = ""
    for line in tree[1].splitlines():
        named = re.match(r"^( {0,2})([\w.]+/|[\w.]+\.py)((?:, [\w.]+\.\w+|, [\w.]+/)*)(?= )", line)
        if named:
            if not named[1]:
                root = named[2] if named[2].endswith("/") else ""
            heads = [named[2], *filter(None, named[3].split(", "))]
            folder = (root if named[1] else "") + (named[2] if named[1] and named[2].endswith("/") else "")
            yield from ((root if named[1] else "") + head for head in heads)
            line = line[named.end() :]
        yield from (f"{folder}{name}" for name in re.findall(r"(?<![\w/.*])([a-z]\w*\.pyx?)\b", line))
    yield from re.findall(r"`((?:[\w.]+/)+[\w.]*)`", text)


@pytest.mark.parametrize("path", sorted(set(paths_of(ROOT / "docs" / "architecture.md"))))
def test_paths_of_the_architecture_exist(path: str) -> None:
    rooms = (ROOT, ROOT / "borzoi_rt", ROOT / "export", ROOT / "csrc")
    assert any((room / path).exists() for room in rooms), path


def test_paths_are_found() -> None:
    assert len(set(paths_of(ROOT / "docs" / "architecture.md"))) > 70


def test_terms_stand_in_their_order() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    terms = [term.lower() for term in re.findall(r"^\| (\S.*?) \|", text, flags=re.MULTILINE) if term != "term"]
    assert terms == sorted(terms)
