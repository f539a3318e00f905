"""Polyadenylation sites: the table, which sites a gene has, their bins, and the best split of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from borzoi_rt.bundle.manifest import Geometry
from borzoi_rt.engine.gene_bins import frames_of
from borzoi_rt.engine.options import PredictionOptions
from borzoi_rt.errors import FormatError, InputError
from borzoi_rt.genome.genes import Gene
from borzoi_rt.genome.pas import Sites, read_sites
from borzoi_rt.genome.variants import Variant
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.site_scores import distinct, genes_with_sites, sides_of
from borzoi_rt.scoring.splits import splits

HEADER = "chrom\tposition_hg38\tstrand\tgene\tsite_num\tsite_type\tpas_id"
LAST = "3' most exon"
GRID = Geometry(sequence_length_bp=2048, bin_size_bp=32, bins=48)


def table(path: Path, rows: list[tuple[int, str, str, int, str]]) -> Sites:
    lines = [HEADER, *(f"chr1\t{at}\t{strand}\t{gene}\t{number}\t{kind}\tx" for at, strand, gene, number, kind in rows)]
    path.write_text("\n".join(lines) + "\n")
    return read_sites(path)


def oracle(
    ref: np.ndarray, alt: np.ndarray, pseudo: float, limit: float, first: int, last: int | None
) -> tuple[int, list[float]]:
    """Best split from ``first`` to ``last`` (from the end), one track and one side at a time."""
    tracks, sides = ref.shape
    kept = [i for i in range(sides) if math.fsum(ref[:, i]) / tracks > limit] or list(range(sides))
    values = [[1.0, *((alt[t, i] + pseudo) / (ref[t, i] + pseudo) for i in kept), 1.0] for t in range(tracks)]
    best, found = -1.0, (0, [0.0])
    for j in range(first, len(kept) + 2 if last is None else len(kept) + 2 + last):
        scores = [math.log2((math.fsum(v[j:]) / len(v[j:])) / (math.fsum(v[:j]) / len(v[:j]))) for v in values]
        size = math.fsum(map(abs, scores)) / tracks
        if size > best * (1 + 1e-9):
            best, found = size, (j, scores)
    return found


@pytest.mark.parametrize("limit", [0.0, 60.0, 1e9])
@pytest.mark.parametrize("internal", [False, True])
def test_splits_are_those_of_a_loop(limit: float, internal: bool) -> None:
    seen = set()
    for seed in range(30):
        generator = np.random.default_rng(seed)
        ref = generator.gamma(1.0, 50.0, (3, 6))
        alt = ref * np.where(np.arange(6) < 1 + seed % 5, 0.6, 1.5) * generator.uniform(0.9, 1.1, (3, 6))
        got, split = splits(ref, alt, pseudo=50.0, min_coverage=limit, internal=internal)
        if split is None:
            continue
        position, want = oracle(ref, alt, 50.0, limit, 2 if internal else 1, -1 if internal else None)
        assert split.position == position
        assert_allclose(got, want, rtol=1e-9)
        seen.add(str(split).split()[-1])
    assert seen == {"(internal)"} if internal else "(internal)" in seen


def test_a_change_of_all_sites_is_terminal_and_has_the_sign_of_the_first_split() -> None:
    """log2(mean(2, 2, 1) / 1) at j = 1 and minus that at j = 3: equal in size, and the first counts."""
    ref, alt = np.full((1, 2), 50.0), np.full((1, 2), 150.0)
    got, split = splits(ref, alt, pseudo=50.0, min_coverage=0.0)
    assert_allclose(got, [math.log2(5 / 3)])
    assert str(split) == "split 1 of 3 (terminal)"
    got, split = splits(ref, alt, pseudo=50.0, min_coverage=0.0, internal=True)
    assert_allclose(got, [0.0], atol=1e-12)
    assert str(split) == "split 2 of 3 (internal)"
    one, none = splits(ref[:, :1], alt[:, :1], pseudo=50.0, min_coverage=0.0, internal=True)
    assert np.isnan(one).all()
    assert none is None


def test_equal_alleles_have_no_split_and_a_common_factor_changes_little() -> None:
    generator = np.random.default_rng(1)
    ref = generator.gamma(1.0, 500.0, (4, 8))
    assert_array_equal(splits(ref, ref.copy(), pseudo=50.0, min_coverage=100.0)[0], 0.0)
    alt = ref * generator.uniform(0.5, 2.0, ref.shape)
    few, many = (splits(ref * scale, alt * scale, pseudo=1e-9, min_coverage=0.0)[0] for scale in (1.0, 1000.0))
    assert_allclose(few, many, rtol=1e-9)  # only the pseudo-count tells them apart


def test_sites_of_the_last_exon_and_of_introns(tmp_path: Path) -> None:
    """Number 2 of A is missing, so that its number 1 is no neighbour of the last ones; C has an intron alone."""
    rows = [
        (10, "+", "A", 1, LAST), (30, "+", "A", 3, LAST), (40, "+", "A", 4, LAST),
        (90, "-", "B", 1, "Intron"), (80, "-", "B", 2, LAST), (70, "-", "B", 3, LAST), (75, "-", "B", 4, "Exon"),
        (5, "+", "C", 1, "Intron"),
    ]  # fmt: skip
    sites = table(tmp_path / "pas.tsv", rows)

    def positions(kind: str) -> list[int]:
        return sites.position[sites.of_kind(kind)].tolist()

    assert positions("utr3") == [30, 40, 80, 70]
    assert positions("intron") == [10, 30, 40, 90, 80, 70, 5]
    with pytest.raises(InputError, match="kind of sites 'all' is unknown; allowed: utr3, intron"):
        positions("all")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chrom\tstrand", "line 1: no column 'position_hg38'; found chrom, strand"),
        (HEADER, "no sites below the header"),
        (HEADER + "\nchr1\tx\t+\tA\t1\tIntron\ti", "line 2: position 'x' and site_num '1'; whole numbers are needed"),
        (HEADER + "\nchr1\t5\t.\tA\t1\tIntron\ti", "line 2: strand is '.'"),
        (HEADER + "\nchr1\t5", "line 2: 2 columns, the header has 7"),
    ],
)
def test_what_is_no_table_of_sites(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "pas.tsv").write_text(text)
    with pytest.raises(FormatError, match=message):
        read_sites(tmp_path / "pas.tsv")


def test_bins_on_both_sides_of_a_site(tmp_path: Path) -> None:
    """Position 640 of the output is the edge of bin 20: before [17, 21), behind [20, 24); '-' the other way round."""
    sites = table(tmp_path / "pas.tsv", [(896, "+", "A", 1, LAST), (896, "-", "B", 1, LAST), (257, "+", "C", 1, LAST)])
    options = PredictionOptions().resolved({}, "zero")
    (frame, _), *_ = frames_of(Variant("chr1", 1000, "A", "C"), 0, GRID, options)
    assert sides_of(sites, [0], frame, GRID) == [(17, 21), (20, 24)]
    assert sides_of(sites, [1], frame, GRID) == [(20, 24), (17, 21)]
    assert sides_of(sites, [2], frame, GRID) == [(0, 1), (0, 4)]  # cut at the first bin of the output
    same = [((1, 5), (1, 5)), ((4, 8), (4, 8)), ((1, 5), (1, 5)), ((3, 3), (3, 3))]
    assert distinct(same) == same[:2]


def test_which_sites_a_gene_has(tmp_path: Path) -> None:
    """Within 50 bp of the span, four of five in the output [256, 1792), and each site for one gene."""
    rows = [(at, "+", "A", number, LAST) for number, at in enumerate((455, 600, 700, 1049, 1051), start=1)]
    sites = table(tmp_path / "pas.tsv", rows)
    options = PredictionOptions().resolved({}, "zero")
    frames = frames_of(Variant("chr1", 1000, "A", "C"), 0, GRID, options)
    first, second = (Gene(name, name, "", "1", "+", np.array([(500, 1000)])) for name in "AB")
    how: dict[str, Any] = {"window_start": 0, "geometry": GRID}
    found = genes_with_sites(sites, sites.of_kind("utr3"), ["chr1"], [first, second], frames, **how)
    assert [item.gene.id for item in found] == ["A"]
    assert found[0].covered_fraction == 1.0
    # 455 to 1049, for 1051 is too far; behind 600 and before 700 are the same bins, [11, 15)
    assert len(found[0].layouts["near"][0]) == 2 * 4 - 1
    assert genes_with_sites(sites, sites.of_kind("utr3"), ["chr2"], [first], frames, **how) == []
    late = frames_of(Variant("chr1", 1500, "A", "C"), 400, GRID, options)
    how["window_start"] = 400  # output [656, ...): two of four sites lie before it
    assert genes_with_sites(sites, sites.of_kind("utr3"), ["chr1"], [first], late, **how) == []


@pytest.mark.parametrize(
    ("stats", "message"),
    [
        (("COVR",), "COVR compares sites of genes; write COVR@pas, not @window"),
        (("covr@exons",), "write COVR@pas, not @exons"),
        (("SUM@pas",), "'SUM' is no statistic of region pas; allowed: COVR, SCOVR, COVR_internal, COVRWIDE"),
        (("COVR@splice",), "'COVR' is no statistic of region splice; allowed: JUNC, JUNC_signed, EXON_USAGE"),
        (("JUNC@pas",), "'JUNC' is no statistic of region pas; allowed: COVR"),
        (("junc",), "JUNC compares sites of genes; write JUNC@splice, not @window"),
    ],
)
def test_statistics_of_sites_are_for_sites(stats: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ScoreOptions.for_family("sad", stats=stats)
    assert ScoreOptions.for_family("sad", stats=("scovr@pas",)).specs[0].name == "SCOVR@pas"
