"""Scores of haplotypes: those of single variants where there is one, counted by hand where there are several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pysam
import pysam.bcftools
import pytest
import worlds
from numpy.testing import assert_allclose, assert_array_equal

from borzoi_rt.backends.opening import open_session
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.engine.sessions import EngineOptions, open_engine
from borzoi_rt.errors import InputError
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.variants import Variant, VariantRecord
from borzoi_rt.scoring.haplotypes import HaplotypeOptions
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.results import ScoredVariant
from borzoi_rt.scoring.stream import score_variants

TEXT = worlds.random_dna(9000, seed=33)
POS = 4000
GTF = 'chr1\tx\texon\t{}\t{}\t.\t{}\t.\tgene_id "{}";\n'


def other(base: str) -> str:
    return "ACGT"[("ACGT".index(base) + 1) % 4]


def row(pos: int, call: str, ref_bp: int = 1, more: str = "", form: str = "GT") -> str:
    """One line: an SNV, a deletion down to the anchor where REF is longer, or the insertion of ``more``."""
    ref = TEXT[pos - 1 : pos - 1 + ref_bp]
    alt = ref + more if more else ref[0] if ref_bp > 1 else other(ref)
    return "\t".join(["chr1", str(pos), ".", ref, alt, ".", ".", ".", form, call])


def write(path: Path, rows: Sequence[str], samples: Sequence[str] = ("A",)) -> Path:
    head = [
        "##fileformat=VCFv4.2",
        "##contig=<ID=chr1,length=9000>",
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="g">',
    ]
    names = "\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *samples])
    path.write_text("\n".join([*head, names, *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Fasta:
    return Fasta(worlds.write_fasta(tmp_path_factory.mktemp("genome") / "toy.fa", {"chr1": TEXT}))


@pytest.fixture(scope="module")
def gtf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("genes") / "toy.gtf"
    path.write_text(GTF.format(3700, 3790, "+", "LEFT") + GTF.format(4050, 4300, "-", "RIGHT"))
    return path


@pytest.fixture(scope="module")
def bundle(toy_bundle: Bundle) -> Bundle:
    return worlds.unsquashed(toy_bundle)


def score(variants: Any, bundle: Bundle, genome: Fasta, session: Any = None, **choices: Any) -> list[ScoredVariant]:
    given = {name: choices.pop(name) for name in ("haplotypes", "genes") if name in choices}
    options = ScoreOptions.for_family(choices.pop("family", "hound"), **choices)
    session = session or worlds.counting_session(bundle)
    return list(score_variants(variants, bundle=bundle, fasta=genome, options=options, session=session, **given))


def of_samples(*samples: str, within_bp: int = 1000) -> dict[str, HaplotypeOptions]:
    return {"haplotypes": HaplotypeOptions(samples=samples or ("A",), within_bp=within_bp)}


def vectors(found: ScoredVariant) -> dict[str, np.ndarray]:
    assert found.scores is not None, (found.status, found.detail)
    return found.scores


def same(one: ScoredVariant, two: ScoredVariant) -> None:
    """Every score, bit by bit, and where they come from."""
    assert list(vectors(one)) == list(vectors(two))
    for name, values in vectors(one).items():
        assert_array_equal(values, vectors(two)[name], err_msg=name)
    assert (one.window_start, one.stitch_bin, one.k) == (two.window_start, two.stitch_bin, two.k)


SINGLES = {
    "snv": (1, ""),
    "deletion": (6, ""),
    "long deletion": (70, ""),
    "insertion": (1, "ACGTACGT"),
    "complex": (3, "TT"),
}


@pytest.mark.parametrize("family", ["hound", "sad"])
@pytest.mark.parametrize("indel", ["stitch", "average", "centre_trim"])
@pytest.mark.parametrize("single", SINGLES.values(), ids=SINGLES)
def test_a_haplotype_of_one_variant_is_that_variant(
    bundle: Bundle, genome: Fasta, gtf: Path, tmp_path: Path, family: str, indel: str, single: tuple[int, str]
) -> None:
    """Window scores, regions around the variant and scores of genes, with shifts; 0|1, 1|0, 1/1 and 1 alike."""
    stats = ("SUM", "logSED@span:200", "D2@center:101", "logSUM@exons", "nDi@span")
    how: dict[str, Any] = {"family": family, "indel": indel, "stats": stats, "genes": gtf, "shifts": (0, 1)}
    if indel == "average":  # genes lie elsewhere in arrays that are averaged in squashed space
        how["shift_space"] = "unsquashed"
    line = row(POS, "{}", *single)
    chrom, pos, _, ref, alt = line.split("\t")[:5]
    (want,) = score([Variant(chrom, int(pos), ref, alt)], bundle, genome, **how)
    for call, carrier in (("0|1", 1), ("1|0", 0), ("1/1", 0), ("1/1", 1), ("1", 0)):
        vcf = write(tmp_path / "in.vcf", [line.format(call)])
        found = score(vcf, bundle, genome, **how, **of_samples())
        assert len(found) == (1 if call == "1" else 3)
        same(found[carrier], want)
        none = {"0|1": 0, "1|0": 1}.get(call)
        if none is not None:
            assert all(not values.any() for values in vectors(found[none]).values())


def test_one_variant_on_the_network_of_the_bundle(toy_bundle: Bundle, genome: Fasta, tmp_path: Path) -> None:
    """A real engine with tiles: equal bits again, and no window is computed for the second time."""
    line = row(POS, "0|1", 4)
    session = open_engine(toy_bundle, "cpu", options=EngineOptions())
    try:
        chrom, pos, _, ref, alt = line.split("\t")[:5]
        (want,) = score([Variant(chrom, int(pos), ref, alt)], toy_bundle, genome, session)
        found = score(write(tmp_path / "in.vcf", [line]), toy_bundle, genome, session, **of_samples())
    finally:
        session.close()
    same(found[1], want)
    same(found[2], want)


def counted(text: str, start: int) -> np.ndarray:
    """Coverage of an output window that starts at a base of a text, (tracks, bins)."""
    bins = [text[start + 32 * number : start + 32 * (number + 1)] for number in range(32)]
    counts = np.array([[piece.count(base) for base in "ACGT"] for piece in bins], dtype=np.float64)
    return worlds.WEIGHTS @ counts.T


def consensus(genome: Fasta, vcf: Path, folder: Path, which: int) -> str:
    """The whole haplotype, as bcftools writes it."""
    packed = folder / "in.vcf.gz"
    pysam.tabix_compress(str(vcf), str(packed), force=True)
    pysam.tabix_index(str(packed), preset="vcf", force=True)
    out = folder / f"{which}.fa"
    pysam.bcftools.consensus(
        "-H", str(which), "-s", "A", "-f", str(genome.path), "-o", str(out), str(packed), catch_stdout=False
    )
    return "".join(line.strip() for line in out.read_text().splitlines() if not line.startswith(">"))


def test_several_variants_are_counted_against_the_consensus_of_bcftools(
    bundle: Bundle, genome: Fasta, tmp_path: Path
) -> None:
    """SNVs and indels on both haplotypes, each in its own frame: the sum is that of the bases of its window."""
    rows = [
        row(3900, "0|1"),
        row(3950, "1|0", 1, "GATTACA"),
        row(4010, "1|1", 5),
        row(4040, "0|1", 1, "CC"),
        row(4100, "1|0"),
    ]
    vcf = write(tmp_path / "in.vcf", rows)
    found = score(vcf, bundle, genome, stats=("SUM",), indel="none", merge_strands=False, **of_samples())
    start = 4000 - 512  # the middle of 3900 and 4100 is base 1023 of the window; the output is its inner half
    assert {item.window_start for item in found} == {4000 - 1024}
    texts = [TEXT, *(consensus(genome, vcf, tmp_path, which) for which in (1, 2))]
    assert len({len(text) for text in texts}) == 3
    total = [counted(text, start).sum(axis=1) for text in texts]
    for item, (one, two) in zip(found, ((0, 1), (0, 2), (1, 2)), strict=True):
        assert_allclose(vectors(item)["SUM"], total[two] - total[one], rtol=1e-6)
    assert [item.k for item in found] == [7 - 4, 2 - 4, -5]


def test_parts_between_indels_are_stitched_in_their_own_phase(bundle: Bundle, genome: Fasta, tmp_path: Path) -> None:
    """+7 at 3950 and -20 at 4030 of haplotype 2: three parts, of which each side is read where it is in phase."""
    vcf = write(tmp_path / "in.vcf", [row(3950, "0|1", 1, "GATTACA"), row(4030, "0|1", 21)])
    (_, found, _) = score(vcf, bundle, genome, stats=("D1", "SUM"), merge_strands=False, **of_samples())
    carried = consensus(genome, vcf, tmp_path, 2)
    start = 3990 - 512
    first, second = (3950 - start) // 32, (4030 - start) // 32  # of the base behind either anchor
    assert found.stitch_bin == first
    # Left both as they are; between ALT 7 further on; right ALT has lost 13, so that REF is read 13 further on.
    ref = np.concatenate([counted(TEXT, start)[:, :second], counted(TEXT, start + 13)[:, second:]], axis=1)
    alt = np.concatenate(
        [
            counted(carried, start)[:, :first],
            counted(carried, start + 7)[:, first:second],
            counted(carried, start)[:, second:],
        ],
        axis=1,
    )
    assert_allclose(vectors(found)["SUM"], (alt - ref).sum(axis=1), rtol=1e-6)
    assert_allclose(vectors(found)["D1"], np.abs(alt - ref).sum(axis=1), rtol=1e-6)
    # Nothing differs but around the edits: the bins of bases that both have are equal.
    assert (np.abs(alt - ref).max(axis=0) > 0).sum() <= 4


def test_splitting_a_variant_in_two_records_changes_nothing(
    bundle: Bundle, genome: Fasta, gtf: Path, tmp_path: Path
) -> None:
    """An SNV behind a deletion is the same sequence as one long allele; so are neighbouring SNVs and an MNV."""
    how: dict[str, Any] = {"stats": ("SUM", "D2", "logSED@exons"), "window": "at:3000", "genes": gtf}
    for rows in ([row(POS, "1|1", 4), row(POS + 9, "1|1")], [row(POS, "1|1"), row(POS + 1, "1|1")]):
        vcf = write(tmp_path / "in.vcf", rows)
        first, last = (line.split("\t") for line in rows)
        gap = TEXT[POS - 1 + len(first[3]) : int(last[1]) - 1]
        whole = Variant("chr1", POS, first[3] + gap + last[3], first[4] + gap + last[4])
        (want,) = score([whole], bundle, genome, **how)
        found = score(vcf, bundle, genome, **how, **of_samples())
        for item in found[:2]:
            assert list(vectors(item)) == list(vectors(want))
            for name, values in vectors(item).items():
                assert_array_equal(values, vectors(want)[name])


def test_haplotypes_with_each_other(bundle: Bundle, genome: Fasta, gtf: Path, tmp_path: Path) -> None:
    """Exchanging the two turns signs round; equal ones differ by nothing; sums of SNVs add up; REF is one of them."""
    how: dict[str, Any] = {"stats": ("SUM", "logSUM", "SAX", "D1", "logSED@exons"), "genes": gtf}
    calls = ["0|1", "1|0", "1|1", "0|1"]
    variants = [(3900, 1, ""), (3960, 9, ""), (4020, 1, "TTT"), (4100, 1, "")]

    def run(turn: int = 1, only: str | None = None) -> list[ScoredVariant]:
        rows = [row(pos, (only or call)[::turn], *rest) for call, (pos, *rest) in zip(calls, variants, strict=True)]
        return score(write(tmp_path / "in.vcf", rows), bundle, genome, **how, **of_samples())

    given, turned = run(), run(-1)
    same(turned[0], given[1])
    same(turned[1], given[0])
    for name, values in vectors(given[2]).items():
        assert_allclose(vectors(turned[2])[name], values if name == "D1" else -values, rtol=1e-6, atol=1e-7)
        assert values.any() == (not name.endswith("LEFT"))  # a gene before all variants
    alike = run(only="1|1")
    assert all(not values.any() for values in vectors(alike[2]).values())
    same(alike[0], alike[1])
    lone = run(only="0|1")
    same(lone[2], lone[1])

    snvs = [row(3900, "0|1"), row(3960, "1|0"), row(4020, "1|1")]
    one, two, both = score(write(tmp_path / "in.vcf", snvs), bundle, genome, stats=("SUM",), **of_samples())
    assert_allclose(vectors(both)["SUM"], vectors(two)["SUM"] - vectors(one)["SUM"], rtol=1e-6)


def test_three_windows_are_enough_for_three_comparisons(bundle: Bundle, genome: Fasta, tmp_path: Path) -> None:
    """REF and both haplotypes are predicted once, and a second sample with the same haplotypes costs nothing."""
    session = worlds.counting_session(bundle)
    rows = [row(3900, "0|1\t1|0"), row(3950, "1|0\t0|1")]
    vcf = write(tmp_path / "in.vcf", rows, ("A", "B"))
    found = score(vcf, bundle, genome, session, **of_samples("A", "B"))
    assert session.runs == 3
    same(found[0], found[4])


def test_what_a_sample_has_does_not_depend_on_others(bundle: Bundle, genome: Fasta, tmp_path: Path) -> None:
    rows = [row(3900, "0|1\t0|0"), row(3950, "0|0\t1|1"), row(4000, "1|1\t0|1")]
    vcf = write(tmp_path / "in.vcf", rows, ("A", "B"))
    together = score(vcf, bundle, genome, **of_samples("B", "A"))
    for name in "AB":
        alone = score(vcf, bundle, genome, **of_samples(name))
        own = [item for item in together if item.haplotype is not None and item.haplotype.sample == name]
        for one, two in zip(alone, own, strict=True):
            same(one, two)


def test_records_that_share_an_anchor_are_one_site(bundle: Bundle, genome: Fasta, tmp_path: Path) -> None:
    """An SNV at the anchor of a deletion, one haplotype each or both: sequences are those of the edits."""
    rows = [row(POS, "1|1"), row(POS, "0|1", 5)]
    vcf = write(tmp_path / "in.vcf", rows)
    how: dict[str, Any] = {"stats": ("SUM",), "window": "at:3000"}
    found = score(vcf, bundle, genome, **how, **of_samples())
    ref = TEXT[POS - 1 : POS + 4]
    for item, (one, two) in zip(
        found,
        ((ref, other(ref[0]) + ref[1:]), (ref, other(ref[0])), (other(ref[0]) + ref[1:], other(ref[0]))),
        strict=True,
    ):
        assert item.status == "ok", item.detail
        moved = TEXT[: POS - 1] + one + TEXT[POS + 4 :], TEXT[: POS - 1] + two + TEXT[POS + 4 :]
        sums = [counted(text, 3512).sum(axis=1) for text in moved]
        if len(one) == len(two):
            merged = (sums[1] - sums[0])[[0, 3, 4, 5]] + np.append((sums[1] - sums[0])[[1, 2]], [0, 0])
            assert_allclose(vectors(item)["SUM"], merged)
        assert item.k == len(two) - len(one)


def test_one_bad_variant_spoils_the_haplotypes_that_carry_it(bundle: Bundle, genome: Fasta, tmp_path: Path) -> None:
    bad = "\t".join(["chr1", "3950", ".", other(TEXT[3949]), TEXT[3949], ".", ".", ".", "GT", "0|1"])
    vcf = write(tmp_path / "in.vcf", [row(3900, "1|1"), bad])
    found = score(vcf, bundle, genome, **of_samples())
    assert [item.status for item in found] == ["ok", "ref_mismatch", "ref_mismatch"]
    assert "chr1:3950" in found[1].detail
    snv = Variant("chr1", 3900, TEXT[3899], other(TEXT[3899]))
    (want,) = score([VariantRecord(0, 0, snv, window_start=3925 - 1024)], bundle, genome)
    same(found[0], want)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"ref_policy": "flip"}, "haplotypes need 'strict'"),
        ({"normalize": True}, "spells single variants anew"),
        ({"phase_floor": 3}, "phase_floor is for single indels"),
    ],
)
def test_options_of_single_variants_are_refused(
    bundle: Bundle, genome: Fasta, tmp_path: Path, choices: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        score(write(tmp_path / "in.vcf", [row(POS, "0|1")]), bundle, genome, **choices, **of_samples())


def test_haplotypes_need_a_file(bundle: Bundle, genome: Fasta) -> None:
    with pytest.raises(InputError, match="name a file instead of variants"):
        score(["chr1:4000:A:C"], bundle, genome, **of_samples())
    for wrong, message in (((), "samples is empty"), (("A", "A"), "named twice"), ("A", "a tuple of names")):
        with pytest.raises(InputError, match=message):
            HaplotypeOptions(samples=wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="within_bp is -1"):
        HaplotypeOptions(samples=("A",), within_bp=-1)


def test_the_whole_session_and_tiles_agree(toy_bundle: Bundle, genome: Fasta, tmp_path: Path) -> None:
    rows = [row(3900, "0|1"), row(3950, "1|0", 1, "GATTACA"), row(4010, "1|1", 5)]
    vcf = write(tmp_path / "in.vcf", rows)
    found = []
    for open_ in (open_session, open_engine):
        session = open_(toy_bundle, "cpu")
        try:
            found.append(score(vcf, toy_bundle, genome, session, rc=True, **of_samples()))
        finally:
            session.close()
    for one, two in zip(*found, strict=True):
        for name, values in vectors(one).items():
            assert_allclose(values, vectors(two)[name], rtol=1e-3, atol=1e-3 * np.abs(values).max())
