"""Keys and shapes of the published state dicts of borzoi-pytorch: ``LISTING``, one kind of attention, one family."""

from __future__ import annotations

import re
from typing import Any

from weight_files import STATISTICS

# The published state dict: key and shape, transformer blocks 0 to 7, ``C/...`` a convolution with its normalisation.
LISTING = """
conv_dna.conv_layer.weight 512 4 15 | conv_dna.conv_layer.bias 512
C/res_tower.0 608 512 5 | C/res_tower.2 736 608 5 | C/res_tower.4 896 736 5 | C/res_tower.6 1056 896 5
T/0.fn.0.weight 1536 | T/0.fn.0.bias 1536
T/1.fn.0.weight 1536 | T/1.fn.0.bias 1536 | T/1.fn.1.weight 3072 1536 | T/1.fn.1.bias 3072
T/1.fn.4.weight 1536 3072 | T/1.fn.4.bias 1536
C/upsampling_unet1.0 1536 1536 1 | C/upsampling_unet0.0 1536 1536 1
separable1.conv_layer.0.weight 1536 1 3 | separable1.conv_layer.1.weight 1536 1536 1 | separable1.conv_layer.1.bias 1536
separable0.conv_layer.0.weight 1536 1 3 | separable0.conv_layer.1.weight 1536 1536 1 | separable0.conv_layer.1.bias 1536
"""
RELATIVE = """
T/0.fn.1.rel_content_bias 1 8 1 64 | T/0.fn.1.rel_pos_bias 1 8 1 64
T/0.fn.1.to_q.weight 512 1536 | T/0.fn.1.to_k.weight 512 1536 | T/0.fn.1.to_v.weight 1536 1536
T/0.fn.1.to_rel_k.weight 512 32 | T/0.fn.1.to_out.weight 1536 1536 | T/0.fn.1.to_out.bias 1536
"""
FLASHED = """
T/0.fn.1.mha.Wqkv.weight 3072 1536 | T/0.fn.1.mha.Wqkv.bias 3072
T/0.fn.1.mha.out_proj.weight 1536 1536 | T/0.fn.1.mha.out_proj.bias 1536
"""
BORZOI = """
C/res_tower.8 1280 1056 5 | C/unet1.1 1536 1280 5 | C/horizontal_conv0 1536 1280 1 | C/horizontal_conv1 1536 1536 1
C/final_joined_convs.0 1920 1536 1 | human_head.weight 7611 1920 1 | human_head.bias 7611
mouse_head.weight 2608 1920 1 | mouse_head.bias 2608
"""
PRIME = """
C/unet1.1 1280 1056 5 | C/unet2.1 1536 1280 5 | C/horizontal_conv0 1536 1056 1 | C/horizontal_conv1 1536 1280 1
C/horizontal_conv2 1536 1536 1 | C/upsampling_unet2.0 1536 1536 1 | separable2.conv_layer.0.weight 1536 1 3
separable2.conv_layer.1.weight 1536 1536 1 | separable2.conv_layer.1.bias 1536
human_head.weight 5431 1536 1 | human_head.bias 5431 | mouse_head.weight 1774 1536 1 | mouse_head.bias 1774
"""


def published(listing: str) -> dict[str, Any]:
    """State dict with the published keys and shapes; zeros without storage stand for 0.7 GB of weights."""
    import torch

    state: dict[str, Any] = {}

    def add(key: str, *shape: int) -> None:
        state[key] = torch.zeros(()).expand(shape)

    for row in re.split(r"[|\n]", listing):
        key, *numbers = row.split() or [""]
        shape = tuple(map(int, numbers))
        if key.startswith("T/"):
            for block in range(8):
                add(f"transformer.{block}.{key[2:]}", *shape)
        elif key.startswith("C/"):
            add(f"{key[2:]}.conv_layer.weight", *shape)
            add(f"{key[2:]}.conv_layer.bias", shape[0])
            for part in STATISTICS:
                add(f"{key[2:]}.norm.{part}", shape[1])
            state[f"{key[2:]}.norm.num_batches_tracked"] = torch.tensor(7)
        elif key:
            add(key, *shape)
    return state
