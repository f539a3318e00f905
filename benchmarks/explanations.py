"""Every method of explanation on the demo's genome, where it is known which bases count.

For promoters of the planted grammar, on the + strand, the 200 bases before and around the start of transcription are
explained by the packaged model; a base counts where a substitution of it changes the grammar's coverage. Printed are
the area under the precision-recall curve of the size of its score (mean over promoters), the correlation with exact
mutagenesis (mean4, projected), and processor seconds a promoter.

    python -m benchmarks.explanations [--promoters 4] [--methods saliency,ism,...]
    python -m benchmarks.explanations --randomised [--promoters 2]

The second writes bundles whose weights are in random order from the top of the network down, and prints Spearman's
correlation of their attributions with those of the trained bundle: what it leaves high does not follow the network. It
takes methods with fewer references and samples, which is enough for that. Both need the extra ``explain``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from borzoi_rt import Interval, open_bundle
from borzoi_rt.bundle.opening import Bundle
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
NAMES = [name for name in METHODS if name != "dependency"]  # which is about pairs of bases
OPTIONS: dict[str, dict[str, Any]] = {
    "shuffle": {**STRETCHES, "samples": 5},
    "deletion": STRETCHES,
    "occlusion": STRETCHES,
    "shap": {**STRETCHES, "samples": 10},
    "lime": {**STRETCHES, "samples": 200},
    "ism-hybrid": {"recheck": 60, "sample": 20},
}
QUICK: dict[str, dict[str, Any]] = {
    **OPTIONS,
    "ig": {"steps": 8, "references": 3},
    "expected-gradients": {"samples": 20},
    "shap": {**STRETCHES, "samples": 4},
    "lime": {**STRETCHES, "samples": 100},
    "ism-hybrid": {"recheck": 20, "sample": 5},
    "deeplift": {"references": 3, "max_delta": 1.0},
}


def main() -> None:
    """Explain, compare, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=Path(grammar.__file__).with_name("bundle"))
    parser.add_argument("--promoters", type=int)
    parser.add_argument("--methods", default=",".join(NAMES), help="Names, separated by commas; ism is always run.")
    parser.add_argument("--randomised", action="store_true")
    options = parser.parse_args()
    names = list(dict.fromkeys(["ism", *options.methods.split(",")]))
    count = options.promoters or (2 if options.randomised else 4)
    print_header(f"python -m benchmarks.explanations{' --randomised' * options.randomised} --promoters {count}")
    with tempfile.TemporaryDirectory() as scratch:
        fasta, _, _ = write_demo_data(Path(scratch))
        with Fasta(fasta) as genome:
            regions, bundle = _promoters(genome, count), open_bundle(options.bundle)
            if options.randomised:
                _disorder(bundle, genome, regions, names, Path(scratch))
            else:
                _compare(bundle, genome, regions, names)


def _compare(bundle: Bundle, genome: Fasta, regions: Sequence[Interval], names: Sequence[str]) -> None:
    """Print how well every method finds the bases that count, and what it costs."""
    maps, seconds = _explained(bundle, genome, regions, names, OPTIONS)
    truth = [_counts(genome, region) for region in regions]
    share = float(np.mean([held.mean() for held in truth]))
    print(f"{len(regions)} promoters; {share:.3f} of the bases count, which is what chance reaches\n")
    rows = []
    for name, found in maps.items():
        areas = [average_precision(np.abs(one), held) for one, held in zip(found, truth, strict=True)]
        like = [np.corrcoef(one, exact)[0, 1] for one, exact in zip(found, maps["ism"], strict=True)]
        rows.append((name, float(np.mean(areas)), float(np.mean(like)), seconds[name] / len(regions)))
    print_table(("method", "AUPRC", "correlation with ism", "cpu s"), rows)


def _disorder(bundle: Bundle, genome: Fasta, regions: Sequence[Interval], names: Sequence[str], folder: Path) -> None:
    """Print how like the trained bundle's attributions are those of bundles in random order."""
    from borzoi_export.randomise import PARTS, randomise_bundle

    before, _ = _explained(bundle, genome, regions, names, QUICK)
    columns: dict[str, list[float]] = {name: [] for name in names}
    for part in PARTS:
        other = randomise_bundle(bundle, folder / part, part=part)
        after, _ = _explained(other, genome, regions, names, QUICK)
        for name in names:
            pairs = zip(before[name], after[name], strict=True)
            columns[name].append(float(np.mean([_spearman(one, two) for one, two in pairs])))
    print("Spearman's correlation with the trained bundle, mean of promoters; random down to\n")
    print_table(("method", *PARTS), [(name, *values) for name, values in columns.items()])


def _explained(
    bundle: Bundle,
    genome: Fasta,
    regions: Sequence[Interval],
    names: Sequence[str],
    options: dict[str, dict[str, Any]],
) -> tuple[dict[str, list[np.ndarray]], dict[str, float]]:
    """Return the scores of the bases that are there, by method and promoter, and processor seconds by method."""
    maps: dict[str, list[np.ndarray]] = {name: [] for name in names}
    seconds = dict.fromkeys(names, 0.0)
    with Explainer(bundle, genome) as explainer:
        for name in names:  # sessions are opened by the first method that needs them, and not timed
            explainer.objective(
                region_rows(regions[:1], genome, bundle.geometry)[0], TARGET, ExplainOptions(method=name)
            )
        for row in region_rows(regions, genome, bundle.geometry):
            for name in names:
                start = time.process_time()
                found = explainer.explain(row, TARGET, ExplainOptions(method=name, options=options.get(name)))
                seconds[name] += time.process_time() - start
                maps[name].append(found.projected)
    return maps, seconds


def _spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Return the correlation of ranks, equal scores sharing theirs; 0 where one does not differ at all."""
    ranks = []
    for values in (one, other):
        _, number, count = np.unique(values, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(count) - 0.5 * (count - 1))[number])
    return float(np.corrcoef(*ranks)[0, 1]) if min(rank.std() for rank in ranks) > 0.0 else 0.0


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
