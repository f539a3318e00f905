"""Outputs under attack, of every command: what is there is not lost, and it is said in one line.

The commands are those of the examples, which every command has, with one output after the other named so that it must
not be written. A new command is attacked without a further line here.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
import worlds

from borzoi_rt.cli import main
from borzoi_rt.cli._examples import EXAMPLES
from borzoi_rt.cli._outputs import OUTPUTS as WRITTEN
from borzoi_rt.cli._outputs import check_outputs
from borzoi_rt.demo.packaged import packaged_bundle
from borzoi_rt.errors import InputError

if TYPE_CHECKING:
    from conftest import Cli  # type: ignore[attr-defined]

TEXT = worlds.random_dna(30_000, seed=9)
# Words of the examples, and what stands for them here.
WORDS = {
    "GENOME.fa.gz": "toy.fa",
    "IN.vcf": "in.vcf",
    "common.vcf.gz": "in.vcf",
    "chr1:14677:G:A": f"chr1:14677:{TEXT[14676]}:{'C' if TEXT[14676] != 'C' else 'G'}",
    "ACTB": "G1",
    "liver": "RNA",
    "gtex": "RNA",
    "DEMO_BUNDLE": "BUNDLE",
    "demo-out/genome.fa": "toy.fa",
    "demo-out/motifs.meme": "motifs.meme",
    "demo-out/tss.bed": "REGIONS.bed",
    "synthA:22211:AAGAC:A": f"chr1:14677:{TEXT[14676]}:{'C' if TEXT[14676] != 'C' else 'G'}",
    "regions.bed": "REGIONS.bed",
    "tss.bed": "REGIONS.bed",
    "ctcf=ctcf.bed": "ctcf=REGIONS.bed",
}
TEXTS = {
    "REGIONS.bed": "chr1\t14000\t14040\tone\n",
    "genes.gtf": 'chr1\tx\texon\t14000\t14400\t.\t+\t.\tgene_id "G1";\n',
    "motifs.meme": "MEME version 4\n\nALPHABET= ACGT\n\nMOTIF m\nletter-probability matrix: alength= 4 w= 2\n"
    "0.1 0.7 0.1 0.1\n0.7 0.1 0.1 0.1\n",
    "tracks.txt": "no table\n",
    "targets.txt": "no table\n",
    "targets_human.txt": "no table\n",
    "params.json": "{}\n",
    "model0_best.h5": "no weights\n",
    "scores.tsv.shard-1-of-2": "no shard\n",
}
OUTPUTS = ("--out", "--plot", "--curves", "--profiles", "--report", "--motifs-out", "--seqlets", "--modisco", "--logo")
# Commands that look at what they read first; of these it is only asked that nothing is lost.
READ_FIRST = {"export activations", "export gradient", "train", "data make", "evaluate", "influence"}
FOLDERS = {
    *("predict", "calibrate", "explain compare", "explain evaluate", "design", "filters", "dissect", "surrogate"),
    *("triton repo", "demo", "dft demo", "export activations", "export gradient", "export randomise", "evaluate"),
    *("data make", "train", "get", "export calico", "export torch", "export checkpoint"),
}


def asked() -> Iterator[tuple[str, list[str], int]]:
    """Yield the commands of the examples: name, words, and which of these is an output."""
    for name, lines in EXAMPLES.items():
        for line in lines:
            words = [WORDS.get(word, word).replace("chr1:620,", "chr1:14,") for word in shlex.split(line)]
            for number, word in enumerate(words[:-1]):
                if word in OUTPUTS:
                    yield name, words, number + 1


ASKED = {f"{name} {words[at - 1]} {number}": (name, words, at) for number, (name, words, at) in enumerate(asked())}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the examples name; small bundles that come with the package."""
    worlds.write_fasta(tmp_path / "toy.fa", {"chr1": TEXT})
    worlds.write_vcf(tmp_path / "in.vcf", [f"chr1 14677 v {TEXT[14676]} {'C' if TEXT[14676] != 'C' else 'G'}"])
    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "BUNDLE").symlink_to(packaged_bundle("bundle").path)
    (tmp_path / "PROMOTER").symlink_to(packaged_bundle("promoter_bundle").path)
    (tmp_path / "RUN").mkdir()
    (tmp_path / "RUN" / "best.ckpt").write_text("no checkpoint")
    (tmp_path / "DATA").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that other commands read: two of attributions, a table of scores."""
    from borzoi_rt.cli import run

    made = tmp_path_factory.mktemp("explained")
    worlds.write_fasta(made / "toy.fa", {"chr1": TEXT})
    worlds.write_vcf(made / "in.vcf", [f"chr1 14677 v {TEXT[14676]} {'C' if TEXT[14676] != 'C' else 'G'}"])
    model = ["--bundle", str(packaged_bundle("bundle").path), "--fasta", str(made / "toy.fa")]
    region = ["--region", "chr1:14651-14660"]
    calls = [
        *(
            ["explain", "--method", method, *region, *model, "--out", str(made / f"{method}.h5")]
            for method in ("saliency", "ism")
        ),
        ["score", str(made / "in.vcf"), *model, "--stats", "SUM", "--out", str(made / "scores.tsv")],
        ["embed", *region, *model, "--out", str(made / "genes.h5")],
    ]
    with pytest.MonkeyPatch.context() as patch:
        for words in calls:
            patch.setattr("sys.argv", ["borzoi-rt", *words])
            run()
    shutil.copy(made / "saliency.h5", made / "attr.h5")
    return made


def state(folder: Path) -> dict[str, object]:
    """Return everything that lies below a folder."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = path.read_bytes()
        else:
            found[name] = path.stat().st_mode
    return found


def suffix_of(name: str) -> str:
    return name[name.index(".") :] if "." in name else ""


def attacked(cli: Cli, folder: Path, explained: Path, title: str, lay: Callable[[Path], object], word: str) -> None:
    name, words, at = ASKED[title]
    for path in explained.iterdir():
        if path.suffix in (".h5", ".tsv", ".json") and not (folder / path.name).exists():
            shutil.copy(path, folder / path.name)
    if name.startswith("dft"):
        words = [{"BUNDLE": "PROMOTER"}.get(item, item) for item in words]
    others = [number for number, item in enumerate(words[:-1]) if item in OUTPUTS and number + 1 != at]
    words = [f"other-{item}" if number - 1 in others else item for number, item in enumerate(words)]
    target = Path(word or f"new-{words[at]}")  # names of the examples are inputs of others
    lay(target)
    words[at] = str(target)
    before = state(folder)
    ended = cli(*words)
    after = state(folder)
    assert (ended.code in (1, 2), ended.err.count("\n")) == (True, 1), (words, ended)
    assert ended.err.startswith("error: ")
    assert "unexpected" not in ended.err, ended.err
    assert {key: after.get(key) for key in before} == before
    new = {key for key in after.keys() - before.keys() if not key.startswith("other-")}
    assert not {key for key in new if ".partial" not in key}, new
    if name not in READ_FIRST:
        parent = str(target.parent)
        assert target.name in ended.err or (parent != "." and parent in ended.err), (words, ended.err)


def of_files(titles: dict[str, tuple[str, list[str], int]]) -> list[str]:
    return [title for title, (name, words, at) in titles.items() if not is_folder(name, words, at)]


def is_folder(name: str, words: list[str], at: int) -> bool:
    return name in FOLDERS and words[at - 1] == "--out"


# A repository takes further models.
REPOSITORIES = [title for title, (name, _, _) in ASKED.items() if name == "triton repo"]


def test_every_command_that_writes_has_an_example() -> None:
    """Or else it is attacked by hand, somewhere else."""
    writing = set()

    def walk(command: click.Command, path: tuple[str, ...]) -> None:
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                assert below is not None
                walk(below, (*path, name))
        if any(set(item.opts) & set(OUTPUTS) for item in command.params):
            writing.add(" ".join(path))

    walk(main, ())
    missing = writing - {name for name, _, _ in ASKED.values()}
    # The first are groups of experiments and of promoter networks, which share their outputs with others.
    assert {name for name in missing if not name.startswith(("promoter ", "explain "))} <= {"bench latency", "merge"}


@pytest.mark.parametrize("title", of_files(ASKED))
def test_a_folder_of_the_name_of_a_file(cli: Cli, folder: Path, explained: Path, title: str) -> None:
    attacked(cli, folder, explained, title, lambda path: path.mkdir(), "")


@pytest.mark.parametrize("title", [title for title in ASKED if title not in of_files(ASKED)])
def test_a_file_of_the_name_of_a_folder(cli: Cli, folder: Path, explained: Path, title: str) -> None:
    attacked(cli, folder, explained, title, lambda path: path.write_text("precious"), "")


@pytest.mark.parametrize("title", [title for title in ASKED if title not in (*of_files(ASKED), *REPOSITORIES)])
def test_a_folder_that_is_not_empty(cli: Cli, folder: Path, explained: Path, title: str) -> None:
    def lay(path: Path) -> None:
        path.mkdir()
        (path / "precious").write_text("precious")

    attacked(cli, folder, explained, title, lay, "")


@pytest.mark.parametrize("title", of_files(ASKED))
def test_a_link_to_what_is_precious(cli: Cli, folder: Path, explained: Path, title: str) -> None:
    (folder / "precious").write_text("precious")
    attacked(cli, folder, explained, title, lambda path: path.symlink_to("precious"), "")


@pytest.mark.parametrize("title", of_files(ASKED))
def test_a_pipe(cli: Cli, folder: Path, explained: Path, title: str) -> None:
    attacked(cli, folder, explained, title, os.mkfifo, "")


@pytest.mark.parametrize("title", ASKED)
def test_links_in_a_circle(cli: Cli, folder: Path, explained: Path, title: str) -> None:
    attacked(cli, folder, explained, title, lambda path: path.symlink_to(path.name), "")


@pytest.mark.parametrize("title", of_files(ASKED))
def test_a_folder_that_is_not_there(cli: Cli, folder: Path, explained: Path, title: str) -> None:
    words, at = ASKED[title][1:]
    attacked(cli, folder, explained, title, lambda _: None, f"no/such/{words[at]}")


SOURCES = ("toy.fa", "in.vcf", "REGIONS.bed", "genes.gtf", "motifs.meme", "saliency.h5")
READ = [
    (title, source)
    for title in of_files(ASKED)
    for source in SOURCES
    if any(source in word for word in ASKED[title][1])
]


@pytest.mark.parametrize(("title", "source"), READ)
def test_an_input_by_another_name(cli: Cli, folder: Path, explained: Path, title: str, source: str) -> None:
    """A hard link of an input has the suffix of the output."""
    _, words, at = ASKED[title]

    def lay(path: Path) -> None:
        path.unlink(missing_ok=True)
        os.link(folder / source, path)

    attacked(cli, folder, explained, title, lay, f"again{suffix_of(words[at])}")


def test_a_repository_is_not_written_into_what_it_is_made_of(cli: Cli, folder: Path) -> None:
    """A bundle with a file more is no bundle."""
    (folder / "BUNDLE").unlink()
    shutil.copytree(packaged_bundle("bundle").path, folder / "BUNDLE")
    before = state(folder)
    for out in ("BUNDLE", "BUNDLE/models"):
        ended = cli("triton", "repo", "BUNDLE", "--out", out)
        assert (ended.code, ended.err.count("\n")) == (1, 1)
        assert "an input, which" in ended.err
    assert state(folder) == before


PARTIAL = {
    "report of scores": (["report", "scores.tsv"], "new.html"),
    "report of attributions": (["report", "saliency.h5"], "new.html"),
    "rating": (["explain", "rate", "saliency.h5", "ism.h5"], "new.html"),
    "figure": (["plot", "attr.h5"], "new.png"),
    "neighbours": (["neighbours", "genes.h5"], "new.tsv"),
}


@pytest.mark.parametrize("title", PARTIAL)
def test_links_under_the_names_of_drafts_are_not_followed(cli: Cli, folder: Path, explained: Path, title: str) -> None:
    """Somebody who may write beside the output lays a link that leads to a file of the caller."""
    words, out = PARTIAL[title]
    for path in explained.iterdir():
        if path.suffix in (".h5", ".tsv", ".json"):
            shutil.copy(path, folder / path.name)
    (folder / "precious").write_text("precious")
    for name in (f"{out}.partial", f".{out}.partial", f"{out}.new", f"{out}.tmp"):
        (folder / name).symlink_to("precious")
    assert cli(*words, "--out", out).code in (0, 1)
    assert (folder / "precious").read_text() == "precious"
    assert not (folder / out).is_symlink()


def paths_of(command: click.Command) -> dict[str, click.Parameter]:
    return {item.name or "": item for item in command.params if isinstance(item.type, click.Path)}


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, (*path, name))
    if command.callback is not None and paths_of(command):
        yield " ".join(path), command


EVERY = dict(commands(main))
INPUTS = {
    *("adopt", "against", "among", "annotation", "annotations", "bed", "blacklist", "bundle", "bundles", "calibration"),
    *("checkpoint", "checkpoints", "chrom_aliases", "config", "data", "embeddings", "fasta", "files", "folds", "genes"),
    *("init_params", "kernels", "key", "minus", "motifs", "origin", "other_kernels", "params", "pas", "path", "plus"),
    *("randomised", "regions", "repository", "run", "runs", "shards", "sites", "source", "table", "targets", "test"),
    *("truth", "tss", "unmappable", "valid", "variants", "vcf", "weights", "tile_cache", "environment"),
}


def test_every_path_is_known_as_read_or_written() -> None:
    """A new option that names a file is said to be one or the other, so that no input is written over."""
    assert {name for command in EVERY.values() for name in paths_of(command)} <= INPUTS | set(WRITTEN)


@pytest.mark.parametrize("title", EVERY)
def test_no_command_writes_over_what_it_reads(folder: Path, title: str) -> None:
    """Each path that is written is given the file of each that is read, and of the others that are written."""
    command = EVERY[title]
    known = paths_of(command)
    file = folder / "precious.tsv"
    file.write_text("precious")
    os.link(file, folder / "again.tsv")
    for target in known.keys() & set(WRITTEN):
        for other in known.keys() - {target, "tile_cache", "environment"}:
            several = known[other].multiple if isinstance(known[other], click.Option) else known[other].nargs != 1
            given: dict[str, object] = {
                target: file,
                other: (folder / "again.tsv",) if several else folder / "again.tsv",
            }
            with pytest.raises(InputError, match=r"is an input, which is never|is another output of the run too"):
                command.callback(**given)  # type: ignore[misc]
    assert file.read_text() == "precious"


@pytest.mark.parametrize(
    "given",
    [{"tracks": "@again.tsv"}, {"vcf": "again.tsv"}, {"concepts": ("one=again.tsv",)}, {"bed": Path("./again.tsv")}],
    ids=str,
)
def test_files_inside_texts_are_inputs_too(folder: Path, given: dict[str, object]) -> None:
    (folder / "precious.tsv").write_text("precious")
    os.link(folder / "precious.tsv", folder / "again.tsv")
    with pytest.raises(InputError, match=r"precious\.tsv: is an input, which is never written over"):
        check_outputs({"out": Path("precious.tsv"), **given})
    check_outputs({"out": Path("precious.tsv"), "method": "again.tsv", "tile_cache": Path("again.tsv"), "top": 5})


@pytest.mark.parametrize("name", ["shards", "bundle", "bundles", "source"])
def test_nothing_is_written_into_a_folder_that_must_stay_as_it_is(folder: Path, name: str) -> None:
    (folder / "closed").mkdir()
    given = (Path("closed"),) if name in ("shards", "bundles") else Path("closed")
    with pytest.raises(InputError, match="lies in closed, an input, which nothing is written into"):
        check_outputs({"out": Path("closed/out.tsv"), name: given})
