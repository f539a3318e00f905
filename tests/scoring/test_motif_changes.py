"""Motifs that variants make and break, against a scan of both alleles by plain text."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.engine.alleles import Comparison, Edit
from borzoi_rt.errors import InputError
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.variants import Variant
from borzoi_rt.motifs.matrices import Motif
from borzoi_rt.motifs.scan import MotifScanner
from borzoi_rt.runs.explain import ExplainOptions
from borzoi_rt.runs.score import score_file
from borzoi_rt.scoring.haplotypes import HaplotypeOptions
from borzoi_rt.scoring.motif_changes import Match, motif_changes
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.sequence import encode

SITE = "TGACGTCATG"  # not its own reverse complement
POS = 2001
PVALUE = 2e-6  # above 4^-10: of ten bases all must agree
TEXT = worlds.random_dna(2000, 4) + SITE + worlds.random_dna(500, 5) + "CAG" * 12 + worlds.random_dna(1500, 6)


def of_text(name: str, text: str) -> Motif:
    """A motif that holds one word."""
    matrix = np.full((4, len(text)), 0.01)
    matrix[["ACGT".index(base) for base in text], np.arange(len(text))] = 0.97
    return Motif(name, matrix)


MOTIFS = [
    of_text("SITE", SITE),
    of_text("EDIT", SITE[:4] + "A" + SITE[5:]),
    of_text("CAG4", "CAG" * 4),
    of_text("FAR", TEXT[100:110]),
]


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Fasta:
    return Fasta(
        worlds.write_fasta(tmp_path_factory.mktemp("genome") / "g.fa", {"chr1": TEXT, "chr2": "ACGTNNNNNNNNACGTA"})
    )


@pytest.fixture(scope="module")
def scanner() -> MotifScanner:
    return MotifScanner(MOTIFS, pvalue=PVALUE)


def found(fasta: Fasta, scanner: MotifScanner, *variant: object) -> dict[str, tuple[str, Match | None, Match | None]]:
    changes = motif_changes(fasta, Variant("chr1", *variant), scanner)  # type: ignore[arg-type]
    return {item.motif.name: (item.change, item.ref, item.alt) for item in changes}


def test_a_substitution_turns_one_motif_into_another(fasta: Fasta, scanner: MotifScanner) -> None:
    changes = found(fasta, scanner, POS + 4, "G", "A")
    assert {name: change for name, (change, _, _) in changes.items()} == {"SITE": "lost", "EDIT": "gained"}
    _, ref, alt = changes["SITE"]
    best = 10 * np.log2(0.971 / 1.004 * 4)  # 0.97 and a pseudo-count of 0.001 in each of four
    assert ref == Match(pytest.approx(best), POS, "+", SITE)
    assert alt is not None
    assert (alt.start, alt.bases) == (POS, SITE[:4] + "A" + SITE[5:])
    assert alt.score == pytest.approx(best - np.log2(0.971 / 0.011))
    back = {item.motif.name: item for item in motif_changes(fasta, Variant("chr1", POS + 4, "A", "G"), scanner)}
    assert {name: item.change for name, item in back.items()} == {"SITE": "gained", "EDIT": "lost"}


def test_the_other_strand_counts(fasta: Fasta) -> None:
    scanner = MotifScanner([of_text("BACK", worlds.reverse_complement(SITE))], pvalue=PVALUE)
    change, ref, _ = found(fasta, scanner, POS + 4, "G", "A")["BACK"]
    assert ref is not None
    assert (change, ref.start, ref.strand, ref.bases) == ("lost", POS, "-", SITE)


def test_insertions_and_deletions(fasta: Fasta, scanner: MotifScanner) -> None:
    """In the middle they break the site; at its end they leave it; an insertion of a site makes one."""
    anchor = TEXT[POS + 2]
    assert found(fasta, scanner, POS + 3, anchor, anchor + "TTT")["SITE"][0] == "lost"
    assert found(fasta, scanner, POS + 3, TEXT[POS + 2 : POS + 5], anchor)["SITE"][0] == "lost"
    assert "SITE" not in found(fasta, scanner, POS + 9, SITE[-1], SITE[-1] + "TT")
    change, _, alt = found(fasta, scanner, 1000, TEXT[999], TEXT[999] + SITE)["SITE"]
    assert alt is not None
    assert (change, alt.start, alt.bases) == ("gained", 1001, SITE)


def test_an_indel_among_repeats_breaks_nothing_that_is_left(fasta: Fasta, scanner: MotifScanner) -> None:
    """One of twelve repeats less leaves four in a row, however it is written; nine less do not."""
    start = TEXT.index("CAG" * 12)
    for number in (0, 5, 11):
        pos = start + 3 * number
        assert "CAG4" not in found(fasta, scanner, pos, TEXT[pos - 1 : pos + 3], TEXT[pos - 1])
    assert found(fasta, scanner, start, TEXT[start - 1 : start + 27], TEXT[start - 1])["CAG4"][0] == "lost"


def test_stronger_and_weaker(fasta: Fasta) -> None:
    """Both alleles reach a threshold that is low."""
    weak = of_text("WEAK", SITE)
    weak.matrix[:, 4] = [0.3, 0.1, 0.5, 0.1]
    scanner = MotifScanner([weak])
    assert found(fasta, scanner, POS + 4, "G", "A")["WEAK"][0] == "weaker"
    (item,) = motif_changes(
        fasta, Comparison((Edit(POS + 3, 1, "A", "G", POS + 4),), Variant("chr1", POS + 4, "N", "N")), scanner
    )
    assert item.change == "stronger"
    assert item.difference == pytest.approx(np.log2(0.501 / 0.301))


@settings(max_examples=60, deadline=None)
@given(at=st.integers(1970, 2040), held=st.integers(1, 6), alt=st.text(alphabet="ACGT", min_size=1, max_size=6))
def test_what_is_gained_is_in_alt_alone(fasta: Fasta, at: int, held: int, alt: str) -> None:
    """Laws: ALT and REF exchanged turn gained into lost; a motif that both alleles hold as often is neither."""
    motifs = [of_text("A", "ACGT"), of_text("B", "TTGC"), of_text("C", "GGA"), of_text("D", SITE)]
    scanner = MotifScanner(motifs, pvalue=0.002)
    ref = TEXT[at : at + held]
    edit, back = Edit(at, held, ref, alt, at + 1), Edit(at, held, alt, ref, at + 1)
    anchor = Variant("chr1", at + 1, "N", "N")
    there = {item.motif.name: item for item in motif_changes(fasta, Comparison((edit,), anchor), scanner)}
    turned = {item.motif.name: item for item in motif_changes(fasta, Comparison((back,), anchor), scanner)}
    opposite = {"gained": "lost", "lost": "gained", "stronger": "weaker", "weaker": "stronger"}
    assert {name: opposite[item.change] for name, item in there.items()} == {
        name: item.change for name, item in turned.items()
    }
    edited = TEXT[:at] + alt + TEXT[at + held :]
    for name, item in there.items():
        motif = next(one for one in motifs if one.name == name)
        width = motif.matrix.shape[1]
        counts = [
            sum(
                hit.start >= at - width and hit.start <= at + 20
                for hit in scanner.hits(encode(text))[motifs.index(motif)]
            )
            for text in (TEXT, edited)
        ]
        if item.change == "gained":
            assert counts[1] > 0
        for match, text in ((item.ref, TEXT), (item.alt, edited)):
            if match is not None:
                assert text[match.start - 1 : match.start - 1 + width] == match.bases
    assert motif_changes(fasta, Comparison((Edit(at, held, ref, ref, at + 1),), anchor), scanner) == []


def test_unknown_bases_match_nothing(fasta: Fasta) -> None:
    scanner = MotifScanner([of_text("M", "ACGTACGT")], pvalue=0.01)
    assert motif_changes(fasta, Variant("chr2", 13, "A", "T"), scanner) == []


def write_motifs(path: Path) -> Path:
    lines = []
    for motif in MOTIFS:
        lines.append(f">{motif.name} second")
        for base, row in zip("ACGT", motif.matrix, strict=True):
            lines.append(f"{base} [ {' '.join(str(round(100 * value)) for value in row)} ]")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_strongest_alleles_of_a_run_are_explained(toy_bundle: Bundle, fasta: Fasta, tmp_path: Path) -> None:
    rows = [
        f"chr1 {POS + 4} site G A",
        "chr1 900 bad N A",
        f"chr1 1900 far {TEXT[1899]} {'ACGT'[('ACGT'.index(TEXT[1899]) + 1) % 4]}",
    ]
    vcf = worlds.write_vcf(tmp_path / "in.vcf", rows)
    options = ScoreOptions.for_family("hound", stats=("logSUM", "D2"))
    how = {"bundle": toy_bundle, "fasta": fasta.path, "options": options}
    explain = ExplainOptions(motifs=write_motifs(tmp_path / "m.jaspar"), top=5, by="D2", pvalue=PVALUE)
    out = tmp_path / "out.tsv"
    score_file(vcf, out, explain=explain, **how)  # type: ignore[arg-type]
    about = json.loads((tmp_path / "out.tsv.motifs.json").read_text())
    assert (about["motif_file"], about["motifs"], about["pvalue"], about["ranked_by"]) == ("m.jaspar", 4, PVALUE, "D2")
    with out.open() as handle:
        table = [row for row in csv.DictReader(handle, delimiter="\t") if row["stat"] == "D2"]
    best = {
        name: max((row for row in table if row["id"] == name), key=lambda row: abs(float(row["score"])))
        for name in ("site", "far")
    }
    order = sorted(best, key=lambda name: -float(best[name]["score"]))
    assert [(item["rank"], item["id"]) for item in about["alleles"]] == list(
        enumerate(order, start=1)
    )  # none for a failed one
    for item in about["alleles"]:
        assert (item["track_id"], np.float32(item["score"])) == (
            best[item["id"]]["track_id"],
            np.float32(best[item["id"]]["score"]),
        )
    with (tmp_path / "out.tsv.motifs.tsv").open() as handle:
        cells = {(row["id"], row["motif"]): row for row in csv.DictReader(handle, delimiter="\t")}
    assert {key: row["change"] for key, row in cells.items()} == {("site", "SITE"): "lost", ("site", "EDIT"): "gained"}
    lost = cells["site", "SITE"]
    assert (lost["motif_name"], lost["ref_start"], lost["ref_strand"], lost["ref_bases"]) == (
        "second",
        str(POS),
        "+",
        SITE,
    )
    assert "sample" not in lost
    plain = tmp_path / "plain.tsv"
    score_file(vcf, plain, **how)  # type: ignore[arg-type]
    assert plain.read_bytes() == out.read_bytes()
    score_file(vcf, out, **how)  # type: ignore[arg-type]
    assert not (tmp_path / "out.tsv.motifs.tsv").exists()  # of an earlier output it says nothing true any more


def test_haplotypes_are_explained_too(toy_bundle: Bundle, fasta: Fasta, tmp_path: Path) -> None:
    """Two variants of one haplotype that only together break the site's twin: the haplotype as a whole is looked at."""
    head = ["##fileformat=VCFv4.2", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS1"]
    lines = [f"chr1 {POS + 4} a G A . . . GT 0|1", f"chr1 {POS + 6} b {SITE[6]} G . . . GT 0|1"]
    (tmp_path / "in.vcf").write_text("\n".join([*head, *("\t".join(line.split()) for line in lines)]) + "\n")
    explain = ExplainOptions(motifs=write_motifs(tmp_path / "m.jaspar"), top=1, pvalue=PVALUE)
    score_file(
        tmp_path / "in.vcf",
        tmp_path / "out.parquet",
        bundle=toy_bundle,
        fasta=fasta.path,
        haplotypes=HaplotypeOptions(samples=("S1",)),
        explain=explain,
    )
    (item,) = json.loads((tmp_path / "out.parquet.motifs.json").read_text())["alleles"]
    assert (item["sample"], item["haplotype"], item["against"]) == ("S1", "2", "reference")
    assert [(change["motif"], change["change"]) for change in item["motifs"]] == [
        ("SITE", "lost")
    ]  # EDIT needs a alone


def test_what_cannot_be_explained_is_said(toy_bundle: Bundle, fasta: Fasta, tmp_path: Path) -> None:
    vcf = worlds.write_vcf(tmp_path / "in.vcf", [f"chr1 {POS + 4} site G A"])
    motifs = write_motifs(tmp_path / "m.jaspar")
    with pytest.raises(InputError, match="by is 'JS'; the scores of this run are SUM, logSUM, logSED"):
        score_file(
            vcf,
            tmp_path / "out.tsv",
            bundle=toy_bundle,
            fasta=fasta.path,
            explain=ExplainOptions(motifs=motifs, by="JS"),
        )
    with pytest.raises(InputError, match="top is 0"):
        ExplainOptions(motifs=motifs, top=0)
    held = write_motifs(tmp_path / "out.tsv.motifs.tsv")
    explain = ExplainOptions(motifs=held)
    with pytest.raises(InputError, match=r"out.tsv.motifs.tsv: is an input"):
        score_file(vcf, tmp_path / "out.tsv", bundle=toy_bundle, fasta=fasta.path, explain=explain)
