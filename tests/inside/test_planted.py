"""The trained network of the demo finds the promoters that were planted, by maps and by attention."""

from __future__ import annotations

import numpy as np

from borzoi_rt.demo import grammar
from borzoi_rt.demo.packaged import packaged_bundle
from borzoi_rt.explain.target import TargetSpec
from borzoi_rt.explain.where import Where, anchored
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.inside.activations import Activations
from borzoi_rt.inside.attention import attention_rows, rollout, tokens_of_target
from borzoi_rt.inside.check import holding, recovery
from borzoi_rt.inside.maps import map_window
from borzoi_rt.sequence import encode


def test_planted_promoters_are_found():
    bundle = packaged_bundle("bundle")
    length = bundle.geometry.sequence_length_bp
    where = Where(window_start=0, anchor=anchored("chr1", length // 2, length // 2 + 1))
    target = TargetSpec.parse("log SUM", tracks="DNASE").bind(bundle, where)
    generator, found = np.random.default_rng(77), dict[str, list[float]]()
    with Activations(bundle) as inside:
        tokens, queries = inside.layer("layer_0"), tokens_of_target(inside, target)
        for _ in range(4):
            text = grammar.plant(generator, length)
            truth = [Interval("chr1", one.tss - 60, one.tss + 61) for one in grammar.promoters(text)]
            window = encode(text)
            maps = {name: map_window(inside, window, target, layer=name) for name in ("embedding", "tokens")}
            scores = {name: (one.layer, one.scores) for name, one in maps.items()}
            shares = attention_rows(inside, window, queries).mean.mean(axis=(0, 1))
            rolled = rollout(inside, window, queries).mean(axis=0)
            for name, (layer, values) in {**scores, "rows": (tokens, shares), "rollout": (tokens, rolled)}.items():
                known = holding(layer, 0, "chr1", truth)
                told = recovery(values, known, near=np.arange(layer.positions))
                found.setdefault(name, []).append(told.auroc)
    means = {name: float(np.mean(values)) for name, values in found.items()}
    assert min(means["embedding"], means["tokens"]) > 0.75, means
    assert min(means["rows"], means["rollout"]) > 0.6, means
