"""What a model says of its inside from Python: the tables that the commands write, and the same refusals."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas
import pytest
import worlds
from command_line import Cli, caller, check_error

from borzoi_rt import Interval, Model, open_model
from borzoi_rt.concepts.tcav_run import TcavOptions
from borzoi_rt.demo import grammar
from borzoi_rt.demo.packaged import packaged_bundle
from borzoi_rt.errors import InputError
from borzoi_rt.examples.neighbours import NeighbourOptions
from borzoi_rt.explain.evaluate.faithful import EvaluateOptions
from borzoi_rt.genome.intervals import read_bed
from borzoi_rt.inside.design import DesignOptions
from borzoi_rt.inside.dissect import DissectOptions
from borzoi_rt.inside.filters import FilterOptions
from borzoi_rt.inside.tables import read_table
from borzoi_rt.motifs.files import read_motifs, write_meme
from borzoi_rt.motifs.matrices import Motif

REGION, TARGET = "chr1:6,001-6,060", "log SUM@center:512"
FEATURE = "chr1:6,011-6,020"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("face")
    text = grammar.plant(np.random.default_rng(3), 20000)
    gtf, bed = folder / "g.gtf", folder / "tss.bed"
    gtf.write_text('chr1\ttoy\texon\t6001\t6300\t.\t+\t.\tgene_id "G1"; transcript_id "T1"; gene_name "ACTB";\n')
    bed.write_text("".join(f"chr1\t{one.tss - 60}\t{one.tss + 1}\ttss\n" for one in grammar.promoters(text)))
    return SimpleNamespace(fasta=worlds.write_fasta(folder / "g.fa", {"chr1": text}), gtf=gtf, bed=bed, text=text)


@pytest.fixture(scope="module")
def model(desk: SimpleNamespace) -> Iterator[Model]:
    with open_model(packaged_bundle("bundle"), fasta=desk.fasta) as found:
        yield found


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    return caller(monkeypatch, capsys)


def same(one: Any, other: Any) -> None:
    pandas.testing.assert_frame_equal(one.to_pandas(), other.to_pandas(), check_dtype=False, rtol=1e-5, atol=1e-7)
    assert {**one.about} == json.loads(json.dumps(dict(other.about)))


def test_tables_are_those_of_the_commands(cli: Cli, model: Model, desk: SimpleNamespace, tmp_path: Path) -> None:
    ref = desk.text[6029]
    variant = f"chr1:6030:{ref}:{'A' if ref != 'A' else 'C'}"
    spoken = ["--target", TARGET, "--tracks", "CAGE+"]
    where, gene = ["--region", REGION], ["--gene", "ACTB", "--genes", desk.gtf]
    of_target = {"tracks": "CAGE+"}
    calls: list[tuple[str, list[Any], Callable[[], Any]]] = [
        ("cam", [*where, *spoken], lambda: model.cam(TARGET, REGION, **of_target)),
        (
            "cam",
            [*where, *spoken, "--method", "cam", "--truth", desk.bed, "--seed", 2],
            lambda: model.cam(TARGET, REGION, method="cam", truth=desk.bed, seed=2, **of_target),
        ),
        ("attention", where, lambda: model.attention(REGION)),
        (
            "attention",
            [*where, *spoken, "--how", "relevance"],
            lambda: model.attention(REGION, how="relevance", target=TARGET, **of_target),
        ),
        (
            "activations",
            [*where, "--layer", "tower_1", "--units", "3,5"],
            lambda: model.activations(REGION, layer="tower_1", units=[3, 5]),
        ),
        ("activations", ["--variant", variant], lambda: model.activations(variant=variant)),
        ("embed", where, lambda: model.embed(Interval.parse(REGION))),
        ("embed", gene, lambda: model.embed(gene="ACTB", genes=desk.gtf)),
        ("embed", ["--variant", variant], lambda: model.embed(variants=variant)),
    ]
    kinds = {"cam": "maps", "embed": "embeddings"}
    for number, (name, words, ask) in enumerate(calls):
        out = tmp_path / f"{number}.h5"
        code, _, err = cli(name, *words, "--bundle", model.bundle.path, "--fasta", desk.fasta, "--out", out)
        assert code == 0, err
        same(read_table(out, kinds.get(name, name)), ask())


def test_either_haplotype_of_a_variant(cli: Cli, model: Model, desk: SimpleNamespace, tmp_path: Path) -> None:
    """The commands write both, a call gives the one that is named."""
    ref = desk.text[6029]
    variant = f"chr1:6030:{ref}:{'A' if ref != 'A' else 'C'}"
    files = ["--variant", variant, "--bundle", model.bundle.path, "--fasta", desk.fasta]
    asks: dict[str, tuple[list[Any], Callable[[str | None], Any]]] = {
        "cam": (
            ["--target", TARGET, "--tracks", "CAGE+"],
            lambda one: model.cam(TARGET, variant=variant, tracks="CAGE+", allele=one),
        ),
        "attention": ([], lambda one: model.attention(variant=variant, allele=one)),
    }
    for name, (words, ask) in asks.items():
        assert cli(name, *words, *files, "--out", tmp_path / f"{name}.tsv")[0] == 0
        both = pandas.read_csv(tmp_path / f"{name}.tsv", sep="\t")
        for allele, given in (("ref", "ref"), ("alt", "alt"), ("alt", None)):
            want, got = both[both.allele == allele].reset_index(drop=True), ask(given).to_pandas()
            pandas.testing.assert_frame_equal(got, want, check_dtype=False, rtol=1e-4, atol=1e-6)
        numbers = both.select_dtypes("number").drop(columns=["start", "end"])
        middle = len(both) // 2
        assert not np.allclose(numbers[:middle], numbers[middle:], rtol=1e-4, atol=1e-9)


def test_dissection_and_design_are_those_of_the_commands(
    cli: Cli, model: Model, desk: SimpleNamespace, tmp_path: Path
) -> None:
    files = ["--bundle", model.bundle.path, "--fasta", desk.fasta]
    words = ["--layer", "tower_2", "--units", "0-7", "--windows", "2", "--annotations", desk.bed, "--draws", "19"]
    assert cli("dissect", *words, *files, "--out", tmp_path / "d")[0] == 0
    options = DissectOptions(draws=19)
    found = model.dissect(desk.bed, layer="tower_2", units=range(8), windows=2, options=options)
    want = pandas.read_csv(tmp_path / "d" / "dissect.tsv", sep="\t")
    pandas.testing.assert_frame_equal(found.to_pandas(), want, rtol=1e-5)
    assert found.arrays["iou"].shape == (8, 1)

    asked = {"edits": 2, "candidates": 5, "seed": 1}
    more = [part for name, value in asked.items() for part in (f"--{name}", value)]
    calls: list[tuple[list[Any], Any]] = [
        (["--target", TARGET, "--tracks", "CAGE+"], model.design(REGION, TARGET, tracks="CAGE+", options=asked)),
        (["--unit", 4, "--layer", "stem"], model.design(REGION, unit=4, layer="stem", options=DesignOptions(**asked))),
    ]
    for number, (spoken, made) in enumerate(calls):
        out = tmp_path / f"o{number}"
        code, _, err = cli("design", "--region", REGION, *spoken, *more, *files, "--out", out)
        assert code == 0, err
        assert made.sequence == (out / "designed.fa").read_text().split("\n")[3]
        assert made.value == pytest.approx(json.loads((out / "design.json").read_text())["value"], rel=1e-6)


def test_filters_are_those_of_the_command(cli: Cli, model: Model, desk: SimpleNamespace, tmp_path: Path) -> None:
    files = ["--bundle", model.bundle.path, "--fasta", desk.fasta]
    motifs = tmp_path / "m.meme"
    write_meme(motifs, [Motif("TATA", np.eye(4)[:, [3, 0, 3, 0, 0]] * 0.96 + 0.01)])
    for words, how in (
        (["--windows", 2, "--motifs", motifs], {"windows": 2, "motifs": motifs}),
        (["--bed", desk.bed, "--layer", "tower_1"], {"regions": desk.bed, "layer": "tower_1"}),
    ):
        out = tmp_path / str(len(how["layer"]) if "layer" in how else 0)
        code, _, err = cli("filters", *words, "--units", "3,1", "--sites", 20, *files, "--out", out)
        assert code == 0, err
        found = model.filters(**how, units=[3, 1], options=FilterOptions(sites=20))
        want = pandas.read_csv(out / "filters.tsv", sep="\t", na_values=".")
        table = found.to_pandas().astype(object)
        table = table.where(table.notna(), np.nan)  # what no motif says is a dot in the file
        pandas.testing.assert_frame_equal(table, want, rtol=1e-5, check_dtype=False)
        written = [motif.matrix for motif in read_motifs(out / "filters.meme")]
        np.testing.assert_allclose(found.arrays["matrices"], written, atol=1e-5)
        told = json.loads((out / "filters.json").read_text())
        assert {name: told[name] for name in found.about} == json.loads(json.dumps(dict(found.about)))


def test_concepts_are_those_of_the_commands(cli: Cli, model: Model, desk: SimpleNamespace, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    files = ["--bundle", model.bundle.path, "--fasta", desk.fasta]
    spoken, of_target = ["--target", TARGET, "--tracks", "CAGE+"], {"tracks": "CAGE+"}
    bed = tmp_path / "many.bed"
    bed.write_text("".join(f"chr1\t{at}\t{at + 128}\n" for at in range(4000, 14000, 500)))
    spots = tmp_path / "spots.bed"
    spots.write_text("".join(f"chr1\t{at}\t{at + 700}\n" for at in range(4000, 14000, 1300)))
    words = ["--motif", "g=GC", "--concept", f"s={spots}"]
    concepts = {"motifs": "g=GC", "concepts": f"s={spots}"}

    held = ["--repeats", 5, "--examples", 2, "--seed", 1, "--layer", "embedding"]
    where = ["--region", REGION, "--width", 128]
    code, _, err = cli("tcav", "--motif", "GATA", *where, *held, *spoken, *files, "--out", tmp_path / "t.h5")
    assert code == 0, err
    options = TcavOptions(repeats=5, examples=2, seed=1, layer="embedding")
    found = model.tcav(TARGET, REGION, motifs=["GATA"], width_bp=128, options=options, **of_target)
    want = read_table(tmp_path / "t.h5", "tcav")
    same(want, found)
    np.testing.assert_allclose(found.arrays["vectors"], want.arrays["vectors"], rtol=1e-5)

    code, _, err = cli("bottleneck", "--bed", bed, *words, *spoken, *files, "--out", tmp_path / "b.h5")
    assert code == 0, err
    found = model.bottleneck(TARGET, bed, **concepts, **of_target)
    want = read_table(tmp_path / "b.h5", "bottleneck")
    same(want, found)
    np.testing.assert_allclose(found.arrays["counts"], want.arrays["counts"])
    listed = model.bottleneck(TARGET, list(read_bed(bed)), **concepts, **of_target)
    same(want, listed)


def test_neighbours_are_those_of_the_command(cli: Cli, model: Model, desk: SimpleNamespace, tmp_path: Path) -> None:
    files, out = ["--bundle", model.bundle.path, "--fasta", desk.fasta], tmp_path / "e.h5"
    assert cli("embed", "--bed", desk.bed, *files, "--out", out)[0] == 0
    held = model.embed(read_bed(desk.bed))
    one = model.embed([REGION, "chr9:1-9"])
    assert cli("embed", "--region", REGION, *files, "--out", tmp_path / "one.h5")[0] == 0
    for words, found in (
        ([out], model.neighbours(held, options=NeighbourOptions(count=2))),
        ([tmp_path / "one.h5", "--among", out], model.neighbours(one, out, options=NeighbourOptions(count=2))),
    ):
        code, _, err = cli("neighbours", *words, "--count", 2, "--out", tmp_path / "n.tsv")
        assert code == 0, err
        want = pandas.read_csv(tmp_path / "n.tsv", sep="\t")
        pandas.testing.assert_frame_equal(found.to_pandas(), want, rtol=1e-4, atol=1e-7)
        assert json.loads((tmp_path / "n.tsv.meta.json").read_text())["recall"] == found.about["recall"] == 1.0
    with pytest.raises(InputError, match="a table of activations holds no embeddings"):
        model.neighbours(model.activations(REGION, layer="stem", units=[0]))
    held.about["model"]["sha256"] = "0"
    with pytest.raises(InputError, match="which is not this one; embed them anew"):
        model.neighbours(one, held)


def test_explanations_are_judged_as_their_files_are(
    cli: Cli, model: Model, desk: SimpleNamespace, tmp_path: Path
) -> None:
    files = ["--bundle", model.bundle.path, "--fasta", desk.fasta]
    what = ["--region", REGION, "--target", TARGET, "--tracks", "CAGE+", "--method", "ixg"]
    assert cli("explain", *what, *files, "--out", tmp_path / "ixg.h5")[0] == 0
    known = tmp_path / "known.bed"
    known.write_text("chr1\t6010\t6020\n")
    words = ["--metrics", "ism,truth,max-sensitivity", "--truth", known, "--out", tmp_path / "judged"]
    code, stdout, err = cli("explain", "evaluate", tmp_path / "ixg.h5", *words, *files)
    assert code == 0, err
    want = list(csv.DictReader(stdout.splitlines(), delimiter="\t"))
    held = model.explain(TARGET, REGION, method="ixg", tracks="CAGE+")
    found = model.explain_evaluate({"ixg.h5": held}, metrics=["ism", "truth", "max-sensitivity"], truth=known)
    lines = found.to_pandas()
    assert lines.quantity.tolist() == [line["quantity"] for line in want]
    for name in ("value", "random", "random_high"):
        values = [float(line[name]) if line[name] else np.nan for line in want]
        np.testing.assert_allclose(lines[name].astype(float), values, rtol=1e-3, atol=1e-4)
    (verdict,) = found.about["verdicts"]
    assert verdict.startswith("ixg.h5 (ixg): ")
    assert verdict in err


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda model: model.cam("log SUM", REGION, method="cam", layer="tokens"), "cam is of embedding"),
        (lambda model: model.cam("log SUM"), "nothing says which bases"),
        (lambda model: model.cam("log SUM", REGION, seed=7), "seed 7 is of check and truth: give one of these"),
        (lambda model: model.attention(REGION, seed=7), "seed 7 is of check and truth: give one of these"),
        (
            lambda model: model.explain_evaluate({}, metrics=["ism"], options=EvaluateOptions(repeats=3)),
            "repeats is of seeds, max-sensitivity, and the metrics are ism; leave it out",
        ),
        (lambda model: model.cam("log SUM", REGION, allele="ref"), "allele is of a variant; give variant"),
        (lambda model: model.attention(variant="chr1:6030:A:C", allele="both"), "allele 'both' is unknown"),
        (lambda model: model.attention(REGION, tracks="CAGE+"), "target and tracks are of relevance"),
        (lambda model: model.attention(REGION, how="relevance"), "need a target"),
        (lambda model: model.activations(), "give one of region and variant"),
        (lambda model: model.activations(REGION, layer="tower_9"), "layer 'tower_9' is unknown"),
        (lambda model: model.embed(), "give one of regions, variants and gene"),
        (lambda model: model.embed(REGION, over="exons"), "over 'exons' is of a gene"),
        (lambda model: model.embed(gene="ACTB"), "gene and genes, its annotation, belong together"),
        (lambda model: model.dissect(), "give annotations, motifs or both"),
        (lambda model: model.dissect([Interval("chr1", 1, 9)], regions=[], windows=1), "one of regions and windows"),
        (lambda model: model.filters("layer_1"), "layer 'layer_1' sees more than the bases around"),
        (lambda model: model.filters(regions=[], windows=1), "one of regions and windows"),
        (lambda model: model.tcav(TARGET, REGION), "there is no concept"),
        (lambda model: model.tcav(TARGET, motifs="GATA"), "nothing says which bases"),
        (lambda model: model.tcav(TARGET, REGION, motifs="GA", variant="chr1:9:A:C"), "leave one of the two out"),
        (lambda model: model.tcav("log SUM@exons", REGION, motifs="GA"), "is of a gene: give gene and genes"),
        (lambda model: model.tcav(TARGET, "chr9:1-9", motifs="GA"), "has no such contig"),
        (lambda model: model.bottleneck(TARGET, REGION, motifs=["a=GA", "a=GT"]), "two concepts are called 'a'"),
        (lambda model: model.bottleneck(TARGET, REGION, motifs="GA", gene="ACTB"), "belong together"),
        (lambda model: model.design(REGION), "give one of target and unit"),
        (lambda model: model.design(REGION, unit=1), "unit is a channel of a layer"),
        (lambda model: model.design(REGION, "log SUM", layer="stem"), "layer is of the unit"),
        (lambda model: model.design(REGION, unit=1, layer="stem", rc=True), "are of a target, and a unit"),
        (lambda model: model.explain_evaluate({}, metrics=["truth"]), "needs known features; give truth"),
        (lambda model: model.explain_evaluate({}), "explanations are {}; an Explanation or a mapping"),
        (lambda model: model.explain_evaluate([1, 2]), r"explanations are \[1, 2\]; an Explanation or a mapping"),
        (lambda model: model.explain_evaluate({"b": "x"}), "explanation 'b' is 'x'; what explain gives"),
        (lambda model: model.explain_evaluate({}, metrics="nosuch"), "metric 'nosuch' is unknown"),
        (lambda model: model.design(REGION, "SUM", options={"nosuch": 3}), "option 'nosuch' is unknown; allowed: sea"),
        (lambda model: model.design(REGION, "SUM", options=3), "options are 3; DesignOptions or a mapping"),
        (lambda model: model.dissect([FEATURE], options={"drawn": 3}), "option 'drawn' is unknown; allowed: quantile"),
        (lambda model: model.attention(REGION, layers=1), "layers are 1; a sequence of whole numbers"),
        (lambda model: model.activations(REGION, units=1), "units are 1; whole numbers from 0"),
        (lambda model: model.dissect([FEATURE], units=1), "units are 1; whole numbers from 0"),
        (lambda model: model.activations(variant=("chr1", 5)), "is no variant"),
        (lambda model: model.embed(5), "region is 5; an Interval or text"),
        (lambda model: model.embed(variants=5), "5 is no variant"),
        (lambda model: model.design(REGION, "SUM", fixed="chr2:1-2"), "fixed bases are on contig chr2, which g.fa lac"),
        (lambda model: model.embed(REGION, width_bp=0), "width_bp is 0; 1 or more"),
        (lambda model: model.embed(variants="chr1:6030:A:C", width_bp=0), "width_bp is 0; 1 or more"),
        (lambda model: model.cam("log SUM", REGION, truth=[5]), "region is 5; an Interval or text"),
    ],
)
def test_what_does_not_go_together(model: Model, ask: Callable[[Model], Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        ask(model)


def test_a_closed_model_and_several_are_told(desk: SimpleNamespace) -> None:
    with open_model(packaged_bundle("bundle"), fasta=desk.fasta) as model:
        model.activations(REGION, layer="stem", units=[0])
    with pytest.raises(InputError, match="this model is closed"):
        model.activations(REGION)
    with open_model(packaged_bundle("bundle")) as model, pytest.raises(InputError, match="this needs a genome"):
        model.cam("log SUM", REGION)


def test_a_variant_is_a_tuple_too(model: Model, desk: SimpleNamespace) -> None:
    ref = desk.text[6029]
    parts = ("chr1", 6030, ref, "A" if ref != "A" else "C")
    text = ":".join(map(str, parts))
    asks: list[Callable[[Any], Any]] = [
        lambda one: model.cam(TARGET, variant=one, tracks="CAGE+").to_pandas(),
        lambda one: model.activations(variant=one, layer="tower_1", units=[3]).to_pandas(),
        lambda one: model.embed(variants=[one]).to_pandas(),
        lambda one: model.explain(TARGET, variant=one, tracks="CAGE+").to_pandas(),
    ]
    for ask in asks:
        pandas.testing.assert_frame_equal(ask(parts), ask(text), rtol=1e-4, atol=1e-6)


def test_features_in_any_form(model: Model) -> None:
    known = Interval.parse("chr1:4,001-7,000")
    found = [
        model.cam(TARGET, REGION, tracks="CAGE+", truth=truth).about["rows"][0]["truth"]
        for truth in (known, [known], ["chr1:4,001-7,000"], [Interval("1", 4000, 7000)])
    ]
    assert found[0]["known"] > 20
    assert {one["known"] for one in found} == {found[0]["known"]}
    held = model.explain(TARGET, REGION, method="ixg", tracks="CAGE+")
    judged = model.explain_evaluate(held, truth=[FEATURE], metrics="truth", options={"draws": 10})
    assert judged.to_pandas().quantity.tolist() == ["auroc", "auprc"]
    units: dict[str, Any] = {"layer": "tower_2", "units": [1], "options": {"draws": 19}}
    assert len(model.dissect([FEATURE], regions=["chr1:2,001-8,000"], **units)) == 1


def test_contigs_of_features_are_looked_up_in_the_genome(
    cli: Cli, model: Model, desk: SimpleNamespace, tmp_path: Path
) -> None:
    """The genome has chr1; what says 1 means it, and what says another contig is told so."""
    files = ["--bundle", model.bundle.path, "--fasta", desk.fasta]
    spoken, where = ["--target", TARGET, "--tracks", "CAGE+"], ["--region", "1:6001-6060"]
    beds = {name: tmp_path / f"{name}.bed" for name in ("bare", "lost", "far", "rows")}
    for name, line in (("bare", "1\t6010\t6020"), ("lost", "chr7\t6010\t6020"), ("far", "1\t10\t20")):
        beds[name].write_text(f"{line}\tf\n")
    beds["rows"].write_text("1\t4000\t9000\n")
    assert cli("explain", *where, *spoken, "--method", "ixg", *files, "--out", tmp_path / "e.h5")[0] == 0
    judging = ["explain", "evaluate", tmp_path / "e.h5", "--metrics", "truth", *files]
    asks: list[tuple[list[Any], str, str]] = [
        (judging, "--truth", ""),
        (["cam", *where, *spoken, *files], "--truth", ".tsv"),
        (["attention", *where, *files], "--truth", ".tsv"),
        (["dissect", "--bed", beds["rows"], "--layer", "tower_2", "--units", "0", *files], "--annotations", ""),
    ]
    for number, (words, option, suffix) in enumerate(asks):
        code, _, err = cli(*words, option, beds["bare"], "--out", tmp_path / f"{number}{suffix}")
        assert code == 0, err
        code, _, err = cli(*words, option, beds["lost"], "--out", tmp_path / f"lost{number}{suffix}")
        assert (code, err.splitlines()[-1].count("are on contig chr7, which g.fa lacks")) == (1, 1)
    code, _, err = cli(*judging, "--truth", beds["far"], "--out", tmp_path / "far")
    assert (code, err.splitlines()[-1].count("error: 0 of 60 bases are known features")) == (1, 1)
    assert not (tmp_path / "far").exists()
    design = ["design", "--region", "1:6001-6006", *spoken, "--edits", 1, *files, "--out", tmp_path / "d"]
    check_error(cli(*design, "--fixed", "chr7:6001-6003"), "fixed bases are on contig chr7, which g.fa lacks")
    code, _, err = cli(*design, "--fixed", "1:6001-6003")
    assert code == 0, err
    assert json.loads((tmp_path / "d" / "design.json").read_text())["fixed"] == ["chr1:6001-6003"]
    assert (tmp_path / "d" / "designed.fa").read_text().split("\n")[3][:3] == desk.text[6000:6003]


def test_a_figure_in_no_folder_is_refused(model: Model, desk: SimpleNamespace, tmp_path: Path) -> None:
    ref = desk.text[6029]
    for found in (
        model.predict_variant(f"chr1:6030:{ref}:{'A' if ref != 'A' else 'C'}"),
        model.predict(REGION),
        model.explain(TARGET, REGION, tracks="CAGE+"),
        model.explain_compare(TARGET, REGION, methods=("saliency", "ixg"), tracks="CAGE+"),
    ):
        with pytest.raises(InputError, match="there is no folder"):
            found.plot(tmp_path / "nosuch" / "x.png")
