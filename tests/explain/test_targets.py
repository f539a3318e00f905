"""Targets: what they are made of, what they give, and their slope."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import bundles
import numpy as np
import pytest
import toys
from numpy.testing import assert_allclose, assert_array_equal
from oracles import targets as oracle

from borzoi_rt.bundle.manifest import Geometry, SquashSpec
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.engine.gene_bins import Frame
from borzoi_rt.errors import InputError
from borzoi_rt.explain.target import TargetSpec
from borzoi_rt.explain.where import Where, anchored
from borzoi_rt.genome.genes import Gene
from borzoi_rt.genome.pas import Sites
from borzoi_rt.scoring.statistics import find_statistics, score_pair

GRID = Geometry(sequence_length_bp=128, bin_size_bp=4, bins=24)  # crop 16 bp; output is [16, 112) of the window
START = 1000
TABLE = toys.tracks()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of the toy tracks (cage+ cage- rna- rna+ dnase chip) on the grid above."""
    made = bundles.write_bundle(tmp_path_factory.mktemp("targets") / "bundle")
    return replace(made, info=replace(made.info, geometry=GRID, squash=SquashSpec(kind="old", unscale=True)))


def gene(strand: str = "+", exons: Any = ((1020, 1033), (1060, 1070))) -> Gene:
    return Gene(
        id="G1", name="ACTB", type="protein_coding", chrom="chr1", strand=strand, exons=np.array(exons, dtype=np.int64)
    )


def where(**changes: Any) -> Where:
    return Where(**{"window_start": START, "anchor": anchored("chr1", 1060, 1068), "gene": gene(), **changes})


def squash_of(kind: str, rows: Any, **more: Any) -> list[dict[str, Any]]:
    return [
        {"scale": float(TABLE.scale[r]), "clip_soft": float(TABLE.clip_soft[r]), "sum_stat": TABLE.sum_stat[r], **more}
        for r in rows
    ]


def predicted(tracks: int, bins: int, seed: int = 3) -> np.ndarray:
    """Squashed coverage on both sides of every knee (clip_soft 2, scales 0.1 to 2)."""
    return np.random.default_rng(seed).uniform(0.02, 6.0, (tracks, bins)).astype(np.float32)


@pytest.mark.parametrize(
    ("stat", "log", "kind", "against"),
    [
        *itertools.product(oracle.FORMULAS, [False, True], ["old", "none"], [None]),
        ("SUM", True, "new", "dnase,chip"),
        ("MEAN", False, "bp_new", "rna"),
        ("logSED", False, "bp_old", "chip"),
    ],
)
def test_value_and_cotangent_are_those_of_the_oracle(bundle, stat, log, kind, against):
    spec = TargetSpec(
        stat=stat, log=log, kind=kind, unscale=kind != "none", tracks="cage,rna+,dnase", against=against, region="exons"
    )
    target = spec.bind(bundle, where())
    # Gene of strand +: cage- is not there. Exons [1020, 1033) and [1060, 1070): bins 1-4 and 11-13 of 4 bp from 1016.
    assert_array_equal(target.columns[0], [1, 2, 3, 4, 11, 12, 13])
    assert target.bins == (1, 14)
    names = [TABLE.identifier[position] for position in target.positions]
    assert names[:3] == ["cage+", "rna+", "dnase"]
    y = predicted(len(names), 13)
    parameters = squash_of(kind, target.positions, unscale=True)
    columns = [(target.columns[0] - 1).tolist()]

    def exact(squashed: np.ndarray) -> float:
        return oracle.value(stat, oracle.coverage(kind, squashed, parameters), target.rows, columns, log=log)

    held = y.copy()
    value, slopes = target.cotangent(y)
    # The inverse is float32, and two sides of a contrast cancel.
    assert_allclose(value, exact(y.astype(np.float64)), rtol=3e-6, atol=0.0 if against is None else 5e-6)
    assert value == target.value(y)
    assert_array_equal(y, held)
    want = oracle.derivative(exact, y.astype(np.float64))
    assert_allclose(slopes, want, rtol=2e-5, atol=2e-6 * np.abs(want).max())
    assert np.abs(want).max() > 1e-4


def test_slope_at_the_knee_is_that_of_the_lower_branch(bundle):
    """old, chip: p / 0.5 is 2 = clip_soft at p = 1; below slope 1 / 0.5, above 2 (p - c) / 0.5 with p - c = 0."""
    target = TargetSpec(tracks="chip").bind(bundle, where())
    below, above = np.nextafter(np.float32(1), np.float32(0)), np.nextafter(np.float32(1), np.float32(2))
    y = np.zeros((1, 24), dtype=np.float32)
    y[0, :4] = below, 1.0, above, 2.0
    _, slopes = target.cotangent(y)
    # Above the knee p = 4 at y = 2: d/dp (2 + (p - 2)^2) = 4; right above it, it begins at 0.
    assert_allclose(slopes[0, :4], [2.0, 2.0, 0.0, 8.0], atol=1e-5)


def test_the_difference_of_two_alleles_is_the_score_of_the_same_name(bundle):
    ref, alt = predicted(6, 24, 1), predicted(6, 24, 2)
    for name in ("SUM", "SED", "logSUM", "sqrtSUM", "logSED", "DIFF_MEAN", "LFC"):
        target = TargetSpec.parse(name).bind(bundle, where())
        squash = bundle.squash()
        scores = score_pair(
            squash.inverse(ref.copy())[None],
            squash.inverse(alt.copy())[None],
            statistics=find_statistics([name], "hound"),
        )
        assert_allclose(target.value(alt) - target.value(ref), scores[name].mean(dtype=np.float64), rtol=1e-5)


def test_a_contrast_changes_its_sign_when_its_sides_are_exchanged(bundle):
    one = TargetSpec.parse("log SUM", tracks="cage", against="chip,dnase").bind(bundle, where())
    other = TargetSpec.parse("log SUM", tracks="chip,dnase", against="cage").bind(bundle, where())
    assert sorted(one.positions) == sorted(other.positions) == [0, 1, 4, 5]
    y = predicted(6, 24)
    assert_allclose(one.value(y[one.positions]), -other.value(y[other.positions]), rtol=1e-12)
    assert one.value(y[one.positions]) != 0.0
    same = TargetSpec.parse("SUM", tracks="cage", against="cage").bind(bundle, where())
    value, slopes = same.cotangent(y[same.positions])
    assert value == 0.0
    assert not slopes.any()


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("SUM", range(24)),
        ("SUM@span:20", range(10, 15)),  # middle 1064 = base 48 of the output: 5 bins of 4 bp around it, as scores take
        ("SUM@center:9", range(11, 14)),  # 3 bins around bin 12
        ("SUM@exons", [1, 2, 3, 4, 11, 12, 13]),
        ("SUM@span", range(1, 14)),
        ("MEAN@tss:8", [0, 1]),  # [1016, 1024)
    ],
)
def test_regions(bundle, text, columns):
    target = TargetSpec.parse(text).bind(bundle, where())
    assert_array_equal(target.columns[0], list(columns))
    assert target.spec.name == text


@pytest.mark.parametrize(
    ("strand", "before", "behind"), [("+", [6, 7, 8, 9], [10, 11, 12, 13, 14]), ("-", [9, 10, 11, 12], [4, 5, 6, 7, 8])]
)
def test_ratio_at_the_last_polyadenylation_site(bundle, strand, before, behind):
    """Base 1053 is 37 of the output: round(37 / 4) = 9, round(38 / 4) = 10 (9.5, halves to even)."""
    position = 1053 if strand == "+" else 1052  # 36 / 4 = 9 and 37 / 4 -> 9
    sites = Sites("pas.tsv", ("chr1",), (strand,), ("ACTB",), ("3' most exon",), np.array([position]), np.array([1]))
    target = TargetSpec.parse("log RATIO@pas", tracks="dnase,chip", pseudo=0.5).bind(
        bundle, where(gene=gene(strand), sites=sites)
    )
    low = 10 if strand == "+" else 9
    assert_array_equal(target.columns[0], before if strand == "-" else [low - 4, low - 3, low - 2, low - 1])
    assert_array_equal(target.columns[1], behind if strand == "-" else range(low + 1, low + 6))
    y = predicted(2, target.bins[1] - target.bins[0])
    parameters = squash_of("old", target.positions, unscale=True)
    columns = [(part - target.bins[0]).tolist() for part in target.columns]

    def exact(squashed: np.ndarray) -> float:
        unsquashed = oracle.coverage("old", squashed, parameters)
        return oracle.value("RATIO", unsquashed, target.rows, columns, log=True, pseudo=0.5)

    value, slopes = target.cotangent(y)
    assert_allclose(value, exact(y.astype(np.float64)), rtol=1e-6)
    want = oracle.derivative(exact, y.astype(np.float64))
    assert_allclose(slopes, want, rtol=2e-5, atol=2e-6 * np.abs(want).max())


def test_the_frame_of_an_allele_moves_bins_behind_it(bundle):
    """12 bases more at 1040 move the second exon by three bins, the first stays."""
    frame = Frame(START + GRID.crop_bp, ((1040, 1, 13),))
    target = TargetSpec.parse("SUM@exons").bind(bundle, where(frame=frame))
    assert_array_equal(target.columns[0], [1, 2, 3, 4, 14, 15, 16])


def test_tracks_of_the_other_strand(bundle):
    names = [TABLE.identifier[p] for p in TargetSpec.parse("SUM@exons").bind(bundle, where(gene=gene("-"))).positions]
    assert names == ["cage-", "rna-", "dnase", "chip"]
    every = TargetSpec.parse("SUM@exons", strand="named").bind(bundle, where(gene=gene("-")))
    assert len(every.positions) == 6
    assert len(TargetSpec.parse("SUM").bind(bundle, where(gene=gene("-"))).positions) == 6  # no region of the gene
    with pytest.raises(InputError, match=r"tracks 'cage\+' are all of strand \+, gene ACTB is of strand -"):
        TargetSpec.parse("SUM@exons", tracks="cage+").bind(bundle, where(gene=gene("-")))


def test_a_target_goes_to_json_and_back(bundle):
    spec = TargetSpec.parse("ln sad@tss:500", tracks="cage", against="rna", pseudo=2.5, unscale=False)
    assert spec.name == "log SUM@tss:500"
    assert TargetSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    bound = json.loads(json.dumps(spec.bind(bundle, where()).to_json()))
    assert bound["squash"] == {"kind": "old", "unscale": False, "unclip": True}
    assert bound["tracks_count"] == [1, 1]
    with pytest.raises(InputError, match="unknown field 'colour'"):
        TargetSpec.from_json({"colour": "red"})


def test_the_squashed_scale_can_be_kept(bundle):
    target = TargetSpec.parse("SUM", tracks="rna+", squashed=True).bind(bundle, where())
    y = predicted(1, 24)
    value, slopes = target.cotangent(y)
    assert_allclose(value, y.sum(dtype=np.float64))
    assert_array_equal(slopes, np.ones((1, 24)))
    assert target.to_json()["squash"]["kind"] == "none"


@pytest.mark.parametrize(
    ("text", "fields", "message"),
    [
        ("D2", {}, "target 'D2' is unknown; allowed: SUM, MEAN"),
        ("SUM@nowhere", {}, "region 'nowhere' is unknown"),
        ("log SUM@splice", {}, "allowed: RATIO@splice, JUNC@splice, EXON_USAGE@splice"),
        ("JUNC@pas", {}, "write JUNC@splice"),
        ("PROP3", {}, "PROP3 compares sites; write PROP3@pas"),
        ("COVR@pas", {}, "as D2, JS and COVR, explain no single sequence"),
        ("POLYADENYLATION@pas", {}, "explain no single sequence"),
        ("log JUNC@splice", {}, "JUNC is a logarithm already"),
        ("SUM@exons", {"site": "mean"}, "is of no site that can be named"),
        ("RATIO@pas", {"site": "mean"}, "is of no site that can be named"),
        ("RATIO@splice", {"site_pseudo": 1.0}, "target RATIO@splice has no site_pseudo"),
        ("JUNC@splice", {"sites": "utr3"}, "target JUNC@splice has no sites"),
        ("PROP3@pas", {"sites": "utr5"}, "allowed: utr3, intron"),
        ("JUNC@splice", {"site_pseudo": 0.0}, "site_pseudo is 0.0"),
        ("log log SUM", {}, "cannot be read"),
        ("log2 SUM", {}, "cannot be read"),
        ("", {}, "cannot be read"),
        ("SUM", {"pseudo": 1.0}, "belongs to the logarithm"),
        ("log SUM", {"pseudo": float("nan")}, "pseudo is nan"),
        ("SUM", {"strand": "both"}, "allowed: gene, named"),
        ("SUM", {"kind": "older"}, "allowed: old, new"),
        ("SUM", {"squashed": True, "unscale": True}, "squashed keeps the squashed scale"),
        ("SUM", {"squashed": "no"}, "True or False"),
        ("SUM@pas", {}, "allowed: RATIO@pas, PROP3@pas"),
        ("RATIO", {}, "write RATIO@pas or RATIO@splice"),
    ],
)
def test_what_is_no_target_is_refused(text, fields, message):
    with pytest.raises(InputError, match=message):
        TargetSpec.parse(text, **fields)


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        ("SUM@exons", {"gene": None}, "belongs to a gene"),
        ("SUM@exons", {"gene": gene(exons=((5000, 5010),))}, "holds no bin of the output"),
        ("SUM@center:8", {"anchor": None}, "around a position"),
        ("SUM@center:8", {"anchor": anchored("chr1", 9000, 9002)}, "holds no bin"),
        ("RATIO@pas", {}, "needs a table of polyadenylation sites"),
    ],
)
def test_a_target_without_bins_is_refused(bundle, text, changes, message):
    with pytest.raises(InputError, match=message):
        TargetSpec.parse(text).bind(bundle, where(**changes))


def test_coverage_of_another_shape_is_refused(bundle):
    target = TargetSpec.parse("SUM@exons").bind(bundle, where())
    with pytest.raises(InputError, match=r"coverage has shape \(1, 2\)"):
        target.value(np.ones((1, 2), dtype=np.float32))
