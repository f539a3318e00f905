"""The demo with the embedded bundle: known variants, honest truth, the promised separation."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from borzoi_rt import open_model
from borzoi_rt.demo import run as demo_run
from borzoi_rt.demo.accuracy import auroc
from borzoi_rt.demo.data import (
    CAUSAL_LOG2_FOLD,
    CLASSES,
    MATCH_BP,
    NEAR_BP,
    PlantedVariant,
    log2_fold,
    nearest_tss,
    site_of,
    write_demo_data,
)
from borzoi_rt.demo.grammar import MOTIFS, promoters, reverse_complement
from borzoi_rt.demo.run import embedded_bundle, read_hits, run_demo
from borzoi_rt.errors import FormatError, InputError
from borzoi_rt.explain.attr_file import read_attributions
from borzoi_rt.genome.annotation import read_genes
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.variants import Variant
from borzoi_rt.motifs.files import read_motifs
from borzoi_rt.motifs.scan import MotifScanner
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.sequence import encode

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, demo_run.DemoReport]:
    folder = tmp_path_factory.mktemp("demo") / "out"
    return folder, run_demo(folder)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[PlantedVariant]]:
    folder = tmp_path_factory.mktemp("data")
    fasta, _, items = write_demo_data(folder)
    return fasta, items


def test_the_motif_file_finds_the_planted_words_and_no_others(planted: tuple[Path, list[PlantedVariant]]) -> None:
    """With the p-value that every command takes; counted as text on both strands."""
    fasta, _ = planted
    motifs = read_motifs(fasta.with_name("motifs.meme"))
    assert [motif.name for motif in motifs] == list(MOTIFS)
    text = fasta.read_text().split(">")[1].partition("\n")[2].replace("\n", "")
    for word, hits in zip(MOTIFS.values(), MotifScanner(motifs).hits(encode(text)), strict=True):
        found = {(hit.start, hit.strand) for hit in hits}
        other = reverse_complement(word)
        want = {(at.start(), "+") for at in re.finditer(f"(?={word})", text)}
        assert found == want | {(at.start(), "-") for at in re.finditer(f"(?={other})", text)}
        assert len(found) > 10


def test_starts_of_transcription_are_those_of_the_genes(planted: tuple[Path, list[PlantedVariant]]) -> None:
    folder = planted[0].parent
    first = {}
    for line in (folder / "genes.gtf").read_text().splitlines():
        if "exon_number 1;" in line:
            cells = line.split("\t")
            start, end = int(cells[3]), int(cells[4])
            first[line.split('"')[1]] = (cells[0], start - 1 if cells[6] == "+" else end - 1, cells[6])
    rows = [line.split("\t") for line in (folder / "tss.bed").read_text().splitlines()]
    assert {row[3]: (row[0], int(row[1]), row[5]) for row in rows} == first
    assert all(int(row[2]) == int(row[1]) + 1 for row in rows)


def test_causal_variants_are_told_from_neutral_ones(finished: tuple[Path, demo_run.DemoReport]) -> None:
    _, report = finished
    assert Counter(hit.planted.kind for hit in report.hits) == CLASSES
    model, distance, motif = report.classifiers
    assert [one.name for one in report.classifiers] == ["model, logD2", "TSS distance", "motif changed"]
    assert model.auroc.low > max(distance.auroc.high, motif.auroc.high, 0.9)
    assert model.average_precision.low > max(distance.average_precision.high, motif.average_precision.high, 0.9)
    assert distance.auroc.low < 0.5 < distance.auroc.high
    assert model.hard.low > 0.8
    assert motif.hard.value < 0.5  # every one of these neutral variants changes a motif
    for one in report.classifiers:
        for part in (one.auroc, one.average_precision, one.hard):
            assert 0 <= part.low < part.value < part.high <= 1


def test_sign_and_size_follow_the_truth(finished: tuple[Path, demo_run.DemoReport]) -> None:
    """Recomputed from the table of scores and truth.tsv alone."""
    folder, report = finished
    with (folder / "truth.tsv").open(newline="") as handle:
        truth = list(csv.DictReader(handle, delimiter="\t"))
    signed: dict[int, list[float]] = {}
    with (folder / "scores.tsv").open(newline="") as handle:
        for row in csv.DictReader(handle, delimiter="\t"):
            if (row["stat"], row["region"]) == ("logSED", "span:800"):
                signed.setdefault(int(row["record"]), []).append(float(row["score"]))
    causal = [number for number, row in enumerate(truth) if row["class"] == "causal"]
    want = np.array([float(truth[number]["log2_fold"]) for number in causal])
    got = np.array([np.mean(signed[number]) for number in causal])
    assert report.correlation.value == pytest.approx(np.corrcoef(got, want)[0, 1], abs=1e-4)  # truth has 3 decimals
    assert report.same_sign.value == pytest.approx(np.mean(np.sign(got) == np.sign(want)))
    assert report.correlation.low > 0.4
    assert report.same_sign.low > 0.9


def test_neutral_variants_are_matched_by_distance(planted: tuple[Path, list[PlantedVariant]]) -> None:
    """Sorted, the distances of the two classes differ by no more than those of a pair, so neither lies nearer."""
    near = {flag: sorted(i.tss_distance_bp for i in planted[1] if i.causal == flag) for flag in (True, False)}
    assert len(near[True]) == len(near[False]) == 300
    assert max(abs(a - b) for a, b in zip(near[True], near[False], strict=True)) <= MATCH_BP
    assert near[True][-1] <= NEAR_BP
    assert near[False][-1] <= NEAR_BP
    assert abs(auroc([-i.tss_distance_bp for i in planted[1]], [i.causal for i in planted[1]]) - 0.5) < 0.05


def test_distances_and_motifs_follow_from_the_sequences(planted: tuple[Path, list[PlantedVariant]]) -> None:
    """Every base that REF lacks in ALT, or has otherwise, against every start; every word, counted in whole contigs."""
    fasta, items = planted
    with Fasta(fasta) as genome:
        text = {chrom: genome.fetch(chrom, 0, length) for chrom, length in genome.contigs.items()}
    starts = {chrom: {promoter.tss for promoter in promoters(sequence)} for chrom, sequence in text.items()}

    def words(sequence: str) -> dict[str, int]:
        both = {name: (word, reverse_complement(word)) for name, word in MOTIFS.items()}
        return {name: sum(sequence.startswith(pair, at) for at in range(len(sequence))) for name, pair in both.items()}

    for item in items:
        v, sequence = item.variant, text[item.variant.chrom]
        changed = [v.pos - 1] if len(v.ref) == 1 else range(v.pos, v.pos - 1 + len(v.ref))
        by_start = {tss: min(abs(tss - base) for base in changed) for tss in starts[v.chrom]}
        assert item.tss_distance_bp == min(by_start.values()) == by_start[item.tss]
        left, right = sequence[v.pos - 101 : v.pos - 1], sequence[v.pos - 1 + len(v.ref) :][:100]
        ref, alt = (words(left + allele + right) for allele in (v.ref, v.alt))
        differ = [name for name in MOTIFS if ref[name] != alt[name]]
        assert item.site == (differ[0] if differ else "background")
        assert item.motif_changed == bool(differ)


def test_what_a_deletion_changes_is_not_its_anchor() -> None:
    starts = np.array([100, 200])
    assert nearest_tss(starts, Variant("c", 101, "A", "C")) == (100, 0)
    assert nearest_tss(starts, Variant("c", 101, "AT", "A")) == (100, 1)  # 0-based base 101 goes
    assert nearest_tss(starts, Variant("c", 190, "ATTT", "A")) == (200, 8)  # bases 190 to 192 go
    sequence = "C" * 50 + MOTIFS["tata"] + "C" * 50
    assert site_of(sequence, Variant("c", 58, "GC", "G")) == "background"
    assert site_of(sequence, Variant("c", 58, "G", "C")) == "tata"
    assert site_of(sequence[:57] + "C" + sequence[58:], Variant("c", 58, "C", "G")) == "tata"


def test_files_are_written(finished: tuple[Path, demo_run.DemoReport]) -> None:
    folder, report = finished
    names = {path.name for path in folder.iterdir()}
    assert {"genome.fa", "genome.fa.fai", "variants.vcf", "truth.tsv", "scores.tsv"} <= names
    figures = sorted(folder.glob("hit*.png"))
    assert len(figures) == demo_run.PLOTTED
    assert all(path.read_bytes().startswith(PNG) and path.stat().st_size > 10_000 for path in figures)
    assert {path.name for path in report.files} == names


def test_the_strongest_variant_is_explained(finished: tuple[Path, demo_run.DemoReport]) -> None:
    """Both haplotypes: the target moves as the score does, and the bases that the variant changes count."""
    folder, report = finished
    found = read_attributions(folder / "explanation.h5")
    ref, alt = (float(value) for value in found.arrays["score"])
    assert abs(alt - ref) > 1.0
    assert (alt - ref) * report.hits[0].log2_fold > 0.0
    variant, start = report.hits[0].planted.variant, int(found.arrays["start"][0])
    inside = found.projected[0]
    changed = np.arange(variant.pos - 1, variant.pos - 1 + len(variant.ref)) - start
    assert np.abs(inside[changed]).max() > 5 * np.median(np.abs(inside))
    assert (folder / "explanation.png").read_bytes().startswith(PNG)


def test_an_occupied_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="not an empty directory"):
        run_demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_truth_follows_from_the_sequences_alone(planted: tuple[Path, list[PlantedVariant]]) -> None:
    """Recompute each class from the whole neighbourhood, without the code that chose the variants."""
    fasta, items = planted
    with Fasta(fasta) as genome:
        for item in items:
            v = item.variant
            start, end = v.pos - 1, v.pos - 1 + len(v.ref)
            assert genome.fetch(v.chrom, start, end) == v.ref
            left, right = genome.fetch(v.chrom, start - 1000, start), genome.fetch(v.chrom, end, end + 1000)
            ref, alt = (promoters(left + allele + right) for allele in (v.ref, v.alt))
            if item.causal:
                assert ref != alt
                assert abs(item.log2_fold) >= CAUSAL_LOG2_FOLD
            else:
                assert sorted(p.strength for p in ref) == sorted(p.strength for p in alt)


def test_fold_of_a_destroyed_core() -> None:
    sequence = "C" * 500 + "TATAAAAG" + "C" * 22 + "TCAGTCTT" + "C" * 500
    # The A of TATA at 502 becomes C: one mismatch, strength 1 -> 0.25, with the pseudo-strength 0.25.
    assert log2_fold(sequence, Variant("c", 502, "A", "C")) == pytest.approx(np.log2((0.25 + 0.25) / (1.0 + 0.25)))


def test_same_seed_same_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_demo_data(tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_variant_without_a_score_is_an_error(
    tmp_path: Path, finished: tuple[Path, demo_run.DemoReport], planted: tuple[Path, list[PlantedVariant]]
) -> None:
    with (finished[0] / "scores.tsv").open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    table = tmp_path / "scores.tsv"
    with table.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), delimiter="\t")
        writer.writeheader()
        writer.writerows(row for row in rows if row["record"] != "5")
    with pytest.raises(FormatError, match="no logD2 for"):
        read_hits(table, planted[1])


def test_the_embedded_bundle_is_small_and_whole() -> None:
    bundle = embedded_bundle()  # opening verifies every hash
    assert sum(entry.bytes for entry in bundle.files.values()) <= 5e6
    assert min(bundle.info.provenance["validation_pearson"].values()) > 0.95
    assert bundle.info.parity["magnifies_rounding"] is False
    assert 0 < bundle.info.parity["golden_noise"]["rms"] < 1e-6 * bundle.info.parity["golden_noise"]["largest"]


def test_a_gene_begins_at_every_promoter(planted: tuple[Path, list[PlantedVariant]]) -> None:
    fasta, _ = planted
    genes = read_genes(fasta.with_name("genes.gtf"))
    with Fasta(fasta) as genome:
        starts = {
            (chrom, promoter.tss, promoter.strand)
            for chrom, length in genome.contigs.items()
            for promoter in promoters(genome.fetch(chrom, 0, length))
        }
    found = [genes[number] for number in range(len(genes))]
    assert {(gene.chrom, gene.tss, gene.strand) for gene in found} == starts
    assert len({gene.id for gene in found}) == len(found) > 100
    assert all(gene.exons.shape == (2, 2) for gene in found if 1000 < gene.span[0] < 149_000 - 900)


def test_a_causal_variant_changes_a_gene(planted: tuple[Path, list[PlantedVariant]]) -> None:
    """The demo model on genes: the nearest gene of a causal variant changes more than that of a neutral one."""
    fasta, items = planted
    chosen = [*(item for item in items if item.causal)][:12] + [item for item in items if not item.causal][:12]
    with open_model(embedded_bundle(), fasta=fasta) as model:
        options = ScoreOptions.for_family("hound", stats=("logSED@exons",), gene_mode="nearest")
        found = model.score([item.variant for item in chosen], options=options, genes=fasta.with_name("genes.gtf"))
    sizes = [float(np.abs(item["logSED@exons"].array).max()) if item.genes else 0.0 for item in found]
    assert auroc(np.array(sizes), np.array([item.causal for item in chosen])) > 0.8
