"""What the position of the window does to a score: grids and offsets against the centred window.

    python -m benchmarks.windows [--shared DIR]

The trained test model on the eight SNVs of eqtl.vcf, 47 rows each. A ratio is sum |SUM| of a variant against that of
its centred window.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from borzoi_rt.genome.variants import Variant, read_variants
from borzoi_rt.model import Model, open_model
from borzoi_rt.scoring.options import ScoreOptions

from ._common import print_header, print_table
from .trained import SHARED, export_tiny

_GRIDS = (32, 64, 128, 256, 1024, 4096)
_OFFSETS = (32, 48, 128, 256, 1024, 4096)
_STATS = ("SUM", "logSED")


def main() -> None:
    """Print two tables: grids, and fixed offsets from the centred window."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=SHARED)
    data = parser.parse_args().shared / "data"
    print_header("python -m benchmarks.windows")
    with tempfile.TemporaryDirectory() as scratch:
        bundle = export_tiny(data / "tiny_model", Path(scratch) / "bundle")
        with open_model(bundle, fasta=next((data / "hg38_1m").glob("*.fa.gz"))) as model:
            variants = [item.variant for item in read_variants(data / "variants" / "eqtl.vcf")]
            centred = _scores(model, variants, lambda _: "centered")
            rows = []
            for bp in _GRIDS:
                rows.append(_row(f"grid:{bp}", centred, _scores(model, variants, lambda _, bp=bp: f"grid:{bp}")))
            half = bundle.geometry.sequence_length_bp // 2
            for bp in _OFFSETS:
                found = _scores(model, variants, lambda variant, bp=bp: f"at:{variant.pos - half + bp}")
                rows.append(_row(f"centred + {bp} bp", centred, found))
    print_table(("window", "r SUM", "r logSED", "lowest ratio", "highest ratio"), rows)


def _scores(model: Model, variants: list[Variant], window: Callable[[Variant], str]) -> dict[str, np.ndarray]:
    found = [
        model.score(variant, options=ScoreOptions.for_family(stats=_STATS, window=window(variant)))[0]
        for variant in variants
    ]
    return {stat: np.stack([item[stat].array for item in found]) for stat in _STATS}


def _row(name: str, centred: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> tuple[object, ...]:
    correlations = [float(np.corrcoef(centred[stat].ravel(), found[stat].ravel())[0, 1]) for stat in _STATS]
    ratios = np.abs(found["SUM"]).sum(axis=1) / np.abs(centred["SUM"]).sum(axis=1)
    return (name, *correlations, float(ratios.min()), float(ratios.max()))


if __name__ == "__main__":
    main()
