"""The trained network of the demo: what was planted is a concept of it, by TCAV and in a bottleneck; chance is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import worlds

pytest.importorskip("sklearn")

from borzoi_rt.concepts.bottleneck_run import BottleneckOptions, counted_words, make_bottleneck
from borzoi_rt.concepts.examples import words_from
from borzoi_rt.concepts.implants import implanted
from borzoi_rt.concepts.tcav_run import TcavOptions, run_tcav
from borzoi_rt.demo import grammar
from borzoi_rt.demo.packaged import packaged_bundle
from borzoi_rt.explain.rows import region_rows
from borzoi_rt.explain.target import TargetSpec
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.inside.activations import Activations

CORE = f"core={grammar.MOTIFS['tata']}{'N' * 22}{grammar.MOTIFS['inr']}"


def test_the_core_of_promoters_is_significant(tmp_path: Path):
    bundle = packaged_bundle("bundle")
    text = grammar.plant(np.random.default_rng(5), 30000)
    starts = [one.tss for one in grammar.promoters(text) if 6000 < one.tss < 24000][:6]
    concepts = words_from([CORE, "chance=ACGTTGCATCGA"])
    with Fasta(worlds.write_fasta(tmp_path / "g.fa", {"chr1": text})) as genome, Activations(bundle) as inside:
        rows = region_rows([Interval("chr1", tss - 64, tss + 64) for tss in starts], genome, bundle.geometry)
        core, chance = run_tcav(
            rows,
            concepts,
            activations=inside,
            fasta=genome,
            spec=TargetSpec.parse("log SUM@center:512", tracks="DNASE"),
            options=TcavOptions(repeats=20, examples=3, layer="layer_1"),
        )
    assert core.found.accuracies.mean() > 0.95
    assert core.found.scores.mean() > 0.9
    assert (core.significant, core.says) == (True, "raises"), core.to_json()
    assert chance.found.accuracies.mean() < 0.6
    assert (chance.significant, chance.says) == (False, "nothing"), chance.to_json()


def test_what_is_put_in_does_what_was_planted(tmp_path: Path):
    """Upstream of a core the silencer lowers the target and GC boxes raise it, whatever the slope of a layer says."""
    bundle = packaged_bundle("bundle")
    text = grammar.plant(np.random.default_rng(5), 30000)
    starts = [one.tss for one in grammar.promoters(text) if 6000 < one.tss < 24000 and one.strand == "+"][:6]
    concepts = words_from([f"{name}={grammar.MOTIFS[name]}" for name in ("gc", "silencer")])
    with Fasta(worlds.write_fasta(tmp_path / "g.fa", {"chr1": text})) as genome, Activations(bundle) as inside:
        rows = region_rows([Interval("chr1", tss - 140, tss - 40) for tss in starts], genome, bundle.geometry)
        spec = TargetSpec.parse("log SUM@center:512", tracks="DNASE")
        how = {"activations": inside, "fasta": genome, "spec": spec, "seed": 1}
        gc, silencer = (implanted(concept, rows, **how) for concept in concepts)
    assert gc is not None
    assert silencer is not None
    assert len(gc.effects) >= 20
    assert (gc.says, silencer.says) == ("raises", "lowers"), (gc.mean, gc.error, silencer.mean, silencer.error)
    assert silencer.mean < -0.5


def test_a_bottleneck_of_what_was_planted(tmp_path: Path):
    """Motifs are read from embeddings and say most of DNASE; a chance word and shuffled labels say nothing."""
    bundle = packaged_bundle("bundle")
    text = grammar.plant(np.random.default_rng(5), 60000)
    starts = [one.tss - 160 for one in grammar.promoters(text) if 5000 < one.tss < 55000]
    starts += np.random.default_rng(1).integers(5000, 54000, len(starts)).tolist()
    motifs = [f"{name}={grammar.MOTIFS[name]}" for name in ("tata", "inr", "gc")]
    concepts = counted_words([*motifs, "chance=GATTA"])
    with Fasta(worlds.write_fasta(tmp_path / "g.fa", {"chr1": text})) as genome, Activations(bundle) as inside:
        rows = region_rows([Interval("chr1", start, start + 320) for start in starts], genome, bundle.geometry)
        found, _ = make_bottleneck(
            rows,
            concepts,
            activations=inside,
            fasta=genome,
            spec=TargetSpec.parse("log SUM@center:320", tracks="DNASE"),
            options=BottleneckOptions(),
        )
    told = found.to_json()
    effects = {one["concept"]: one["intervention"] for one in told["concepts"]}
    assert min(effects["tata"], effects["inr"], effects["gc"]) > 0.5 > 0.2 > abs(effects["chance"]), told
    assert [one["read"] for one in told["concepts"]] == [True, True, True, False]
    assert found.believable
    assert found.bottleneck.r2 > 0.5 > 0.3 > max(one.r2 for one in (*found.random_concepts, *found.random_target))
    assert 0.0 < told["lost_to_embedding_r2"] < told["lost_to_network_r2"]
