"""Every method of explanation on the demo's genome, where it is known which bases count.

For promoters of the planted grammar, on the + strand, the 200 bases before and around the start of transcription are
explained by the packaged model; a base counts where a substitution of it changes the grammar's coverage. Printed are
the area under the precision-recall curve of the size of its score (mean over promoters), the correlation with exact
mutagenesis (mean4, projected), and processor seconds a promoter.

    python -m borzoi_export.demo_model --out DIR
    python -m benchmarks.explanations --bundle DIR [--promoters 12] [--methods saliency,ism,...]

The bundle that comes with the package has no gradient graphs yet; today's recipe writes them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from borzoi_rt import Interval, open_bundle
from borzoi_rt.demo import grammar
from borzoi_rt.demo.accuracy import average_precision
from borzoi_rt.demo.data import write_demo_data
from borzoi_rt.explain.explainer import Explainer, ExplainOptions
from borzoi_rt.explain.methods import METHODS
from borzoi_rt.explain.rows import region_rows
from borzoi_rt.explain.target import TargetSpec
from borzoi_rt.genome.fasta import Fasta

from ._common import print_header, print_table

BEFORE, BEHIND = 180, 20
TARGET = TargetSpec.parse("log SUM@span:400", tracks="CAGE+,RNA+")
STRETCHES: dict[str, Any] = {"tile_bp": 8}
OPTIONS: dict[str, dict[str, Any]] = {
    "shuffle": {**STRETCHES, "samples": 5},
    "deletion": STRETCHES,
    "occlusion": STRETCHES,
    "shap": {**STRETCHES, "samples": 10},
    "lime": {**STRETCHES, "samples": 200},
    "ism-hybrid": {"recheck": 60, "sample": 20},
}


def main() -> None:
    """Explain, compare, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=Path(grammar.__file__).with_name("bundle"))
    parser.add_argument("--promoters", type=int, default=12)
    parser.add_argument("--methods", default=",".join(METHODS), help="Names, separated by commas; ism is always run.")
    options = parser.parse_args()
    names = list(dict.fromkeys(["ism", *options.methods.split(",")]))
    print_header(f"python -m benchmarks.explanations --promoters {options.promoters}")
    with tempfile.TemporaryDirectory() as scratch:
        fasta, _, _ = write_demo_data(Path(scratch))
        with Fasta(fasta) as genome, Explainer(open_bundle(options.bundle), genome) as explainer:
            regions = _promoters(genome, options.promoters)
            maps: dict[str, list[np.ndarray]] = {name: [] for name in names}
            seconds = dict.fromkeys(names, 0.0)
            for region in regions:
                (row,) = region_rows([region], genome, explainer.bundle.geometry)
                for name in names:
                    start = time.process_time()
                    chosen = ExplainOptions(method=name, options=OPTIONS.get(name))
                    maps[name].append(explainer.explain(row, TARGET, chosen).projected)
                    seconds[name] += time.process_time() - start
            truth = [_counts(genome, region) for region in regions]
    share = float(np.mean([held.mean() for held in truth]))
    print(f"{len(regions)} promoters; {share:.3f} of the bases count, which is what chance reaches\n")
    rows = []
    for name, found in maps.items():
        areas = [average_precision(np.abs(one), held) for one, held in zip(found, truth, strict=True)]
        like = [np.corrcoef(one, exact)[0, 1] for one, exact in zip(found, maps["ism"], strict=True)]
        rows.append((name, float(np.mean(areas)), float(np.mean(like)), seconds[name] / len(regions)))
    print_table(("method", "AUPRC", "correlation with ism", "cpu s"), rows)


def _promoters(genome: Fasta, count: int) -> list[Interval]:
    """Return the surroundings of the strongest promoters of the + strand, far enough from the ends."""
    found = []
    for chrom, length in genome.contigs.items():
        for promoter in grammar.promoters(genome.fetch(chrom, 0, length)):
            if promoter.strand == "+" and 5000 < promoter.tss < length - 5000:
                where = Interval(chrom, promoter.tss - BEFORE, promoter.tss + BEHIND)
                found.append((-promoter.strength, chrom, promoter.tss, where))
    return [item[-1] for item in sorted(found)[:count]]


def _counts(genome: Fasta, region: Interval) -> np.ndarray:
    """Return which bases of a region change the coverage of the grammar when they are exchanged."""
    margin = 400
    text = genome.fetch(region.chrom, region.start - margin, region.end + margin)
    before, found = grammar.coverage(text), np.zeros(region.end - region.start, dtype=bool)
    for number in range(len(found)):
        column = margin + number
        for base in "ACGT":
            after = grammar.coverage(text[:column] + base + text[column + 1 :])
            found[number] |= bool(np.abs(after - before).max() > 0.01)
    return found


if __name__ == "__main__":
    main()
