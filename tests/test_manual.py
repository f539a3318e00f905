"""The manual: pages of its menu exist, as do anchors of links; it builds, with every command in its reference."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

from borzoi_rt import demo
from borzoi_rt.cli import main
from borzoi_rt.cli._commands import COMMANDS
from borzoi_rt.demo.data import write_demo_data

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
GENERATED = {"commands.md", "changelog.md"}
CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))


def pages_of(menu: object) -> list[str]:
    if isinstance(menu, str):
        return [menu]
    items = menu.values() if isinstance(menu, dict) else menu
    return [page for item in items for page in pages_of(item)]  # type: ignore[attr-defined]


def test_pages_of_the_menu_exist_once() -> None:
    there = {path.relative_to(DOCS).as_posix() for path in DOCS.glob("*.md")}
    named = pages_of(CONFIG["nav"])
    assert len(named) == len(set(named))
    assert GENERATED < set(named) <= there | GENERATED


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as Python-Markdown names them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", text).strip().lower()) for text in headings}


def test_links_to_headings_lead_somewhere() -> None:
    found = 0
    for page in (ROOT / "README.md", *DOCS.glob("*.md")):
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text(encoding="utf-8")):
            assert anchor in anchors(page.parent / target if target else page), f"{page.name}: {target}#{anchor}"
            found += 1
    assert found > 12


def test_nothing_is_fetched_from_elsewhere() -> None:
    assert CONFIG["theme"]["font"] is False
    assert not {"extra_css", "extra_javascript"} & set(CONFIG)


@pytest.mark.skipif(find_spec("mkdocs") is None, reason="the extra `docs` is not installed")
def test_it_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    commands = (tmp_path / "commands.html").read_text(encoding="utf-8")
    assert set(re.findall(r'<h2 id="(\w+)"', commands)) == set(COMMANDS)
    assert "Usage: borzoi-rt bench latency [OPTIONS]" in commands
    reference = (tmp_path / "api.html").read_text(encoding="utf-8")
    assert "borzoi_rt.model.Model.score" in reference
    assert ":class:" not in reference
    assert ":mod:" not in reference
    assert all((tmp_path / f"{page.stem}.html").is_file() for page in DOCS.glob("*.md"))
    for notebook in (DOCS / "notebooks").glob("*.ipynb"):
        page_of = (tmp_path / "notebooks" / f"{notebook.stem}.html").read_text(encoding="utf-8")
        assert page_of.count("<table") >= notebook.read_text(encoding="utf-8").count('"text/html"')
        assert 'class="highlight"' in page_of
    for page in tmp_path.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r'<(?:script|link rel="stylesheet")[^>]*(?:src|href)="https?:', text), page.name


def test_the_quick_start_runs(tmp_path: Path) -> None:
    """Its commands on the demo's files, in order; those that need the network or somebody's own files are read only."""
    write_demo_data(demo_out := _made(tmp_path / "demo-out"))
    (tmp_path / "borzoi_rt").mkdir()
    (tmp_path / "borzoi_rt" / "demo").symlink_to(Path(demo.__file__).parent)
    blocks = re.findall(r"^```bash\n(.*?)^```", (DOCS / "quickstart.md").read_text(encoding="utf-8"), re.M | re.S)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if "demo-out/genome" in line]
    assert [line.split()[1] for line in lines] == ["score", "score", "plot", "explain", "score"]
    for line in lines:
        done = CliRunner().invoke(main, [str(word) for word in _within(tmp_path, line)])
        assert done.exit_code == 0, done.output
    assert demo_out.is_dir()
    assert sorted(path.name for path in tmp_path.glob("*.*")) == [
        *("all.html", "all.tsv", "all.tsv.meta.json", "alleles.pdf"),
        *("lost.tsv", "lost.tsv.meta.json", "lost.tsv.motifs.json", "lost.tsv.motifs.tsv"),
        *("one.tsv", "one.tsv.meta.json", "why.h5"),
    ]
    changes = (tmp_path / "lost.tsv.motifs.tsv").read_text(encoding="utf-8").splitlines()[1:]
    assert {("inr", "lost"), ("silencer", "gained")} == {
        tuple(line.split("\t")[i] for i in (13, 15)) for line in changes
    }


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _within(folder: Path, line: str) -> list[str]:
    """Return the words of a command with the paths that it names taken from a folder."""
    named = re.compile(r"demo-out/|borzoi_rt/demo/|\w+\.(tsv|h5|html|pdf)$")
    return [str(folder / word) if named.match(word) else word for word in shlex.split(line, comments=True)[1:]]
