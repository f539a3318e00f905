"""Make flashzoi_golden.npz: outputs of a small random Flashzoi by borzoi-pytorch's own forward.

    python tests/data/make_flashzoi_golden.py FLASH_ATTN tests/data/flashzoi_golden.npz

Needs borzoi-pytorch 0.5.1 (``pip install borzoi-pytorch==0.5.1``), PyTorch, and at FLASH_ATTN the unpacked source
archive of flash-attn 2.8.3, which need not be built (``pip download --no-binary :all: flash-attn==2.8.3``). Nothing of
the project but the drawing of weights is used.

borzoi-pytorch builds its attention from flash-attn's ``MHA``. Two parts of that run on a GPU alone, and are replaced by
the plain PyTorch that flash-attn itself has beside them and tests them against: the attention kernel by
``CrossAttention``, the rotation by ``apply_rotary_emb_torch``. Projections, layout of heads, frequencies and the call
are those of the package. The layers are borzoi-pytorch's, with fewer channels in the tower and the tail than it writes
into its code; width, heads and head size of attention go through its config.

The archive holds ``shapes`` (JSON: names and shapes of its state dict), ``seed`` and ``digest`` of the weights,
``config`` (JSON: its config.json), ``letters`` uint8 (length,) with 4 for an unknown base, ``human`` and ``mouse``
float32 (tracks, bins), and ``version``. All but the head, which its forward holds in float32, is computed in float64.
"""

from __future__ import annotations

import json
import sys
import types
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

TESTS = Path(__file__).parents[1]
LENGTH, SEED = 16_384, 20260202  # 128 tokens
CONFIG = {"dim": 768, "depth": 2, "heads": 4, "flashed": True, "enable_mouse_head": True, "bins_to_return": 384}
# What the code of borzoi-pytorch says -> what is built here.
CHANNELS = {512: 16, 608: 24, 736: 32, 896: 40, 1056: 48, 1280: 56, 1920: 64, 7611: 6, 2608: 3}


def without_kernels(source: str) -> None:
    """Make flash-attn importable where its kernels are not."""
    sys.path.insert(0, source)
    interface = types.ModuleType("flash_attn.flash_attn_interface")
    for name in ("func", "qkvpacked_func", "kvpacked_func", "with_kvcache"):
        setattr(interface, f"flash_attn_{name}", object())  # it is asserted that they are there
    for name in ("func", "qkvpacked_func", "kvpacked_func"):
        setattr(interface, f"flash_attn_varlen_{name}", object())
    triton = types.ModuleType("flash_attn.ops.triton.rotary")
    for module in (interface, triton):
        sys.modules[module.__name__] = module
    triton.apply_rotary = None
    from flash_attn.layers import rotary

    def apply_rotary(x, cos, sin, *, seqlen_offsets, interleaved, inplace, **rest):
        assert seqlen_offsets == 0
        assert not any(rest.values())
        length = x.shape[1]
        turned = rotary.apply_rotary_emb_torch(x, cos[:length], sin[:length], interleaved)
        return x.copy_(turned) if inplace else turned

    rotary.apply_rotary = apply_rotary


def network() -> torch.nn.Module:
    """Return borzoi-pytorch's Borzoi with flashed attention and fewer channels."""
    from borzoi_pytorch import pytorch_borzoi_model
    from flash_attn.modules.mha import CrossAttention

    right = torch.nn.Conv1d

    class Narrow(right):
        def __init__(self, in_channels, out_channels, *arguments, groups=1, **options):
            sizes = [CHANNELS.get(number, number) for number in (in_channels, out_channels, groups)]
            super().__init__(*sizes[:2], *arguments, groups=sizes[2], **options)

    norm = torch.nn.BatchNorm1d
    torch.nn.Conv1d = Narrow
    torch.nn.BatchNorm1d = lambda channels, **options: norm(CHANNELS.get(channels, channels), **options)
    pytorch_borzoi_model.Borzoi.post_init = lambda self: None  # all weights are replaced
    model = pytorch_borzoi_model.Borzoi.from_hparams(**CONFIG)
    torch.nn.Conv1d, torch.nn.BatchNorm1d = right, norm
    for block in model.transformer:
        mha = block[0].fn[1].mha
        kernel = mha.inner_cross_attn
        mha.inner_cross_attn = CrossAttention(causal=kernel.causal, softmax_scale=kernel.softmax_scale)
        mha.use_flash_attn = False
    return model.eval()


def main(source: str, path: str) -> None:
    """Draw weights and a window, run borzoi-pytorch, write the archive."""
    sys.path.insert(0, str(TESTS))
    from drawn_weights import digest, drawn_weights

    without_kernels(source)
    model = network()
    state = model.state_dict()
    shapes = {key: tuple(value.shape) for key, value in state.items() if value.is_floating_point()}
    weights = drawn_weights(shapes, SEED)
    for key, values in weights.items():
        state[key].copy_(torch.from_numpy(values))
    model.double()
    model.human_head.float()
    model.mouse_head.float()
    letters = np.random.default_rng(5).integers(0, 4, LENGTH).astype(np.uint8)
    letters[5000:5400] = 4
    onehot = torch.from_numpy((letters == np.arange(4)[:, None]).astype(np.float64))[None]
    with torch.inference_mode():
        # The grid is that of the whole window, not of 524,288 bp: the crop takes its middle.
        coverage = {name: model(onehot, is_human=name == "human")[0].numpy() for name in ("human", "mouse")}
    packages = ("borzoi-pytorch", "torch", "numpy")
    version = ", ".join(f"{name} {metadata.version(name)}" for name in packages) + ", flash-attn 2.8.3 (Python parts)"
    np.savez_compressed(
        path,
        shapes=json.dumps(shapes),
        seed=SEED,
        digest=digest(weights),
        config=json.dumps(CONFIG),
        letters=letters,
        version=version,
        **coverage,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
