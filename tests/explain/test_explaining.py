"""Explanation of a network: strands, frames, rows, folds, files; from Python and from the command line."""

from __future__ import annotations

import html
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import worlds
from command_line import check_error
from numpy.testing import assert_allclose, assert_array_equal

from borzoi_rt.backends.opening import open_session
from borzoi_rt.bundle.manifest import N_POLICIES
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.engine.options import PredictionOptions
from borzoi_rt.errors import FormatError, InputError
from borzoi_rt.explain.attr_file import read_attributions
from borzoi_rt.explain.explainer import Explainer, ExplainOptions
from borzoi_rt.explain.result import stretches
from borzoi_rt.explain.rows import gene_row, region_rows, variant_rows
from borzoi_rt.explain.run import ExplainOutputs, explain_rows
from borzoi_rt.explain.target import TargetSpec
from borzoi_rt.genome.bigwig import BigWig
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.gene_index import open_genes
from borzoi_rt.genome.genes import Gene
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.genome.variants import Variant
from borzoi_rt.model import Model, open_model
from borzoi_rt.report.attribution import extremes
from borzoi_rt.scoring.named_gene import one_gene
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.sequence import encode, reverse_complement

TEXT = worlds.random_dna(9000, seed=21)
TEXT = TEXT[:4000] + "N" * 12 + TEXT[4012:]
REGION = Interval("chr1", 4400, 4460)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("explain")
    fasta = worlds.write_fasta(folder / "toy.fa", {"chr1": TEXT, "chr2": worlds.reverse_complement(TEXT)})
    gtf = folder / "genes.gtf"
    rows = [("4301", "4350"), ("4501", "4580")]
    gtf.write_text(
        "".join(
            f'chr1\ttoy\texon\t{start}\t{end}\t.\t-\t.\tgene_id "G1"; transcript_id "T1"; gene_name "ACTB";\n'
            for start, end in rows
        )
    )
    return SimpleNamespace(folder=folder, fasta=fasta, gtf=gtf)


@pytest.fixture(scope="module")
def genome(desk: SimpleNamespace) -> Iterator[Fasta]:
    with Fasta(desk.fasta) as fasta:
        yield fasta


@pytest.fixture(scope="module")
def explainer(gradient_bundle: Bundle, genome: Fasta) -> Iterator[Explainer]:
    with Explainer(gradient_bundle, genome) as opened:
        yield opened


@pytest.fixture(scope="module")
def model(gradient_bundle: Bundle, desk: SimpleNamespace) -> Iterator[Model]:
    with open_model(gradient_bundle, fasta=desk.fasta) as opened:
        yield opened


@pytest.mark.parametrize("rc", [False, True])
def test_the_gradient_is_that_of_the_target(explainer, genome, rc):
    """Through the network, the mean of both strands, the squash and the logarithm, against finite differences."""
    spec = TargetSpec.parse("log SUM@span:400", tracks="cage+,rna", against="dnase")
    (row,) = region_rows([REGION], genome, explainer.bundle.geometry)
    options, first = ExplainOptions(rc=rc), row.columns[0]
    objective, window = explainer.objective(row, spec, options), row.window(genome, explainer.bundle.geometry)
    _, slope = objective.slope(window.astype(np.float64), row.columns)
    for rows in ([0, 1, 2, 3], [0], [3]):  # all letters together, and letters that the other strand exchanges
        direction = np.zeros(window.shape)
        direction[rows, first : first + 60] = np.sign(slope[rows])
        sides = [objective.slope(window + step * direction, (0, 1))[0] for step in (5e-4, -5e-4)]
        # Values of float32 are right to some 1e-7 here, 1 % of this difference; few pools change their winner.
        assert_allclose((sides[0] - sides[1]) / 1e-3, np.abs(slope[rows]).sum(), rtol=0.03)


@pytest.mark.parametrize("method", ["saliency", "ig", "smoothgrad"])
def test_with_both_strands_the_other_strand_is_explained_alike(explainer, genome, method):
    """chr2 is the reverse complement of chr1: bases [s, e) are [L - e, L - s), rows exchanged, strands swapped.

    The shuffles and draws of ``ig`` and ``smoothgrad`` are others on the other strand, so that only the number of rows
    and the value are compared there.
    """
    grid = explainer.bundle.geometry
    start, end = len(TEXT) - REGION.end, len(TEXT) - REGION.start
    (one,) = region_rows([REGION], genome, grid)
    (other,) = region_rows([Interval("chr2", start, end)], genome, grid)
    assert len(TEXT) - one.where.window_start - grid.sequence_length_bp == other.where.window_start
    options = ExplainOptions(method=method, rc=True, options={"steps": 2} if method == "ig" else None)
    spec, turned = (TargetSpec.parse("log SUM", tracks=tracks) for tracks in ("cage+,rna-", "cage-,rna+"))
    forward, backward = explainer.explain(one, spec, options), explainer.explain(other, turned, options)
    assert_allclose(forward.value, backward.value, rtol=1e-5)
    assert forward.sequence == worlds.reverse_complement(backward.sequence)
    if method == "saliency":
        scale = np.abs(forward.scores).max()
        assert_allclose(forward.scores, backward.scores[::-1, ::-1], atol=2e-5 * scale)
        alone = explainer.explain(one, spec, ExplainOptions(method=method)).scores
        assert np.abs(alone - forward.scores).max() > 0.01 * scale


def test_values_are_those_of_whole_passes_and_of_both_kinds_of_objective(explainer, genome, gradient_bundle):
    grid, spec = gradient_bundle.geometry, TargetSpec.parse("logSED@span:600", tracks="cage,rna")
    (row,) = region_rows([REGION], genome, grid)
    window = row.window(genome, grid)
    session = open_session(gradient_bundle)
    target = spec.bind(gradient_bundle, row.where)
    for rc in (False, True):
        forward = session.run(window[None], target.positions, bins=target.bins)[0]
        if rc:
            other = gradient_bundle.tracks.positions_of(gradient_bundle.tracks.strand_pair[target.positions])
            low, high = grid.bins - target.bins[1], grid.bins - target.bins[0]
            backward = session.run(reverse_complement(window)[None], other, bins=(low, high))[0]
            forward = 0.5 * (forward + backward[:, ::-1])
        found = explainer.explain(row, spec, ExplainOptions(rc=rc))
        assert_allclose(found.value, target.value(forward), rtol=1e-5)
    session.close()


def test_integrated_gradients_of_a_network_add_up(explainer, genome):
    (row,) = region_rows([Interval("chr1", 4100, 5000)], genome, explainer.bundle.geometry)
    spec = TargetSpec.parse("log SUM@span:256", tracks="dnase")
    errors = []
    for steps in (2, 64):
        found = explainer.explain(row, spec, ExplainOptions(method="ig", options={"references": 1, "steps": steps}))
        total = found.projected.sum()
        assert_allclose(total, found.facts["difference"] + found.facts["completeness_delta"], rtol=1e-9)
        errors.append(found.facts["completeness_error"])
    assert errors[1] < 0.05 < errors[0]
    assert abs(found.facts["difference"]) > 1e-4


@pytest.mark.parametrize("rc", [False, True])
def test_the_hybrid_is_exact_in_the_tower_and_linear_behind_it(explainer, genome, rc):
    """Random networks are almost linear in one base, so that what is approximated agrees with what is exact."""
    (row,) = region_rows([Interval("chr1", 4410, 4425)], genome, explainer.bundle.geometry)
    spec = TargetSpec.parse("log SUM@span:256", tracks="dnase,cage+")
    options = ExplainOptions(method="ism-hybrid", rc=rc, options={"recheck": 1, "sample": 45})
    found = explainer.explain(row, spec, options).attribution
    exact, about = found.arrays["effects_exact"], found.arrays["effects_approximate"]
    assert np.isfinite(exact).all()
    assert np.corrcoef(exact.ravel(), about.ravel())[0, 1] > 0.99
    assert np.abs(exact - about).max() < 0.2 * np.abs(exact).max()
    plain = explainer.explain(row, spec, ExplainOptions(method="ism", rc=rc)).attribution
    assert_allclose(plain.arrays["effects"], exact, atol=1e-6)
    window = row.window(genome, explainer.bundle.geometry)
    assert explainer.objective(row, spec, options).linearised(window)(window, *row.columns) == 0.0  # a null change


def test_unknown_bases_get_nothing_but_a_hypothetical_score(explainer, genome):
    (row,) = region_rows([Interval("chr1", 3990, 4020)], genome, explainer.bundle.geometry)
    found = explainer.explain(row, TargetSpec.parse("SUM"), ExplainOptions())
    assert found.sequence[10:22] == "N" * 12
    assert_array_equal(found.projected[10:22], np.zeros(12))
    assert np.abs(found.hypothetical[:, 10:22]).min(axis=0).max() > 0.0


def test_a_gene_is_explained_in_its_window(explainer, genome):
    gene = Gene("G1", "ACTB", "", "chr1", "-", np.array([(4300, 4350), (4500, 4580)]))
    row = gene_row(gene, genome, explainer.bundle.geometry)
    # Mean of the exonic bases: (50 * 4324.5 + 80 * 4539.5) / 130 = 4456.8 -> 4456.
    assert row.where.window_start == 4456 - 2048
    assert (row.bases.start, row.bases.end) == (2408, 6504)
    (part,) = region_rows([REGION], genome, explainer.bundle.geometry, gene=gene)
    assert part.where.window_start == row.where.window_start
    spec = TargetSpec.parse("log SUM@exons")
    whole, cut = (explainer.explain(item, spec, ExplainOptions()) for item in (row, part))
    low = REGION.start - 2408
    assert_array_equal(cut.scores, whole.scores[:, low : low + 60])
    assert cut.value == whole.value
    assert whole.about["target"]["tracks_count"] == [4]  # cage-, rna-, dnase, chip


def test_a_gene_at_the_end_of_its_contig_keeps_inside_it(explainer, genome):
    gene = Gene("G2", "END", "", "chr1", "+", np.array([(8900, 8990)]))
    row = gene_row(gene, genome, explainer.bundle.geometry)
    assert row.bases.end == 9000
    assert row.columns[1] < 4096
    early = Gene("G3", "START", "", "chr1", "+", np.array([(10, 60)]))
    first = gene_row(early, genome, explainer.bundle.geometry)
    assert first.where.window_start == -explainer.bundle.geometry.crop_bp
    assert first.bases.start == 0


def test_both_haplotypes_of_a_variant(explainer, genome):
    ref = TEXT[4429]
    alt = "ACGT"[("ACGT".index(ref) + 1) % 4]
    spec = TargetSpec.parse("logSED@span:600", tracks="dnase")
    rows = variant_rows(Variant("chr1", 4430, ref, alt), genome, explainer.bundle.geometry, width_bp=40)
    before, after = (explainer.explain(row, spec, ExplainOptions()) for row in rows)
    assert (before.sequence[20], after.sequence[20]) == (ref, alt)
    assert before.sequence[:20] == after.sequence[:20]
    assert before.interval.start == 4409
    assert before.value != after.value
    longer = variant_rows(Variant("chr1", 4430, ref, ref + "ACGTACGT"), genome, explainer.bundle.geometry, width_bp=40)
    inserted = explainer.explain(longer[1], spec, ExplainOptions())
    assert inserted.sequence[20:29] == ref + "ACGTACGT"
    assert inserted.sequence[29:] == before.sequence[21:32]
    with pytest.raises(InputError, match="ref_mismatch"):
        variant_rows(Variant("chr1", 4430, alt, ref), genome, explainer.bundle.geometry, width_bp=40)


def test_near_the_end_of_a_contig_the_bases_are_those_of_the_contig(genome, explainer):
    """As many as asked, none before its start or behind its end, where a file of regions could not name them."""
    for pos, start in ((3, 0), (21, 0), (22, 1), (8990, 8960), (9000, 8960)):
        ref = TEXT[pos - 1]
        variant = Variant("chr1", pos, ref, "ACGT"[("ACGT".index(ref) + 1) % 4])
        for row in variant_rows(variant, genome, explainer.bundle.geometry, width_bp=40):
            assert (row.bases.start, row.bases.end) == (start, start + 40)
            assert row.where.window_start == pos - 1 - 2048 or row.where.window_start == pos - 2048


def test_a_gene_of_another_contig_is_refused(model, genome, desk):
    """Its bins would be counted as if it lay on the contig of the region."""
    gtf = desk.folder / "elsewhere.gtf"
    gtf.write_text(
        "".join(
            f'{chrom}\ttoy\texon\t4301\t4350\t.\t+\t.\tgene_id "{name}"; transcript_id "{name}T";\n'
            for name, chrom in (("GA", "chr1"), ("GB", "chr2"), ("GC", "chr9"))
        )
    )
    grid, at = model.bundle.geometry, np.array([(4300, 4350)])
    variant = Variant("chr1", 4430, TEXT[4429], "ACGT"[("ACGT".index(TEXT[4429]) + 1) % 4])
    for name, chrom, told in (
        ("GB", "chr2", r"chr1:?.* is on chr1, gene .*GB.* is on chr2; name"),
        ("GC", "chr9", "gene .*GC.* lies on chr9, which is no contig of toy"),
    ):
        for what in ({"region": "chr1:4,401-4,430"}, {"variant": variant}):
            with pytest.raises(InputError, match=told):
                model.explain("SUM@exons", gene=name, genes=gtf, **what)
        gene = Gene(name, name, "", chrom, "+", at)
        with pytest.raises(InputError, match=f"gene .*{name}.* is on {chrom}"):
            region_rows([REGION], genome, grid, gene=gene)
        with pytest.raises(InputError, match=f"gene .*{name}.* is on {chrom}"):
            variant_rows(variant, genome, grid, width_bp=40, gene=gene)
    for spelled in (variant, f"1:4430:{variant.ref}:{variant.alt}"):
        assert model.explain("SUM@exons", gene="GA", genes=gtf, variant=spelled).scores.shape == (4, 512)
    # What the annotation says of its contigs counts, as it does for scores.
    known = replace(open_genes(gtf), aliases={"chr9": "chr1"})
    assert one_gene(known, "GC", genome).chrom == "chr1"
    assert model.explain("SUM@exons", "1:4,401-4,430", gene="GC", genes=known).scores.shape == (4, 30)


def test_the_value_of_both_haplotypes_differs_by_the_score(model, explainer, genome):
    ref = TEXT[4429]
    alt = "ACGT"[("ACGT".index(ref) + 1) % 4]
    variant = Variant("chr1", 4430, ref, alt)
    rows = variant_rows(variant, genome, explainer.bundle.geometry, width_bp=40)
    values = [
        explainer.explain(row, TargetSpec.parse("logSED@span:600", tracks="dnase"), ExplainOptions()).value
        for row in rows
    ]
    score = model.score(variant, stats="logSED@span:600", tracks="dnase")[0]["logSED@span:600"]["dnase"]
    assert_allclose(values[1] - values[0], score, atol=2e-6)
    assert abs(score) > 1e-5


def test_what_differs_from_the_score_is_said(model, genome, explainer):
    """Alleles of different length have frames of their own, and a pair's score is a sum where a target is a mean."""
    deletion, plain = Variant("chr1", 4430, TEXT[4429:4436], TEXT[4429]), PredictionOptions(indel="none")
    found = [model.explain("logSED@span:600", variant=deletion, tracks="cage", allele=one) for one in ("ref", "alt")]
    change = found[1].value - found[0].value
    scores = {}
    for indel, given in (("none", {"prediction": plain}), ("stitch", {})):
        options = ScoreOptions(stats=("logSED@span:600",), tracks="cage", **given)
        (scores[indel],) = model.score(deletion, options=options)[0]["logSED@span:600"].array
    assert_allclose(2 * change, scores["none"], atol=4e-6)
    assert abs(2 * change - scores["stitch"]) > 1e-4
    for one in found:
        frames, pairs = one.about["notes"]
        assert "6 bp shorter than REF" in frames
        assert "score with indel 'none'" in frames
        assert "half of the pair's score" in pairs
    same = Variant("chr1", 4430, TEXT[4429], "ACGT"[("ACGT".index(TEXT[4429]) + 1) % 4])
    assert "notes" not in model.explain("logSED@span:600", variant=same, tracks="dnase").about
    assert "notes" not in model.explain("logSED@span:600", "chr1:4,401-4,430", tracks="cage").about
    insertion = replace(deletion, ref=TEXT[4429], alt=TEXT[4429] + "A")
    (said,) = model.explain("log SUM@span:600", variant=insertion, tracks="cage").about["notes"]
    assert said.startswith("ALT is 1 bp longer")


def test_either_haplotype_from_python(model, genome, explainer):
    ref, alt = TEXT[4429], "ACGT"[("ACGT".index(TEXT[4429]) + 1) % 4]
    variant = Variant("chr1", 4430, ref, alt)
    rows = variant_rows(variant, genome, explainer.bundle.geometry, width_bp=512)
    found = {one: model.explain("SUM", variant=variant, allele=one) for one in ("ref", "alt", None)}
    for row, allele, letter in zip(rows, ("ref", "alt"), (ref, alt), strict=True):
        want = explainer.explain(row, TargetSpec.parse("SUM"), ExplainOptions())
        assert_array_equal(found[allele].scores, want.scores)
        assert found[allele].sequence[256] == letter
        assert f"{allele.upper()} of chr1:4430 {ref}>{alt}" in repr(found[allele])
    assert_array_equal(found[None].scores, found["alt"].scores)
    made = model.explain_compare("SUM", variant=variant, methods=("saliency", "ixg"), allele="ref")
    assert_array_equal(made.explanations["saliency"].scores, found["ref"].scores)
    assert f"chr1:4430 {ref}>{alt} ref" in repr(made)
    for given, told in (
        ({"variant": variant, "allele": "REF"}, "allele 'REF' is unknown; allowed: ref, alt"),
        ({"region": "chr1:4,401-4,430", "allele": "ref"}, "allele is of a variant; give variant"),
    ):
        with pytest.raises(InputError, match=told):
            model.explain("SUM", **given)


def test_from_python(model, desk):
    found = model.explain("log SUM@span:400", "chr1:4,401-4,460", tracks="cage", against="chip")
    assert found.scores.shape == (4, 60)
    assert_allclose(found.scores.sum(axis=0), 0.0, atol=1e-9)
    assert_allclose(found.projected, (found.scores * found.onehot).sum(axis=0))
    table = found.to_arrow().to_pydict()
    assert (table["start"][0], table["end"][-1], "".join(table["base"])) == (4400, 4460, TEXT[4400:4460])
    assert_allclose(table["score"], found.projected)
    lines = [line.split("\t") for line in found.to_bed(desk.folder / "strong.bed", share=0.1).splitlines()]
    assert (desk.folder / "strong.bed").read_text().count("\n") == len(lines) > 0
    strongest = int(np.abs(found.projected).argmax()) + 4400
    assert any(int(line[1]) <= strongest < int(line[2]) for line in lines)
    for line in lines:
        low, high = int(line[1]) - 4400, int(line[2]) - 4400
        assert_allclose(float(line[6]), found.projected[low:high].sum(), rtol=1e-4)
    path = desk.folder / "figure.png"
    found.plot(path)
    assert path.read_bytes()[:4] == b"\x89PNG"
    gated = model.explain("log SUM@span:400", "chr1:4,401-4,460", method="ixg", tracks="cage", against="chip")
    assert_array_equal(gated.scores, found.scores * found.onehot)
    of_gene = model.explain("SUM@exons", "chr1:4,401-4,460", gene="ACTB", genes=desk.gtf)
    assert of_gene.about["target"]["region"] == "exons"
    assert "saliency of SUM@exons at chr1:4401-4460" in repr(of_gene)
    alt = model.explain("SUM", variant=f"chr1:4430:{TEXT[4429]}:{TEXT[4429]}AC")
    assert alt.scores.shape == (4, 512)
    for arguments, message in (
        ({"region": "chr1:1-10", "gene": "ACTB"}, "belong together"),
        ({}, "nothing says which bases"),
        ({"region": "chr1:1-10", "variant": "chr1:5:A:C"}, "leave one of the two out"),
        ({"region": "chr1:1-10", "method": "magic"}, "method 'magic' is unknown"),
        ({"region": "chr1:8,000-9,100"}, "does not lie in chr1"),
        ({"region": "chr1:1,000-8,000"}, "explain a part of it"),
    ):
        with pytest.raises(InputError, match=message):
            model.explain("SUM", **arguments)


def test_stretches_that_count():
    scores = np.array([0.0, 0.1, 5.0, 4.0, 0.1, 0.2, 3.0, -6.0, 0.0, 0.1])
    assert stretches(scores, share=0.4, gap_bp=3) == [(2, 7, pytest.approx(12.3)), (7, 8, -6.0)]
    assert stretches(scores, share=0.4, gap_bp=1) == [(2, 4, 9.0), (6, 7, 3.0), (7, 8, -6.0)]
    assert stretches(np.zeros(5), share=0.4, gap_bp=1) == []


def test_a_curve_shows_every_extreme():
    scores = np.zeros(10_000)
    scores[[3, 7777]] = 2.0, -3.0
    at, curve = extremes(scores, 100)
    assert len(at) == 100
    assert curve[list(at).index(3)] == 2.0
    assert curve[list(at).index(7777)] == -3.0


def explain(call, desk, bundle: Path, *words: object, out: str = "out.h5") -> tuple[int, str, str]:
    return call("explain", "--bundle", bundle, "--fasta", desk.fasta, "--out", desk.folder / out, *words)


def test_a_bed_from_the_command_line(call, desk, gradient_bundle, model):
    bed = desk.folder / "in.bed"
    bed.write_text("chr1\t4400\t4461\tone\t0\t+\nchr1\t4430\t4491\ttwo\t0\t-\nchr2\t100\t161\n")
    made = [desk.folder / name for name in ("out.bw", "out.png", "modisco")]
    words = ["--bed", bed, "--tracks", "cage", "--target", "log SUM", "--bigwig", made[0], "--plot", made[1]]
    code, out, err = explain(call, desk, gradient_bundle.path, *words, "--modisco", made[2])
    assert (code, out) == (0, "")
    assert "3 rows of 61 bases" in err
    held = read_attributions(desk.folder / "out.h5")
    assert held.arrays["hypothetical"].shape == (3, 4, 61)
    assert held.arrays["hypothetical"].dtype == np.float32
    assert list(held.arrays["name"]) == ["one", "two", "chr2:101-161"]
    assert list(held.arrays["strand"]) == ["+", "-", "."]
    assert held.about["target"]["target"] == "log SUM"
    assert held.about["target"]["squash"] == {"kind": "new", "unscale": True, "unclip": True}
    assert held.about["models"] == [{"name": "toy", "sha256": gradient_bundle.sha256}]
    one = model.explain("log SUM", "chr1:4,401-4,461", tracks="cage")
    assert_allclose(held.arrays["hypothetical"][0], one.scores, rtol=1e-6, atol=1e-12)
    assert_allclose(held.arrays["score"][0], one.value, rtol=1e-12)
    assert "".join("ACGTN"[code] for code in held.arrays["sequence"][0]) == TEXT[4400:4461]

    with BigWig(made[0]) as wig:
        got = wig.values(Interval("chr1", 4400, 4491))
        assert np.isnan(wig.values(Interval("chr2", 99, 101))[0])
    assert_allclose(got[:30], held.projected[0, :30], rtol=1e-5, atol=1e-9)
    assert_allclose(got[30:61], 0.5 * (held.projected[0, 30:] + held.projected[1, :31]), rtol=1e-4, atol=1e-8)
    assert_allclose(got[61:], held.projected[1, 31:], rtol=1e-5, atol=1e-9)
    assert made[1].stat().st_size > 10_000

    onehot, scores = (np.load(made[2] / f"{name}.npz")["arr_0"] for name in ("ohe", "attr"))
    assert onehot.shape == scores.shape == (3, 4, 60)  # 61 is odd
    assert_array_equal(scores, held.arrays["hypothetical"][:, :, :60])
    lines = [line.split("\t") for line in (made[2] / "rows.bed").read_text().splitlines()]
    for line, row in zip(lines, onehot, strict=True):
        text = TEXT if line[0] == "chr1" else worlds.reverse_complement(TEXT)
        assert_array_equal(row, encode(text[int(line[1]) : int(line[2])]))


def test_a_gene_and_a_variant_from_the_command_line(call, desk, gradient_bundle):
    words = ["--gene", "ACTB", "--genes", desk.gtf, "--region", "chr1:4,401-4,460", "--method", "ixg"]
    assert explain(call, desk, gradient_bundle.path, *words)[0] == 0
    held = read_attributions(desk.folder / "out.h5")
    assert held.about["target"]["target"] == "log SUM@exons"
    assert held.about["projected_only"] is True
    variant = f"chr1:4430:{TEXT[4429]}:{TEXT[4429]}ACG"
    assert explain(call, desk, gradient_bundle.path, "--variant", variant, "--width", 30)[0] == 0
    held = read_attributions(desk.folder / "out.h5")
    assert list(held.arrays["allele"]) == ["ref", "alt"]
    assert held.arrays["sequence"].shape == (2, 30)
    assert not (held.arrays["sequence"][0] == held.arrays["sequence"][1]).all()
    words = ["--variant", variant, "--width", 30, "--tracks", "dnase", "--report", desk.folder / "why.html"]
    code, _, err = explain(call, desk, gradient_bundle.path, *words)
    (note,) = read_attributions(desk.folder / "out.h5").about["notes"]
    assert code == 0
    assert note.startswith("ALT is 3 bp longer than REF and each is explained in its own frame")
    assert f"note: {note}" in err
    assert html.escape(f"Note: {note}.").replace("&#x27;", "&#39;") in (desk.folder / "why.html").read_text()


def test_integrated_gradients_report_what_they_miss(call, desk, gradient_bundle):
    words = ["--region", "chr1:4,101-4,800", "--method", "ig", "--steps", 3, "--references", 2, "--seed", 5]
    code, _, err = explain(call, desk, gradient_bundle.path, *words)
    assert code == 0
    assert "note: attributions miss the difference of the target by at most" in err
    held = read_attributions(desk.folder / "out.h5")
    assert held.about["options"] == {"steps": 3, "references": 2, "bin_bp": 1024, "seed": 5}
    facts = json.loads(held.arrays["facts"][0])
    assert_allclose(held.projected[0].sum(), facts["difference"] + facts["completeness_delta"], rtol=1e-4)
    assert held.arrays["se"].shape == (1, 4, 700)


def test_alleles_of_a_vcf(call, desk, gradient_bundle):
    """Each is what --variant gives; one that is wrong has a status in both rows, and ends nothing."""
    with Fasta(desk.fasta) as genome:
        bases = genome.fetch("chr1", 4430, 4432)
    good = [("chr1", 4431, bases[0], other(bases[0])), ("chr1", 4431, bases, bases[0])]
    wrong = [
        ("chr1", 4431, other(bases[0]), bases[0], "ref_mismatch"),
        ("chr9", 5, "A", "C", "contig_missing"),
        ("chr1", 4431, bases[0], "<DEL>", "symbolic_alt"),
    ]
    vcf, out = desk.folder / "v.vcf", desk.folder / "v.h5"
    lines = ["##fileformat=VCFv4.2", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    for chrom, pos, ref, alt, *_ in (good[0], *wrong, good[1]):
        lines.append(f"{chrom}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.")
    vcf.write_text("\n".join(lines) + "\n")
    how = ["--tracks", "cage", "--target", "log SUM", "--width", 60, "--method", "ixg"]
    model = ["--bundle", gradient_bundle.path, "--fasta", desk.fasta]
    more = ["--plot", desk.folder / "v.png", "--seqlets", desk.folder / "v.bed"]
    more += ["--report", desk.folder / "v.html", "--bigwig", desk.folder / "v.bw"]
    code, _, err = call("explain", "--vcf", vcf, *how, *model, *more, "--out", out)
    assert code == 0, err
    assert "10 rows of 60 bases: 4 ok, 2 ref_mismatch, 2 contig_missing, 2 symbolic_alt -> " in err
    held = read_attributions(out).arrays
    status = ["ok"] * 2 + [item[4] for item in wrong for _ in range(2)] + ["ok"] * 2
    assert [str(one) for one in held["status"]] == status
    assert [str(one) for one in held["allele"]] == ["ref", "alt"] * 5
    assert np.isnan(held["hypothetical"][2:8]).all()
    for at, (chrom, pos, ref, alt) in ((0, good[0]), (8, good[1])):
        code, _, err = call("explain", "--variant", f"{chrom}:{pos}:{ref}:{alt}", *how, *model, "--out", out)
        assert code == 0, err
        alone = read_attributions(out).arrays
        for name in ("sequence", "name", "start", "window_start"):
            assert_array_equal(held[name][at : at + 2], alone[name])
        assert_allclose(held["hypothetical"][at : at + 2], alone["hypothetical"], rtol=1e-5, atol=1e-8)
    for words, said in (
        (["--variant", "chr1:5:A:C"], "give one of --region, --bed, --vcf and --variant"),
        (["--width", 99999], "width_bp is 99999"),
        (["--method", "ablate", "--out", desk.folder / "x.tsv"], "ref_mismatch"),
    ):
        to = [] if "--out" in words else ["--out", desk.folder / "x.h5"]
        code, _, err = call("explain", "--vcf", vcf, *words, *model, *to)
        assert code != 0
        assert said in err


def other(base: str) -> str:
    return "C" if base != "C" else "G"


def test_folds_are_averaged(call, desk, gradient_bundle, second_fold):
    words = ["--region", "chr1:4,401-4,430", "--tracks", "dnase"]
    singles = []
    for path in (gradient_bundle.path, second_fold.path):
        assert explain(call, desk, path, *words)[0] == 0
        singles.append(read_attributions(desk.folder / "out.h5").arrays)
    assert explain(call, desk, gradient_bundle.path, *words, "--fold", second_fold.path)[0] == 0
    held = read_attributions(desk.folder / "out.h5")
    parts = [single["hypothetical"].astype(np.float64) for single in singles]
    assert_allclose(held.arrays["hypothetical"], 0.5 * (parts[0] + parts[1]), rtol=1e-5, atol=1e-9)
    # Of two values the standard error is half of their distance.
    assert_allclose(held.arrays["se"], 0.5 * np.abs(parts[0] - parts[1]), rtol=1e-4, atol=1e-9)
    assert_allclose(held.arrays["score"], 0.5 * (singles[0]["score"] + singles[1]["score"]))
    facts = json.loads(held.arrays["facts"][0])
    assert -1.0 <= facts["fold_concordance"] < 0.999
    assert len(held.about["models"]) == 2


@pytest.mark.parametrize(("method", "name", "error"), [("ism", "effects", None), ("occlusion", "effect", "effect_se")])
def test_folds_average_every_array(desk, genome, gradient_bundle, second_fold, method, name, error):
    rows, out = region_rows([Interval("chr1", 4400, 4406)], genome, gradient_bundle.geometry), desk.folder / "every.h5"
    spec = TargetSpec.parse("log SUM", tracks="dnase")
    options = ExplainOptions(method=method, options={"tile_bp": 2} if error else None)

    def arrays(*bundles: Bundle) -> dict[str, np.ndarray]:
        explain_rows(rows, ExplainOutputs(out=out), bundles=bundles, fasta=genome, spec=spec, options=options)
        return read_attributions(out).arrays

    one, two, both = arrays(gradient_bundle), arrays(second_fold), arrays(gradient_bundle, second_fold)
    assert set(both) == {*one, "se", *([error] if error else [])}
    assert np.abs(one[name] - two[name]).max() > 0.0
    assert_allclose(both[name], 0.5 * (one[name].astype(float) + two[name]), rtol=1e-5, atol=1e-9)
    if error:  # of two values half of their distance
        assert_allclose(both[error], 0.5 * np.abs(one[name].astype(float) - two[name]), rtol=1e-4, atol=1e-9)


def test_completeness_is_told_of_folds_too(call, desk, gradient_bundle, second_fold):
    words = ["--region", "chr1:4,101-4,800", "--method", "ig", "--steps", 3, "--references", 1]
    _, _, err = explain(call, desk, gradient_bundle.path, *words, "--fold", second_fold.path)
    folds = json.loads(read_attributions(desk.folder / "out.h5").arrays["facts"][0])["folds"]
    errors = [told["completeness_error"] for told in folds]  # None where the difference is too small to compare with
    assert len(errors) == 2
    assert f"at most {max(error for error in errors if error is not None):.2%}" in err


def test_what_is_no_fold_is_refused(desk, genome, gradient_bundle, second_fold):
    """One model twice would give a standard error of 0; other numbers under the same track names, a wrong mean."""
    info, table = second_fold.info, second_fold.tracks

    def with_tracks(**columns: np.ndarray) -> Bundle:
        other = replace(second_fold)
        vars(other)["tracks"] = replace(table, **columns)  # a cached property
        return other

    n_policy = next(name for name in N_POLICIES if name != info.n_policy)
    rows = region_rows([REGION], genome, gradient_bundle.geometry)
    for other, told in (
        (gradient_bundle, "hold the same model"),
        (with_tracks(scale=table.scale * 2), "scale of track 0"),
        (with_tracks(clip_soft=table.clip_soft + 1), "clip_soft of track"),
        (replace(second_fold, info=replace(info, n_policy=n_policy)), "code of unknown bases"),
    ):
        with pytest.raises(InputError, match=told):
            explain_rows(
                rows,
                ExplainOutputs(out=desk.folder / "no_fold.h5"),
                bundles=[gradient_bundle, other],
                fasta=genome,
                spec=TargetSpec.parse("SUM"),
                options=ExplainOptions(),
            )
    assert not (desk.folder / "no_fold.h5").exists()


def test_other_weights_give_another_map(gradient_bundle, second_fold, genome):
    """Model randomisation: the maps of two networks with random weights have little in common."""
    (row,) = region_rows([Interval("chr1", 4200, 4700)], genome, gradient_bundle.geometry)
    maps = []
    for bundle in (gradient_bundle, second_fold):
        with Explainer(bundle, genome) as opened:
            maps.append(opened.explain(row, TargetSpec.parse("log SUM", tracks="dnase"), ExplainOptions()).projected)
    assert abs(np.corrcoef(*maps)[0, 1]) < 0.5


def test_a_wrong_call_is_told_in_one_line(call, desk, gradient_bundle, toy_bundle):
    bed = desk.folder / "uneven.bed"
    bed.write_text("chr1\t4400\t4461\nchr1\t4430\t4481\n")
    region, hollow = ["--region", "chr1:4,401-4,430"], desk.folder / "hollow"
    hollow.mkdir()
    cases = [
        ([], "give one of --region, --bed, --vcf and --variant, or --gene alone"),
        ([*region, "--bed", bed], "give one of"),
        (["--bed", bed], "need one width"),
        ([*region, "--gene", "ACTB"], "give --genes"),
        ([*region, "--genes", desk.gtf], "name it by --gene"),
        ([*region, "--target", "SUM@exons"], "is of a gene: give --gene"),
        (["--gene", "ACTB", "--genes", desk.gtf, "--target", "SUM"], "is of no gene"),
        ([*region, "--steps", 3], "method 'saliency' has no option 'steps'"),
        ([*region, "--strand", "named"], "leave --strand out"),
        ([*region, "--tracks", "nothing"], "nothing"),
        ([*region, "--target", "D2"], "target 'D2' is unknown"),
        ([*region, "--bigwig", desk.folder / "wrong.h5"], "is another output of the run too"),
        ([*region, "--modisco", desk.folder], "is not an empty directory"),
        ([*region, "--modisco", desk.folder / "wrong.h5"], "is another output of the run too"),
        ([*region, "--bigwig", desk.folder / "folder" / ".." / "wrong.h5"], "is another output of the run too"),
        ([*region, "--modisco", hollow, "--plot", hollow / "wrong.png"], "the directory of modisco; choose another"),
        ([*region, "--modisco", hollow, "--bigwig", hollow / "in" / "wrong.bw"], "the directory of modisco"),
        ([*region, "--plot", desk.folder / "wrong.txt"], "figures are written as .png"),
        (["--gene", "ACTB", "--genes", desk.gtf, "--bigwig", desk.gtf], "is an input, which is never written over"),
        (["--variant", "chr1:4430:ACGTN:A"], "chr1:4430"),
    ]
    for words, message in cases:
        check_error(explain(call, desk, gradient_bundle.path, *words, out="wrong.h5"), message)
    check_error(explain(call, desk, toy_bundle.path, *region, out="wrong.h5"), "has no gradient graphs")
    check_error(explain(call, desk, gradient_bundle.path, *region, out="wrong.txt"), "written as .h5")
    assert not [path for path in desk.folder.rglob("*") if "wrong" in path.name]


def test_what_is_no_file_of_attributions_is_refused(tmp_path):
    for name in ("absent.h5", "text.h5", "other.h5"):
        path = tmp_path / name
        if name == "text.h5":
            path.write_text("no")
        if name == "other.h5":
            with h5py.File(path, "w") as file:
                file.attrs["format"] = "other"
        with pytest.raises(FormatError, match=name):
            read_attributions(path)


def test_no_torch_is_needed(desk, gradient_bundle):
    out = desk.folder / "blocked.h5"
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'tensorflow'): sys.modules[name] = None\n"
        "from borzoi_rt.cli import run\n"
        f"sys.argv = ['borzoi-rt', 'explain', '--bundle', {str(gradient_bundle.path)!r}, "
        f"'--fasta', {str(desk.fasta)!r}, "
        f"'--region', 'chr1:4,401-4,430', '--method', 'ig', '--steps', '2', '--out', {str(out)!r}]\n"
        "run()\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    assert out.exists()
