"""Targets over splice and polyadenylation sites: bins by hand, value and slope by the oracle, and the scores' laws."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import bundles
import numpy as np
import pytest
import toys
import worlds
from command_line import caller, check_error
from numpy.testing import assert_allclose, assert_array_equal
from oracles import targets as oracle

from borzoi_rt.bundle.manifest import Geometry, SquashSpec
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import InputError
from borzoi_rt.explain.attr_file import read_attributions
from borzoi_rt.explain.explainer import ExplainOptions
from borzoi_rt.explain.request import read_request, request_text
from borzoi_rt.explain.rows import Row
from borzoi_rt.explain.target import SITE_PSEUDO, TargetSpec
from borzoi_rt.explain.where import Where, anchored
from borzoi_rt.genome.genes import Gene
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.genome.pas import Sites
from borzoi_rt.model import open_model
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.registry import SITE_STATISTICS, STATISTICS
from borzoi_rt.scoring.splits import paired, shares, usage

GRID = Geometry(sequence_length_bp=128, bin_size_bp=4, bins=24)  # crop 16 bp; output is [16, 112) of the window
START = 1000
TABLE = toys.tracks()

# Exons [1020, 1033) and [1060, 1070) are 4-17 and 44-54 of the output: rounded ends 1, 4 and 11, 14 in bins of 4 bp.
DONOR, ACCEPTOR = ([1, 2, 3], [4, 5, 6, 7]), ([11, 12, 13], [7, 8, 9, 10])
EXONS = [1, 2, 3, 4], [11, 12, 13]  # every bin that they meet
# Sites at 1040, 1052 and 1060: bins round(24 / 4), round(36 / 4) and round(44 / 4), two on each side.
AROUND = [4, 5, 6, 7, 8], [7, 8, 9, 10, 11], [9, 10, 11, 12, 13]
UP = [2, 3, 4, 5, 6], [5, 6, 7, 8, 9], [7, 8, 9, 10, 11]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of the toy tracks (cage+ cage- rna- rna+ dnase chip) on the grid above."""
    made = bundles.write_bundle(tmp_path_factory.mktemp("sites") / "bundle")
    return replace(made, info=replace(made.info, geometry=GRID, squash=SquashSpec(kind="old", unscale=True)))


def where(strand: str = "+", positions: tuple[int, ...] = (1040, 1052, 1060), **changes: Any) -> Where:
    exons = np.array([(1020, 1033), (1060, 1070)], dtype=np.int64)
    gene = Gene(id="G1", name="ACTB", type="", chrom="chr1", strand=strand, exons=exons)
    count = len(positions)
    sites = Sites(
        "pas.tsv",
        *(("chr1",) * count, (strand,) * count, ("ACTB",) * count, ("3' most exon",) * count),
        np.array(positions),
        np.arange(1, count + 1),
    )
    given = {"window_start": START, "anchor": anchored("chr1", 1060, 1068), "gene": gene, "sites": sites}
    return Where(**{**given, **changes})


CASES = [
    ("JUNC@splice", "chr1:1033", [([DONOR[0]], [DONOR[1]])], ["donor chr1:1033"]),
    ("JUNC@splice", "1,061", [([ACCEPTOR[0]], [ACCEPTOR[1]])], ["acceptor chr1:1061"]),
    (
        "JUNC_signed@splice",
        "mean",
        [([exon], [intron]) for exon, intron in (DONOR, ACCEPTOR)],
        ["donor chr1:1033", "acceptor chr1:1061"],
    ),
    ("EXON_USAGE@splice", "exon chr1:1061-1070", [([EXONS[1]], [EXONS[0]])], ["exon chr1:1061-1070"]),
    ("PROP3@pas", "2", [([AROUND[2]], [*AROUND[:2]])], ["split 2 of 2"]),
    ("SPROP3@pas", "split 1 of 2", [([*AROUND[1:]], [AROUND[0]])], ["split 1 of 2"]),
    (
        "COVR3@pas",
        "mean",
        [([*UP[1:]], [UP[0]]), ([UP[2]], [*UP[:2]])],
        ["split 1 of 2", "split 2 of 2"],
    ),
]


@pytest.mark.parametrize(("text", "site", "candidates", "names"), CASES, ids=lambda item: str(item)[:24])
@pytest.mark.parametrize(("kind", "against"), [("old", None), ("none", None), ("new", "chip")])
def test_value_and_slope_are_those_of_the_oracle(bundle, text, site, candidates, names, kind, against):
    spec = TargetSpec.parse(
        text, site=site, site_pseudo=0.7, kind=kind, unscale=kind != "none", tracks="rna+,dnase", against=against
    )
    target = spec.bind(bundle, where())
    assert target.to_json()["sites_used"] == names
    first = target.bins[0]
    columns = sorted({column for pair in candidates for sides in pair for side in sides for column in side})
    assert target.bins == (columns[0], columns[-1] + 1)
    y = np.random.default_rng(3).uniform(0.02, 6.0, (len(target.positions), target.bins[1] - first)).astype(np.float32)
    parameters = [
        {
            "scale": float(TABLE.scale[r]),
            "clip_soft": float(TABLE.clip_soft[r]),
            "sum_stat": TABLE.sum_stat[r],
            "unscale": True,
        }
        for r in target.positions
    ]
    moved = [
        tuple([[column - first for column in side] for side in sides] for sides in candidate)
        for candidate in candidates
    ]

    def exact(squashed: np.ndarray) -> float:
        return oracle.odds(oracle.coverage(kind, squashed, parameters), target.rows, moved, pseudo=0.7)

    value, slopes = target.cotangent(y)
    assert_allclose(value, exact(y.astype(np.float64)), rtol=1e-5, atol=2e-6)
    assert value == target.value(y)
    want = oracle.derivative(exact, y.astype(np.float64))
    assert_allclose(slopes, want, rtol=2e-5, atol=2e-6 * np.abs(want).max())
    assert np.abs(want).max() > 1e-4


def test_of_two_alleles_it_changes_by_the_signed_score(bundle):
    """The score takes the candidate where sites part most, of each track or of their mean; a target is told which."""
    rng = np.random.default_rng(8)
    ref, alt = (rng.uniform(0.0, 5.0, (1, 24)) for _ in range(2))

    def change(text: str, site: str) -> float:
        spec = TargetSpec.parse(text, site=site, tracks="dnase", kind="none", unscale=False, unclip=False)
        target = spec.bind(bundle, where())
        low, high = target.bins
        return target.value(alt[:, low:high].astype(np.float32)) - target.value(ref[:, low:high].astype(np.float32))

    def sums(sides: Any) -> list[np.ndarray]:
        return [np.array([[values[0, list(side)].sum() for side in sides]]) for values in (ref, alt)]

    junctions = paired(*sums([*DONOR, *ACCEPTOR]), SITE_PSEUDO)[0]
    exons = usage(*sums(EXONS), SITE_PSEUDO)[0]
    for text, sites, scores in (
        ("JUNC@splice", ("1033", "1061"), junctions),
        ("EXON_USAGE@splice", ("1021-1033", "1061-1070"), exons),
    ):
        found = [change(text, site) for site in sites]
        assert_allclose(found, scores, rtol=1e-5, atol=1e-7)
    for text, layout in (("PROP3@pas", AROUND), ("COVR3@pas", UP)):
        score, split = shares(*sums(layout), pseudo=SITE_PSEUDO)
        found = [change(text, site) for site in ("1", "2")]
        best = int(np.abs(found).argmax())
        assert best + 1 == split.position
        assert_allclose(found[best], score[0], rtol=1e-5)
    assert ScoreOptions().site_pseudo == SITE_PSEUDO


@pytest.mark.parametrize(
    ("site", "strand", "exon", "intron"),
    [
        ("chr1:1033", "+", [1, 2, 3], [4, 5, 6]),
        ("1:1,033", "+", [1, 2, 3], [4, 5, 6]),
        ("chr1:1061", "+", [11, 12, 13], [8, 9, 10]),
        ("acceptor chr1:1033", "-", [1, 2, 3], [4, 5, 6]),
    ],
)
def test_ratio_of_the_bins_nearest_to_a_splice_site(bundle, site, strand, exon, intron):
    spec = TargetSpec.parse("log RATIO@splice", site=site, tracks="dnase,chip", pseudo=0.5)
    target = spec.bind(bundle, where(strand))
    assert_array_equal(target.columns[0], exon)
    assert_array_equal(target.columns[1], intron)
    y = np.random.default_rng(4).uniform(0.0, 6.0, (2, target.bins[1] - target.bins[0])).astype(np.float32)
    coverage = target.squash.inverse(y.copy()).astype(np.float64)
    top, bottom = (coverage[:, np.array(part) - target.bins[0]].mean() for part in (exon, intron))
    assert_allclose(target.value(y), np.log((top + 0.5) / (bottom + 0.5) + 1e-6), rtol=1e-6)


def test_a_site_is_named_or_refused(bundle):
    for text, fields, changes, message in (
        ("JUNC@splice", {}, {}, "has 2 candidates: donor chr1:1033, acceptor chr1:1061; name one"),
        ("JUNC@splice", {"site": "1034"}, {}, "site '1034' is none of those of JUNC of gene ACTB"),
        ("RATIO@splice", {"site": "mean"}, {}, "RATIO is taken at one splice site"),
        ("EXON_USAGE@splice", {"site": "1033"}, {}, "exon chr1:1021-1033, exon chr1:1061-1070"),
        ("PROP3@pas", {}, {}, "has 2 candidates: split 1 of 2, split 2 of 2"),
        ("PROP3@pas", {}, {"sites": None}, "needs a table of polyadenylation sites"),
        ("JUNC@splice", {}, {"gene": None}, "is of a gene"),
        ("JUNC@splice", {}, {"window_start": 9000}, "has nothing in the output of this window"),
    ):
        with pytest.raises(InputError, match=message):
            TargetSpec.parse(text, **fields).bind(bundle, where(**changes))
    # Where there is one, it is the one: two sites have one split, one site has none.
    assert TargetSpec.parse("PROP3@pas").bind(bundle, where(positions=(1040, 1060))).odds[0].name == "split 1 of 1"
    with pytest.raises(InputError, match="has nothing in the output"):
        TargetSpec.parse("PROP3@pas").bind(bundle, where(positions=(1060,)))


def test_sites_run_with_the_strand(bundle):
    """On '-' the later sites lie to the left; the table numbers them so."""
    target = TargetSpec.parse("PROP3@pas").bind(bundle, where("-", positions=(1060, 1040)))
    (found,) = target.odds
    assert found.top[0].max() < found.bottom[0].min() + 5
    assert found.top[0].min() < found.bottom[0].min()


def test_masks_of_genes(bundle):
    """gene_mask: exons of transcripts that begin in the output, [1016, 1112); gene_body: the span of the gene."""
    early = np.array([(900, 910), (1060, 1070)], dtype=np.int64)
    late = np.array([(1020, 1033), (1080, 1090)], dtype=np.int64)
    exons = np.array([(900, 910), (1020, 1033), (1060, 1070), (1080, 1090)], dtype=np.int64)
    gene = Gene("G1", "ACTB", "", "chr1", "+", exons, (early, late))
    mask = TargetSpec.parse("LFC@gene_mask").bind(bundle, where(gene=gene))
    assert_array_equal(mask.columns[0], [1, 2, 3, 4, 16, 17, 18])  # 4-17 and 64-74 of the output
    body = TargetSpec.parse("ACTIVE_MEAN@gene_body").bind(bundle, where(gene=gene))
    assert_array_equal(body.columns[0], range(19))
    assert (body.spec.name, mask.spec.stat) == ("MEAN@gene_body", "LFC")
    with pytest.raises(InputError, match="holds no bin of the output"):
        TargetSpec.parse("SUM@gene_mask").bind(bundle, where(gene=replace(gene, isoforms=(early,))))


def test_a_splice_site_from_the_command_line_and_from_python(tmp_path, monkeypatch, capsys, gradient_bundle: Bundle):
    call = caller(monkeypatch, capsys)
    fasta = worlds.write_fasta(tmp_path / "t.fa", {"chr1": worlds.random_dna(6000, 19)})
    gtf = tmp_path / "g.gtf"
    gtf.write_text(
        "".join(
            f'chr1\ttoy\texon\t{start}\t{end}\t.\t+\t.\tgene_id "G1"; transcript_id "T1"; gene_name "ACTB";\n'
            for start, end in (("2601", "2728"), ("2985", "3112"))
        )
    )
    words = ["explain", "--region", "chr1:2,701-2,740", "--gene", "ACTB", "--genes", gtf, "--target", "JUNC@splice"]
    words += ["--bundle", gradient_bundle.path, "--fasta", fasta, "--out", tmp_path / "a.h5"]
    check_error(call(*words), "has 2 candidates: donor chr1:2728, acceptor chr1:2985; name one")
    ended = call(*words, "--site", "chr1:2,728", "--site-pseudo", 3)
    assert ended[0] == 0, ended
    held = read_attributions(tmp_path / "a.h5")
    assert held.about["target"]["sites_used"] == ["donor chr1:2728"]
    assert held.about["target"]["site_pseudo"] == 3.0
    assert json.loads(held.arrays["facts"][0]) == {}
    spec = TargetSpec.parse("JUNC@splice", site="2728", site_pseudo=3.0)
    with open_model(gradient_bundle, fasta=fasta) as model:
        found = model.explain(spec, "chr1:2,701-2,740", gene="ACTB", genes=gtf)
        exact = model.explain(spec, "chr1:2,701-2,740", gene="ACTB", genes=gtf, method="ism")
    assert_allclose(held.arrays["hypothetical"][0], found.hypothetical, rtol=1e-5, atol=1e-9)
    assert_allclose(found.value, exact.value, rtol=1e-4, atol=1e-6)
    assert np.corrcoef(found.projected, exact.projected)[0, 1] > 0.5


def test_a_scorer_is_told_transcripts_and_site(bundle):
    """Splice sites are those of transcripts, so that a request holds these; both sides then mean the same bins."""
    early = np.array([(1020, 1033), (1060, 1070)], dtype=np.int64)
    late = np.array([(1020, 1045), (1060, 1070)], dtype=np.int64)
    united = np.array([(1020, 1045), (1060, 1070)], dtype=np.int64)
    gene = Gene("G1", "ACTB", "", "chr1", "+", united, (early, late))
    row = Row(name="r", bases=Interval("chr1", 1050, 1058), where=where(gene=gene, sites=None))
    spec = TargetSpec.parse("JUNC@splice", site="chr1:1033", site_pseudo=2.0)
    asked = read_request(request_text(row, spec, ExplainOptions(), bundle), bundle)
    assert (asked.spec.site, asked.spec.site_pseudo) == ("chr1:1033", 2.0)
    mine, theirs = (item.bind(bundle, where(gene=held)) for item, held in ((spec, gene), (asked.spec, asked.gene)))
    assert mine.odds[0].name == theirs.odds[0].name == "donor chr1:1033"
    for one, other in zip(mine.odds[0].sides, theirs.odds[0].sides, strict=True):
        assert_array_equal(one, other)
    body = json.loads(request_text(row, TargetSpec.parse("SUM@exons"), ExplainOptions(), bundle))
    assert "isoforms" not in body["gene"]


# What measures a distance of two alleles, or divides one by the other.
OF_TWO = {
    *("SAX", "D1", "D2", "logD1", "logD2", "sqrtD1", "sqrtD2", "JS", "logJS", "nD1", "nD2", "nDi", "nDi_signed"),
    *("L2_DIFF", "L2_DIFF_LOG1P", "MAX_DIFF"),
    *("COVR", "SCOVR", "COVR_internal", "COVRWIDE", "SCOVRWIDE", "POLYADENYLATION"),
}


def test_every_score_that_says_something_of_one_sequence_is_a_target():
    known = {name for family in STATISTICS.values() for name in family} | set(SITE_STATISTICS)
    assert known > OF_TWO
    for name in known - OF_TWO:
        held = SITE_STATISTICS.get(name)
        TargetSpec.parse(name if held is None else f"{name}@{held.region}")
    for name in OF_TWO:
        with pytest.raises(InputError, match="explain no single sequence"):
            TargetSpec.parse(name)
