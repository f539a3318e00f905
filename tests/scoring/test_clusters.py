"""Windows shared by neighbours: who shares which, and the numbers of ``hound_snp -c 0.25``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.cli import _scoring
from borzoi_rt.engine.alleles import Pair, View, allele_pairs
from borzoi_rt.errors import InputError
from borzoi_rt.genome.variants import Variant, VariantRecord
from borzoi_rt.model import open_model
from borzoi_rt.scoring.clusters import clustered
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.presets import PRESETS


def records(*positions: tuple[str, int]) -> list[VariantRecord]:
    return [VariantRecord(number, 0, Variant(chrom, pos, "A", "C")) for number, (chrom, pos) in enumerate(positions)]


def test_a_window_holds_what_lies_less_than_the_share_behind_its_first() -> None:
    """Length 1,000, share 0.25: 100 and 349 share a window, 350 begins the next; a contig begins anew."""
    found = list(clustered(records(("1", 100), ("1", 349), ("1", 350), ("2", 350)), 0.25, 1000))
    # (100 + 349) // 2 - 500; then each alone: pos - 500, as a window of its own would start
    assert [item.window_start for item in found] == [-276, -276, -150, -150]
    assert [item.record for item in found] == [0, 1, 2, 3]
    assert list(clustered([], 0.25, 1000)) == []


@pytest.mark.parametrize("order", [(("1", 5), ("1", 4)), (("1", 5), ("2", 1), ("1", 9))])
def test_unsorted_input_is_refused(order: tuple[tuple[str, int], ...]) -> None:
    with pytest.raises(InputError, match="sorted"):
        list(clustered(records(*order), 0.25, 1000))


def test_where_ref_is_shared_a_deletion_moves_alt() -> None:
    """Section 3.6: ALT at {s, s - k} and REF at {s, s} for any indel of a shared window."""
    ref, alt = View("ref", 2), View("alt", 2)
    assert allele_pairs(-3, [2], "average", shared=True) == (
        Pair((ref,), (alt,)),
        Pair((ref,), (View("alt", 5),)),
    )
    assert allele_pairs(3, [2], "average", shared=True) == allele_pairs(3, [2], "average")
    assert allele_pairs(-3, [2], "stitch", shared=True) == (Pair((ref,), (alt, View("alt", 5))),)


def test_the_numbers_of_the_reference(tiny_bundle: Bundle, shared: Path) -> None:
    """Sum of |logSUM| 82.25 with clusters and 94.59 without; correlation 0.952 (logSUM) and 0.898 (logSED)."""
    vcf, fasta = shared / "data" / "variants" / "eqtl.vcf", shared / "data" / "hg38_1m" / "hg38_1m.fa.gz"
    scores = {}
    with open_model(tiny_bundle, fasta=fasta) as model:
        for name in ("hound-default", "hound-cluster"):
            result = model.score(vcf, options=replace(PRESETS[name], stats=("logSUM", "logSED")))
            assert result.counts == {"ok": 8}
            scores[name] = {stat: np.stack([item[stat].array for item in result]) for stat in ("logSUM", "logSED")}
    alone, together = scores["hound-default"], scores["hound-cluster"]
    assert np.abs(alone["logSUM"]).sum() == pytest.approx(94.59, abs=0.005)
    assert np.abs(together["logSUM"]).sum() == pytest.approx(82.25, abs=0.005)
    for stat, correlation in (("logSUM", 0.952), ("logSED", 0.898)):
        found = np.corrcoef(alone[stat].ravel(), together[stat].ravel())[0, 1]
        assert found == pytest.approx(correlation, abs=0.0005), stat


def test_only_the_preset_has_clusters() -> None:
    with pytest.raises(InputError, match="hound-cluster"):
        _scoring.read_options(stats=None, no_merge=False, window="cluster:0.25")
    with pytest.raises(InputError, match="window 'cluster:2' is unknown"):
        ScoreOptions.for_family(window="cluster:2")
