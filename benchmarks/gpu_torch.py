"""Steps of the GPU benchmark that need PyTorch alone; each returns numbers: ms, TFLOP/s, GB, per second."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from ._common import peak_rss_gb
from .gpu_models import build, gtex, milliseconds, sequence

AS_WRITTEN = 4.908  # TFLOP of a forward pass as published
PEER_SNV = 2  # forward passes


def rates(options: argparse.Namespace) -> dict[str, Any]:
    """Measure what the card can do: products of large matrices, and copies."""
    import torch

    where, size = _torch_device(options), 512 if options.toy else 8192
    found: dict[str, Any] = {"device": torch.cuda.get_device_name() if where == "cuda" else "cpu"}
    for name, kind, tf32 in (
        ("bf16", torch.bfloat16, False),
        ("fp16", torch.float16, False),
        ("tf32", torch.float32, True),
        ("fp32", torch.float32, False),
    ):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a, b = (torch.randn(size, size, device=where).to(kind) for _ in range(2))
        found[name] = 2e-12 * size**3 / (1e-3 * milliseconds(lambda a=a, b=b: a @ b, options))
    source = torch.randn(size * size * 4, device=where)
    target = torch.empty_like(source)
    found["copy_tb_s"] = 2e-12 * source.nbytes / (1e-3 * milliseconds(lambda: target.copy_(source), options))
    return found


def reference(options: argparse.Namespace) -> dict[str, Any]:
    """Keep the coverage of PyTorch in float32 of one window, for all comparisons."""
    import torch

    model, x = build(options).to(_torch_device(options)), _onehot(options)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    with torch.inference_mode():
        coverage = model(x)[0].float().cpu().numpy()
    np.save(options.out / "reference.npy", coverage[gtex(options)])
    return {"largest": float(coverage.max())}


def ours_in_torch(options: argparse.Namespace, mode: str) -> dict[str, Any]:
    """Time our network in PyTorch."""
    return _forward_in_torch(options, build(options), mode)


def peer(options: argparse.Namespace, mode: str, how: str) -> dict[str, Any]:
    """Time borzoi-pytorch, eager or compiled."""
    import torch
    from borzoi_pytorch import Borzoi
    from borzoi_pytorch.config_borzoi import BorzoiConfig

    torch.manual_seed(1)
    model = Borzoi(BorzoiConfig(enable_mouse_head=False)).eval()
    if how == "compile":
        model = torch.compile(model)
    return _forward_in_torch(options, model, mode)


def _forward_in_torch(options: argparse.Namespace, model: Any, mode: str) -> dict[str, Any]:
    import torch

    where = _torch_device(options)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = mode == "tf32"
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(mode)
    model, x = model.to(where), _onehot(options).float()
    with torch.inference_mode(), torch.autocast(where, dtype=kind, enabled=kind is not None):
        one, two = milliseconds(lambda: model(x), options), milliseconds(lambda: model(x.repeat(2, 1, 1)), options)
    memory = torch.cuda.max_memory_allocated() / 2**30 if where == "cuda" else peak_rss_gb()
    best = min(one, two / 2)
    return {"ms": one, "ms_batch_2": two, "peak_gb": memory, "snv_per_s": 1e3 / (PEER_SNV * best)}


def training(options: argparse.Namespace, mode: str, batch: str) -> dict[str, Any]:
    """Time a training step: forward, loss, backward and update."""
    import torch
    from borzoi_export.training.module import BorzoiModule
    from borzoi_export.training.network import MultiHead
    from borzoi_export.training.options import TrainOptions

    where, config, count = _torch_device(options), build(options).config, int(batch)
    names = [[str(number) for number in range(config.tracks)]]
    settings = TrainOptions(precision=mode, attention="sdpa")
    module = BorzoiModule(MultiHead([config]), settings, tracks=names, heads=["human"]).to(where).train()
    optimiser = module.configure_optimizers()["optimizer"]
    codes = torch.randint(0, 4, (count, config.sequence_length_bp), device=where, dtype=torch.uint8)
    target = torch.rand(count, config.tracks, config.bins, device=where)
    kind = torch.bfloat16 if mode == "bf16" else torch.float16

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(where, dtype=kind):
            loss, _, _ = module.losses({"codes": codes, "target": target, "head": 0})
        loss.mean().backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), settings.clip_norm)
        optimiser.step()

    ms = milliseconds(step, options)
    memory = torch.cuda.max_memory_allocated() / 2**30 if where == "cuda" else peak_rss_gb()
    return {"ms": ms, "windows_per_s": 1e3 * count / ms, "peak_gb": memory, "tflop_s": 3e3 * AS_WRITTEN * count / ms}


def _onehot(options: argparse.Namespace) -> Any:
    import torch

    return torch.from_numpy(sequence(options)[None]).to(_torch_device(options))


def _torch_device(options: argparse.Namespace) -> str:
    return "cpu" if options.toy else "cuda"


STEPS = {function.__name__: function for function in (rates, reference, ours_in_torch, peer, training)}
