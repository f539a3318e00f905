"""Scores of genes of the trained test model against the reference programs (borzoi_sad, borzoi_sed, hound_snpgene).

The reference stores float16: 2e-3 of a value and 2e-3 of the largest are allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pytest

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.engine.sessions import EngineOptions, open_engine
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.gene_index import open_genes
from borzoi_rt.genome.genes import Genes
from borzoi_rt.genome.variants import read_variants
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.pipeline import Scorer
from borzoi_rt.scoring.results import ScoredVariant

Run = Callable[..., tuple[list[ScoredVariant], list[str]]]


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "data" / "golden_genes"


@pytest.fixture(scope="module")
def genes(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Genes:
    return open_genes(folder / "genes.gtf", cache=tmp_path_factory.mktemp("index"))


@pytest.fixture(scope="module")
def run(tiny_bundle: Bundle, shared: Path, genes: Genes) -> Iterator[Run]:
    """Score eqtl.vcf, or windows that start at fixed bases; tracks are those of the golden files."""
    vcf = shared / "data" / "variants" / "eqtl.vcf"
    with (
        closing(open_engine(tiny_bundle, "cpu", options=EngineOptions())) as session,
        Fasta(shared / "data" / "hg38_1m" / "hg38_1m.fa.gz") as fasta,
    ):

        def score(
            family: str, stats: Sequence[str], names: Sequence[str] = (), **choices: object
        ) -> tuple[list[ScoredVariant], list[str]]:
            options = ScoreOptions.for_family(family, stats=tuple(stats), gene_names=tuple(names), **choices)
            scorer = Scorer(tiny_bundle, session, fasta, options, genes if options.of_genes else None)
            return [scorer.score(item) for item in read_variants(vcf)], list(scorer.rows.track_identifier)

        yield score


@pytest.fixture(scope="module")
def run_sites(
    tiny_bundle: Bundle, shared: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Run]:
    """Score eqtl.vcf over sites with the 40 RNA tracks of the reference run."""
    path = tmp_path_factory.mktemp("sites")
    sites = [("GPLUS", "+", at) for at in (71000, 71700, 72340)] + [("GMINUS", "-", at) for at in (85900, 85020)]
    numbers = [1, 2, 3, 1, 2]
    lines = ["chrom\tposition_hg38\tstrand\tgene\tsite_num\tsite_type\tpas_id"]
    for number, (gene, strand, at) in zip(numbers, sites, strict=True):
        lines.append(f"chr1\t{at}\t{strand}\t{gene}\t{number}\t3' most exon\tchr1:{at}:{strand}")
    (path / "pas.tsv").write_text("\n".join(lines) + "\n")
    genes = open_genes(folder / "genes.gtf", pas=path / "pas.tsv", cache=path / "index")
    with h5py.File(folder / "sed_sed.h5") as file:
        tracks = ",".join(name.decode() for name in file["target_ids"][:])
    with (
        closing(open_engine(tiny_bundle, "cpu", options=EngineOptions())) as session,
        Fasta(shared / "data" / "hg38_1m" / "hg38_1m.fa.gz") as fasta,
    ):

        def score(stats: Sequence[str], **choices: object) -> tuple[list[ScoredVariant], list[str]]:
            options = ScoreOptions.for_family("sad", stats=tuple(stats), rc=True, tracks=tracks, **choices)
            scorer = Scorer(tiny_bundle, session, fasta, options, genes)
            items = read_variants(shared / "data" / "variants" / "eqtl.vcf")
            return [scorer.score(item) for item in items], list(scorer.rows.track_identifier)

        yield score


def pick(file: h5py.File, rows: Sequence[str]) -> np.ndarray:
    """Return where the targets of a golden file stand among our rows."""
    return np.array([rows.index(name.decode()) for name in file["target_ids"][:]])


def close(got: np.ndarray, want: np.ndarray, name: str) -> None:
    want = want.astype(np.float64)
    assert np.abs(want).max() > 0, name
    limit = 2e-3 * np.abs(want) + 2e-3 * np.abs(want).max()
    assert (np.abs(got - want) <= limit).all(), (name, float(np.max(np.abs(got - want) / limit)))


def test_window_scores_of_sad(run: Run, folder: Path) -> None:
    with h5py.File(folder / "sad_sad.h5") as file:
        stats = [name for name in file if f"{name}_pct" in file]
        assert len(stats) == 13
        found, rows = run("sad", stats)
        for name in stats:
            got = np.stack([item.scores[name] for item in found if item.scores])
            close(got[:, pick(file, rows)], file[name][:], name)


@pytest.mark.parametrize(
    ("title", "region", "choices", "stats"),
    [
        ("sed_sed.h5", "exons", {}, ("SED", "logSED", "D1", "D2", "logD2", "nD2", "nDi", "JS")),
        ("sedspan_sed.h5", "span", {"squash": "none"}, ("SED", "nD2", "nDi", "JS")),
    ],
)
def test_scores_of_sed(
    run: Run, folder: Path, title: str, region: str, choices: dict[str, object], stats: tuple[str, ...]
) -> None:
    """The pairs of variants and genes and their order are those of the file; a variant without one is told apart."""
    with h5py.File(folder / title) as file:
        found, rows = run("sad", [f"{stat}@{region}" for stat in stats], with_alleles=True, **choices)
        assert [item.status for item in found] == ["no_gene"] + ["ok"] * 7
        kept = [item for item in found if item.regions]
        parts = [(number, part) for number, item in enumerate(kept) for part in item.regions]
        assert [number for number, _ in parts] == file["si"][:].tolist()
        assert [part.gene.encode() for _, part in parts] == file["gene"][:].tolist()
        assert [item.variant.id.encode() for item in kept] == file["snp"][:].tolist()
        where = pick(file, rows)
        for stat in stats:
            close(np.stack([part.scores[stat] for _, part in parts])[:, where], file[stat][:], stat)
        if "REF" in file:
            for number, name in enumerate(("REF", "ALT")):
                got = np.stack([part.coverage[number] for _, part in parts if part.coverage])
                close(got[:, where], file[name][:], name)


def test_scores_of_snpgene(run: Run, folder: Path, genes: Genes) -> None:
    """There the window lies around the middle of the gene, and every variant in the whole of it is scored."""
    stats = ("SUM", "logSUM", "logSED", "D2")
    seen = 0
    with h5py.File(folder / "sg_scores.h5") as file:
        for number in range(len(genes)):
            gene = genes[number]
            start = gene.midpoint - 131072 // 2
            found, rows = run("hound", [f"{stat}@exons" for stat in stats], [gene.id], window=f"at:{start}")
            where = pick(file, rows)
            for stat in stats:
                scored = {item.variant.id: item.regions[0].scores[stat][where] for item in found if item.status == "ok"}
                golden = {name: group[gene.id][:] for name, group in file[stat].items() if gene.id in group}
                assert scored.keys() == golden.keys()
                seen += len(scored)
                close(np.stack([scored[name] for name in golden]), np.stack(list(golden.values())), f"{gene.id} {stat}")
    assert seen == 14 * len(stats)


def test_scores_of_polyadenylation_sites(run_sites: Run, tiny_bundle: Bundle) -> None:
    """borzoi_sed_paqtl_cov --utr3, which always averages strands; new inverse with 50 and 100, then -u with 1 and 1.

    The sites: GPLUS 71000, 71700, 72340, GMINUS 85900, 85020; its output has 10 rows, some of variants without a gene
    of the other strand. ``n`` is the number of sites.
    """
    for choices, total in (
        ({}, 0.0037180),
        ({"squash": "old", "site_pseudo": 1.0, "site_min_coverage": 1.0}, 0.0421827),
    ):
        found, rows = run_sites(("COVR@pas", "SCOVR@pas"), unscale=True, unclip=False, **choices)
        pairs = [(number, part) for number, item in enumerate(found) for part in item.regions]
        assert [number for number, _ in pairs] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 6]
        assert [part.gene for _, part in pairs] == [*("GPLUS", "GMINUS") * 4, "GMINUS", "GMINUS"]
        assert len(rows) == 25
        covr = np.stack([part.scores["COVR"] for _, part in pairs])
        np.testing.assert_array_equal(np.abs(np.stack([part.scores["SCOVR"] for _, part in pairs])), covr)
        # The file holds float16, here below its smallest normal number: 250 values with steps of 6e-8.
        np.testing.assert_allclose(covr.sum(), total, rtol=2e-3, atol=250 * 3e-8)
        assert all(part.detail.startswith("split ") for _, part in pairs)
