"""Arithmetic of graphs against the published table of the cost model, and against its reference."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.demo.packaged import packaged_bundle
from borzoi_rt.runs.flops import BorzoiFlops

PUBLISHED = {
    "family": "borzoi",
    "sequence_length_bp": 524_288,
    "stem_filters": 512,
    "stem_width": 15,
    "tower_widths": [608, 736, 896, 1056, 1280, 1536],
    "tower_width": 5,
    "depth": 8,
    "heads": 8,
    "key_size": 64,
    "position_features": 32,
    "widths_of": 4096,
    "dense_expansion": 2.0,
    "unets": 2,
    "unet_width": 3,
    "upsample_conv": True,
    "crop_bins": 5120,
    "tail_filters": 1920,
    "tracks": 7611,
}
FLOPS = BorzoiFlops(PUBLISHED)


@pytest.fixture(scope="module")
def reference(shared: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("borzoi_flops", shared / "oracle" / "borzoi_flops.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("got", "giga"),
    [
        (FLOPS.tower(4096), 2559.5),  # conv tower
        (FLOPS.tower(32), 20.00),  # slice of 32 tokens
        (FLOPS.tile(32), 20.8),  # trunk_tile with its two 1x1 skips
        (FLOPS.head(6144, 7611), 215.8),  # final 1x1 and head
        (FLOPS.whole(6144, 7611), 4353.6),  # a forward after both rewrites
    ],
)
def test_the_published_network(got: float, giga: float) -> None:
    """Numbers of cost_model, sections 2, 3, 5 and 9."""
    assert got == pytest.approx(giga * 1e9, abs=0.05e9)  # the digits printed there


@pytest.mark.parametrize("bins", [1, 32, 200, 1024, 6144])
def test_some_bins_of_the_published_network(reference: ModuleType, bins: int) -> None:
    arch = reference.architecture()
    start = (arch.bins - bins) // 2
    need = reference.need_from_bins(arch, start, start + bins)
    layers = (arch.nlay - 1) * reference.layer_sum(arch, "bucket") + reference.layer_sum(arch, "bucket", need["tokens"])
    assert FLOPS.body(bins) == pytest.approx(layers + reference.decoder_flops(arch, need), rel=1e-12)


def test_the_trained_test_model(reference: ModuleType, tiny_bundle: Bundle) -> None:
    held: dict[str, Any] = dict(tiny_bundle.info.architecture)
    ours = BorzoiFlops.of(tiny_bundle.info)
    assert ours is not None
    widths = held["tower_widths"]
    convs = [reference.Conv("conv_dna", 4, held["stem_filters"], held["stem_width"], 131_072)]
    for level, (narrow, wide) in enumerate(zip([held["stem_filters"], *widths], widths, strict=False), start=1):
        convs.append(reference.Conv(f"res{level}", narrow, wide, held["tower_width"], 131_072 >> level))
    arch = reference.Arch(
        L=131_072,
        convs=tuple(convs),
        T=1024,
        C=widths[-1],
        H=held["heads"],
        dk=held["key_size"],
        dv=widths[-1] // held["heads"],
        nlay=held["depth"],
        npos=held["position_features"],
        ksep=held["unet_width"],
        crop=held["crop_bins"],
        cfin=0,
        tracks=74,
    )
    parts = reference.rewritten_forward(arch)
    # It has no layer between decoder and head.
    want = sum(parts.values()) - parts["head"] + reference.conv_flops(widths[-1], 74, 1, 2048)
    assert ours.whole(2048, 74) == pytest.approx(want, rel=1e-12)


def test_other_families_have_no_count() -> None:
    info = packaged_bundle("promoter_bundle").info
    assert info.architecture["family"] == "promoter"
    assert BorzoiFlops.of(info) is None
