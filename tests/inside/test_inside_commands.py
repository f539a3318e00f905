"""Commands that look inside: what they write, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas
import pytest
import worlds
from command_line import Cli, check_error

pytest.importorskip("torch")

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.demo import grammar
from borzoi_rt.explain.rows import gene_row
from borzoi_rt.explain.target import TargetSpec
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.gene_index import open_genes
from borzoi_rt.inside.activations import Activations
from borzoi_rt.inside.maps import map_window
from borzoi_rt.inside.tables import read_table
from borzoi_rt.scoring.named_gene import one_gene
from borzoi_rt.sequence import encode

TEXT = worlds.random_dna(9000, seed=21)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("commands")
    fasta = worlds.write_fasta(folder / "toy.fa", {"chr1": TEXT})
    gtf = folder / "genes.gtf"
    rows = [("4301", "4350"), ("4501", "4580")]
    gtf.write_text(
        "".join(
            f'chr1\ttoy\texon\t{start}\t{end}\t.\t+\t.\tgene_id "G1"; transcript_id "T1"; gene_name "ACTB";\n'
            for start, end in rows
        )
    )
    return SimpleNamespace(folder=folder, fasta=fasta, gtf=gtf)


def test_activations_of_a_region(cli: Cli, inside_bundle: Bundle, desk: SimpleNamespace, tmp_path: Path) -> None:
    model = ("--bundle", inside_bundle.path, "--fasta", desk.fasta)
    where = ("--region", "chr1:4,400-4,500", "--layer", "tower_3", "--units", "2,0-1")
    code, _, err = cli("activations", *where, *model, "--out", tmp_path / "a.tsv")
    assert code == 0, err
    table = pandas.read_csv(tmp_path / "a.tsv", sep="\t")
    assert list(table.columns) == ["name", "chrom", "start", "end", "allele", "status", "u2", "u0", "u1"]
    window_start = 4449 - 2048
    first, last = (4399 - window_start) // 8, -(-(4500 - window_start) // 8)
    assert table.start.tolist() == [window_start + 8 * position for position in range(first, last)]
    assert (table.end - table.start == 8).all()
    with Fasta(desk.fasta) as genome, Activations(inside_bundle) as inside:
        window = encode(genome.fetch("chr1", window_start, window_start + 4096))
        want = inside.of(window, "tower_3", units=[2, 0, 1], positions=(first, last)).values.T
    np.testing.assert_allclose(table[["u2", "u0", "u1"]].to_numpy(), want, rtol=1e-6)


def test_a_bad_region_does_not_end_activations(
    cli: Cli, inside_bundle: Bundle, desk: SimpleNamespace, tmp_path: Path
) -> None:
    model = ("--bundle", inside_bundle.path, "--fasta", desk.fasta, "--layer", "embedding", "--units", "3,1")
    bed = tmp_path / "in.bed"
    # The second is on no contig, the third behind the end, the fourth wider than the output; the last is the first.
    lines = ("chr1\t4390\t4465\tone", "chr9\t1\t9\ttwo", "chr1\t8990\t9100\tthree", "chr1\t2500\t6500\tfour")
    bed.write_text("\n".join((*lines, lines[0].replace("one", "five"))) + "\n")
    code, _, err = cli("activations", "--bed", bed, *model, "--out", tmp_path / "a.tsv")
    assert code == 0, err
    assert "note: 3 of 5 regions have no activations; the first: contig_missing: region chr9:2-9" in err
    table = pandas.read_csv(tmp_path / "a.tsv", sep="\t")
    held = {name: part.reset_index(drop=True) for name, part in table.groupby("name", sort=False)}
    assert list(held) == ["one", "two", "three", "four", "five"]
    for name, said in (
        ("two", "no such contig"),
        ("three", "does not lie in chr1"),
        ("four", "do not lie in embedding"),
    ):
        assert len(held[name]) == 1
        assert said in held[name].status[0]
        assert held[name][["u3", "u1"]].isna().all(axis=None)
    pandas.testing.assert_frame_equal(held["one"].drop(columns="name"), held["five"].drop(columns="name"))
    assert f"{2 * len(held['one'])} positions of 32 bp, embedding" in err
    assert cli("activations", "--region", "chr1:4,391-4,465", *model, "--out", tmp_path / "one.tsv")[0] == 0
    alone = pandas.read_csv(tmp_path / "one.tsv", sep="\t")
    pandas.testing.assert_frame_equal(held["one"].drop(columns="name"), alone.drop(columns="name"))

    for words, said in (
        (("--bed", bed), "no region can be looked at; the first: contig_missing"),
        (("--region", "chr9:2-9"), "region chr9:2-9: toy.fa has no such contig"),
    ):
        bed.write_text("\n".join(lines[1:3]) + "\n")
        ended = cli("activations", *words, *model, "--out", tmp_path / "none.tsv")
        check_error(ended, said)
        assert not (tmp_path / "none.tsv").exists()


def test_embed_writes_what_pandas_reads(cli: Cli, inside_bundle: Bundle, desk: SimpleNamespace, tmp_path: Path) -> None:
    model = ("--bundle", inside_bundle.path, "--fasta", desk.fasta)
    bed = tmp_path / "in.bed"
    bed.write_text("chr1\t4390\t4465\tone\nchr1\t4000\t4100\ttwo\nchr1\t8990\t9100\tthree\n")
    assert cli("embed", "--bed", bed, *model, "--out", tmp_path / "e.parquet")[0] == 0
    table = pandas.read_parquet(tmp_path / "e.parquet")
    assert table.name.tolist() == ["one", "two", "three"]
    assert table.status.tolist()[:2] == ["ok", "ok"]
    assert "does not lie in chr1" in table.status[2]
    assert table.shape == (3, 10 + 32)
    assert table.u0.isna().tolist() == [False, False, True]
    assert table.covered.tolist() == [1.0, 1.0, 0.0]
    genes = ("--gene", "ACTB", "--genes", desk.gtf)
    assert cli("embed", *genes, *model, "--layer", "layer_1", "--out", tmp_path / "g.tsv")[0] == 0
    told = pandas.read_json(tmp_path / "g.tsv.meta.json", typ="series")
    assert (told.region, told.layer) == ("exons", "layer_1")
    held = pandas.read_csv(tmp_path / "g.tsv", sep="\t").iloc[0]
    assert held.covered == 1.0
    with Fasta(desk.fasta) as genome:
        assert (held.start, held.end) == one_gene(open_genes(desk.gtf), "ACTB", genome).span
    other = "A" if TEXT[4499] != "A" else "C"
    code, _, err = cli("embed", "--variant", f"chr1:4500:{other}:G", *model, "--out", tmp_path / "v.tsv")
    assert code == 0
    assert "note: 2 of 2 rows have no embedding; the first: " in err


def test_the_share_of_a_gene_that_is_embedded_is_told(
    cli: Cli, inside_bundle: Bundle, desk: SimpleNamespace, tmp_path: Path
) -> None:
    """Exons beyond the output of the window do not enter; of tokens, the whole window counts."""
    model, grid = ("--bundle", inside_bundle.path, "--fasta", desk.fasta), inside_bundle.geometry
    gtf, out = tmp_path / "long.gtf", tmp_path / "l.tsv"
    exons = [(1001, 1100), (4001, 4200), (7001, 7300)]
    gtf.write_text(
        "".join(
            f'chr1\ttoy\texon\t{start}\t{end}\t.\t+\t.\tgene_id "G2"; transcript_id "T2"; gene_name "LONG";\n'
            for start, end in exons
        )
    )
    code, _, err = cli("embed", "--gene", "LONG", "--genes", gtf, *model, "--out", out)
    assert code == 0, err
    held = pandas.read_csv(out, sep="\t").iloc[0]
    first = held.window_start + grid.crop_bp
    bases = {base for start, end in exons for base in range(start - 1, end)}
    inside = sum(first <= base < first + grid.bins * grid.bin_size_bp for base in bases)
    assert 0 < inside < len(bases)
    assert held.covered == pytest.approx(inside / len(bases), rel=1e-5)
    assert f"LONG: {inside / len(bases):.0%} of its exon bases lie where the embedding has positions" in err


def test_cam_of_a_gene(cli: Cli, inside_bundle: Bundle, desk: SimpleNamespace, tmp_path: Path) -> None:
    model = ("--bundle", inside_bundle.path, "--fasta", desk.fasta)
    what = ("--gene", "ACTB", "--genes", desk.gtf, "--tracks", "cage")
    code, _, err = cli("cam", *what, *model, "--out", tmp_path / "c.tsv", "--plot", tmp_path / "c.png")
    assert code == 0, err
    assert "one score for each 128 bp of layer_2" in err
    assert (tmp_path / "c.png").stat().st_size > 5000
    table = pandas.read_csv(tmp_path / "c.tsv", sep="\t")
    assert len(table) == 32
    with Fasta(desk.fasta) as genome, Activations(inside_bundle) as inside:
        gene = one_gene(open_genes(desk.gtf), "ACTB", genome)
        row = gene_row(gene, genome, inside_bundle.geometry)
        target = TargetSpec.parse("log SUM@exons", tracks="cage").bind(inside_bundle, row.where)
        want = map_window(inside, row.window(genome, inside_bundle.geometry), target)
    np.testing.assert_allclose(table.score, want.scores, rtol=1e-9)
    assert table.start[0] == row.where.window_start
    told = pandas.read_json(tmp_path / "c.tsv.meta.json", typ="series")
    assert (told["method"], told["layer"], told["resolution_bp"]) == ("gradcam", "layer_2", 128)
    assert told["target"]["target"] == "log SUM@exons"
    assert told["rows"] == [{"name": "ACTB", "value": want.value}]
    bins = ("--method", "cam", "--out", tmp_path / "b.h5")  # its layer is embedding
    assert cli("cam", *what, *model, *bins)[0] == 0
    held = read_table(tmp_path / "b.h5", "maps")
    assert len(held) == inside_bundle.geometry.bins
    assert held.about["resolution_bp"] == 32
    assert held.columns["start"][0] == row.where.window_start + inside_bundle.geometry.crop_bp


def test_both_haplotypes_are_mapped(cli: Cli, inside_bundle: Bundle, desk: SimpleNamespace, tmp_path: Path) -> None:
    model = ("--bundle", inside_bundle.path, "--fasta", desk.fasta)
    ref = TEXT[4499]
    variant = f"chr1:4500:{ref}:{'A' if ref != 'A' else 'C'}"
    assert cli("cam", "--variant", variant, *model, "--out", tmp_path / "v.parquet")[0] == 0
    table = pandas.read_parquet(tmp_path / "v.parquet")
    assert table.allele.tolist() == ["ref"] * 32 + ["alt"] * 32
    assert table.start[:32].tolist() == table.start[32:].tolist()
    assert np.abs(table.score[:32].to_numpy() - table.score[32:].to_numpy()).max() > 0.0


def test_attention_of_a_tss(cli: Cli, inside_bundle: Bundle, desk: SimpleNamespace, tmp_path: Path) -> None:
    model = ("--bundle", inside_bundle.path, "--fasta", desk.fasta)
    what = ("--gene", "ACTB", "--genes", desk.gtf, "--target", "log SUM@exons", "--how", "relevance")
    files = ("--out", tmp_path / "r.tsv", "--plot", tmp_path / "r.svg")
    code, _, err = cli("attention", *what, *model, *files)
    assert code == 0, err
    assert "note: attention is not attribution" in err
    assert "NOT ATTRIBUTION" in (tmp_path / "r.svg").read_text()
    assert "not attribution" in (tmp_path / "r.tsv.meta.json").read_text()
    profiles = ("--out", tmp_path / "a.h5", "--profiles", tmp_path / "p.tsv")
    assert (
        cli("attention", "--gene", "ACTB", "--genes", desk.gtf, "--region", "chr1:4400-4500", *model, *profiles)[0] == 0
    )
    held = read_table(tmp_path / "a.h5", "attention")
    assert held.matrix is not None
    assert held.matrix.columns == ["l1h1", "l1h2", "l2h1", "l2h2"]
    np.testing.assert_allclose(held.matrix.values.sum(axis=0), 1.0, atol=1e-5)
    np.testing.assert_allclose(held.arrays["by_query"][0].T, held.matrix.values, atol=1e-6)
    (query,) = held.arrays["query_token"].tolist()
    start = held.columns["start"][query]
    assert start <= 4300 < held.columns["end"][query]  # exons begin at base 4,301
    assert "not attribution" in held.about["note"]
    table = pandas.read_csv(tmp_path / "p.tsv", sep="\t")
    sums = table.groupby(["layer", "head"]).share.sum()
    np.testing.assert_allclose(sums, 1.0, atol=1e-5)
    assert table.low_bp.min() == -31 * 128


def test_tokens_that_ask(cli: Cli, inside_bundle: Bundle, desk: SimpleNamespace, tmp_path: Path) -> None:
    model = ("--bundle", inside_bundle.path, "--fasta", desk.fasta, "--out", tmp_path / "q.h5")
    region = ("--region", "chr1:4401-4500", "--target", "log SUM@span:256")
    ref = TEXT[4499]
    variant = ("--variant", f"chr1:4500:{ref}:{ref}GATTACA")
    for words, want in (
        (region[:2], [15, 16]),
        ((*region[:2], "--from", "every:8"), [4, 12, 20, 28]),
        ((*region, "--from", "target"), [15, 16]),
        ((*variant, "--width", "300"), [15]),  # base 2,047 of the window that the variant is the middle of
        ((*variant, "--width", "300", "--from", "bases"), [14, 15, 16, 17]),
    ):
        code, _, err = cli("attention", *words, *model)
        assert code == 0, err
        held = read_table(tmp_path / "q.h5", "attention")
        first = held.arrays["query_row"] == 0
        assert held.arrays["query_token"][first].tolist() == want, words


def test_of_random_weights_planted_promoters_are_not_found(cli: Cli, inside_bundle: Bundle, tmp_path: Path) -> None:
    """A network that nothing was taught finds no promoter, and the program says so, whatever the map."""
    text = grammar.plant(np.random.default_rng(8), 4096)
    fasta, bed = worlds.write_fasta(tmp_path / "planted.fa", {"chr1": text}), tmp_path / "promoters.bed"
    bed.write_text("".join(f"chr1\t{one.tss - 60}\t{one.tss + 1}\n" for one in grammar.promoters(text)))
    what = ("--region", "chr1:2000-2097", "--target", "log SUM", "--truth", bed)
    model = ("--bundle", inside_bundle.path, "--fasta", fasta, "--out", tmp_path / "o.h5")
    for words in (("cam",), ("attention", "--from", "target"), ("attention", "--from", "target", "--how", "relevance")):
        code, _, err = cli(*words, *what, *model)
        assert code == 0, err
        assert "the map does NOT find the known features (AUROC" in err, err
        told = read_table(tmp_path / "o.h5", "maps" if words == ("cam",) else "attention").about["rows"][0]["truth"]
        assert 2 <= told["known"] < told["positions"] == 32
        assert not told["recovers"]


def test_the_check_by_shuffling_is_told(cli: Cli, inside_bundle: Bundle, desk: SimpleNamespace, tmp_path: Path) -> None:
    model = ("--bundle", inside_bundle.path, "--fasta", desk.fasta, "--out", tmp_path / "o.h5")
    what = ("--region", "chr1:4001-5000", "--target", "log SUM@center:256", "--check", "12", "--seed", "3")
    code, _, err = cli("attention", "--from", "target", "--how", "rollout", *what, *model)
    assert code == 0, err
    told = read_table(tmp_path / "o.h5", "attention").about["rows"][0]["check"]
    assert told["positions"] == 12
    follows = "follows" if told["agrees"] else "does NOT follow"
    assert f"the map {follows} what shuffling does (rank correlation {told['correlation']:.2f}" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("activations", "--region", "chr1:1-9", "--variant", "chr1:4:G:A"), "give one of --region, --bed and"),
        (("activations", "--region", "chr1:4000-4009", "--layer", "tower_9"), "layer 'tower_9' is unknown"),
        (("activations", "--region", "chr1:4000-4009", "--units", "99"), "unit 99 is not there"),
        (("cam", "--region", "chr1:4000-4009", "--method", "cam", "--layer", "tokens"), "cam is of embedding"),
        (("cam", "--region", "chr1:4000-4009", "--layer", "stem"), "layer 'stem' has no slopes"),
        (("attention", "--region", "chr1:4000-4009", "--tracks", "cage"), "--tracks is of a target, which rows has"),
        (("attention", "--region", "chr1:4000-4009", "--pseudo", "1"), "--pseudo is of a target"),
        (("attention", "--region", "chr1:4000-4009", "--no-unclip"), "--unclip is of a target"),
        (("attention", "--region", "chr1:4000-4009", "--layers", "3"), "layer 3 is not there"),
        (("attention", "--region", "chr1:4000-4009", "--how", "rollout", "--layers", "1"), "layers are chosen of rows"),
        (("attention", "--region", "chr1:4000-4009", "--from", "tss"), "queries tss needs a row with a gene"),
        (("attention", "--region", "chr1:4000-4009", "--from", "near"), "queries 'near' is unknown"),
        (("cam", "--region", "chr1:4000-4009", "--seed", "3"), "--seed is of --check and --truth"),
        (("attention", "--region", "chr1:4000-4009", "--seed", "3"), "--seed is of --check and --truth"),
        (("embed",), "give one of --region, --bed, --variant, --vcf and --gene"),
        (("embed", "--gene", "ACTB"), "--gene is looked up in --genes"),
        (("embed", "--region", "chr1:4000-4009", "--layer", "stem"), "layer 'stem' is not embedded"),
        (("embed", "--region", "chr1:4000-4009", "--over", "tss:200"), "--over tss:200 is of a gene"),
        (("embed", "--region", "chr1:4000-4009", "--bin-rule", "half"), "--bin-rule is of parts of genes"),
    ],
)
def test_what_does_not_go_together(
    cli: Cli, inside_bundle: Bundle, desk: SimpleNamespace, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    ended = cli(*words, "--bundle", inside_bundle.path, "--fasta", desk.fasta, "--out", tmp_path / "o.h5")
    check_error(ended, said)
    assert not (tmp_path / "o.h5").exists()


def test_an_older_bundle_is_told_to_be_exported_again(
    cli: Cli, gradient_bundle: Bundle, desk: SimpleNamespace, tmp_path: Path
) -> None:
    where = ("activations", "--region", "chr1:4000-4009", "--bundle", gradient_bundle.path, "--fasta", desk.fasta)
    check_error(cli(*where, "--out", tmp_path / "o.h5"), "export the model again")
