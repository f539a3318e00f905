"""Scores of genes beside scores of windows, and what an annotation costs to open.

    python -m benchmarks.genes [--shared DIR] [--genes 60000]

The eight SNVs of the golden panel on the trained test model, caches emptied before every run; the forms take turns.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from borzoi_rt.engine.sessions import EngineOptions, open_engine
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.gene_index import open_genes
from borzoi_rt.genome.variants import read_variants
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.pipeline import Scorer

from ._common import interleaved, print_header, print_table
from .trained import SHARED, export_tiny

TRANSCRIPTS, EXONS = 4, 6  # of every gene of the synthetic annotation: 1.44 million exon lines for 60,000 genes
WINDOW = "window scores"
FORMS: dict[str, tuple[str, ...]] = {
    WINDOW: ("SUM", "logSUM", "logSED"),
    "exons": ("SUM@exons", "logSUM@exons", "logSED@exons"),
    "exons and spans": ("SUM@exons", "logSED@exons", "D2@span"),
    "splice score of spans": ("nDi@span",),
    "windows and exons": ("SUM", "logSUM", "logSED", "logSED@exons"),
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=SHARED)
    parser.add_argument("--genes", type=int, default=60_000)
    chosen = parser.parse_args()
    print_header("python -m benchmarks.genes")
    with tempfile.TemporaryDirectory() as scratch:
        seconds = _scores(chosen.shared / "data", Path(scratch))
        rows = [(name, seconds[name] / 8, seconds[name] / seconds[WINDOW], 1.3) for name in FORMS]
        print_table(("8 SNVs, tiny model", "cpu s a SNV", "of windows", "limit"), rows)
        print()
        print_table(("annotation", "wall s", "cpu s", "limit s"), _annotation(chosen.genes, Path(scratch)))


def _scores(data: Path, scratch: Path) -> dict[str, float]:
    bundle = export_tiny(data / "tiny_model", scratch / "bundle")
    genes = open_genes(data / "golden_genes" / "genes.gtf", cache=scratch / "index")
    items = list(read_variants(data / "variants" / "eqtl.vcf"))
    session: Any = open_engine(bundle, "cpu", options=EngineOptions())
    with Fasta(data / "hg38_1m" / "hg38_1m.fa.gz") as fasta:

        def form(stats: tuple[str, ...]) -> Callable[[], None]:
            options = ScoreOptions.for_family("hound", stats=stats)
            scorer = Scorer(bundle, session, fasta, options, genes if options.of_genes else None)

            def run() -> None:
                session.memory.clear()
                for item in items:
                    scorer.score(item)

            return run

        return interleaved({name: form(stats) for name, stats in FORMS.items()}, repeats=7)


def _annotation(genes: int, scratch: Path) -> list[tuple[str, float, float, float]]:
    """Return what the first opening of a synthetic annotation takes, and the next ones."""
    path = scratch / "synthetic.gtf"
    _write_annotation(path, genes)
    time.sleep(2.5)  # a file that was written this moment is hashed at every opening
    rows = []
    for title, limit in (("first, makes the index", 20.0), ("second", 0.3), ("third", 0.3)):
        start = time.perf_counter(), time.process_time()
        found = open_genes(path, cache=scratch / "index")
        passed = time.perf_counter() - start[0], time.process_time() - start[1]
        rows.append((f"{len(found):,} genes, {title}", *passed, limit))
    return rows


def _write_annotation(path: Path, genes: int) -> None:
    with path.open("w", encoding="ascii") as handle:
        for gene in range(genes):
            chrom, start, strand = f"chr{gene % 24 + 1}", 100_000 + gene // 24 * 60_000, "+-"[gene % 2]
            about = f'gene_id "ENSG{gene:011d}.3"; gene_type "protein_coding"; gene_name "GENE{gene}";'
            head = f"{chrom}\tsynthetic\t"
            handle.write(f"{head}gene\t{start}\t{start + 30_000}\t.\t{strand}\t.\t{about} level 2;\n")
            for transcript in range(TRANSCRIPTS):
                text = f'{about} transcript_id "ENST{gene}.{transcript}"; transcript_type "protein_coding"; level 2;'
                for exon in range(EXONS):
                    low = start + exon * 5_000 + (gene * 37 + transcript * 101) % 400
                    for kind in ("exon", "CDS"):
                        line = f"{head}{kind}\t{low}\t{low + 150}\t.\t{strand}\t.\t{text} exon_number {exon + 1};"
                        handle.write(f'{line} tag "basic"; tag "CCDS";\n')


if __name__ == "__main__":
    main()
