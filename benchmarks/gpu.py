"""Everything that is to be measured on a GPU, in one command that can be cut off and called again.

Random weights in the published shape (524,288 bp, 186M parameters, 7,611 tracks). Each step runs in a process of its
own and adds a line to OUT/gpu.jsonl; a step that succeeded is not run again, so that what a first call did not reach a
second call does. Times are medians of wall clock; every forward pass is compared with PyTorch in float32 on the card.

    python -m benchmarks.gpu --out OUT [--tables DIR] [--stage torch|runtime] [--seconds 540] [--only WORD]

With ``--toy`` a small network takes part and the CPU provider computes: a rehearsal of every step (tests run it).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from borzoi_rt.backends.resident import TILES
from borzoi_rt.engine.bank import BankRows
from borzoi_rt.engine.tiles import TilePlan

from ._common import peak_rss_gb, print_table
from .gpu_models import GTEX, TOY_TRACKS, build, sequence, write_bundle

AS_WRITTEN, REWRITTEN, ONE_MORE = 4.908, 4.354, 1.4394  # TFLOP of a forward, of ours, of one SNV more in 200 bins
PEER_SNV = 2  # forward passes
FORMS = {"cpu-fp32": ("cpu", "fp32"), "gpu-fp32": ("gpu", "fp32"), "gpu-fp16": ("gpu", "fp16")}  # target, precision


@dataclass(frozen=True)
class Step:
    """One measurement: its name, the function that makes it, what it is told, and when it is given up."""

    name: str
    function: str
    arguments: tuple[str, ...] = ()
    seconds: float = 150.0


def torch_steps() -> Iterator[Step]:
    """Yield what needs PyTorch alone."""
    yield Step("rates", "rates")
    yield Step("reference", "reference", seconds=120)
    for mode in ("fp32", "tf32", "bf16"):
        yield Step(f"our network in PyTorch, {mode}", "ours_in_torch", (mode,))
    for mode in ("fp32", "tf32", "bf16", "fp16"):
        yield Step(f"borzoi-pytorch eager, {mode}", "peer", (mode, "eager"))
    for batch in ("1", "2"):
        yield Step(f"training step, bf16, batch {batch}", "training", ("bf16", batch))
    yield Step("borzoi-pytorch compiled, bf16", "peer", ("bf16", "compile"))


def runtime_steps(toy: bool) -> Iterator[Step]:
    """Yield what needs onnxruntime."""
    cuda = (lambda words="": "cpu") if toy else (lambda words="": f"cuda:0{words}")
    yield Step("bundles", "bundles")
    runs = [("gpu-fp16", ""), ("gpu-fp32", ":tf32"), ("gpu-fp32", ""), ("cpu-fp32", ""), ("cpu-fp32", ":tf32")]
    for form, words in runs:
        yield Step(f"forward {form}{words}.", "forward", (form, cuda(words)))
    for form, words in runs[:2]:
        yield Step(f"parts of {form}{words}.", "parts", (form, cuda(words)))
        yield Step(f"variants {form}{words}.", "variants", (form, cuda(words), "resident"))
    yield Step("variants gpu-fp16, tiles on the host", "variants", ("gpu-fp16", cuda(), "host"))
    for form in ("gpu-fp16", "gpu-fp32"):
        for turn in ("first", "second"):
            yield Step(f"bits {form}, {turn} process", "bits", (form, cuda()))
    for kind in ("fused", "coverage", "host fused"):
        yield Step(f"all tracks gpu-fp16, {kind}", "all_tracks", ("gpu-fp16", cuda(), kind))


def main() -> None:
    """Run the steps that have no result, and print all results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of bundles and results")
    parser.add_argument("--tables", type=Path, help="folder with borzoi_params.json and targets_human.txt")
    parser.add_argument("--stage", choices=("torch", "runtime"), help="only these steps; both by default")
    parser.add_argument("--seconds", type=float, default=540.0, help="begin no step after so long (default 540)")
    parser.add_argument("--only", help="only steps whose name holds this word")
    parser.add_argument("--toy", action="store_true", help="a small network on the CPU, as a rehearsal")
    parser.add_argument("--cuda", action="append", default=[], metavar="KEY=VALUE", help="option of the CUDA provider")
    parser.add_argument("--tiles", type=int, default=TILES, help="tiles a batch of a resident session")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        _change_runtime(options)
        print(json.dumps(_FUNCTIONS[options.step](options, *options.arguments)))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    steps = [] if options.stage == "runtime" else list(torch_steps())
    steps += [] if options.stage == "torch" else list(runtime_steps(options.toy))
    steps = [step for step in steps if not options.only or options.only in step.name]
    changed = [*options.cuda, *([f"tiles={options.tiles}"] if options.tiles != TILES else [])]
    if changed:
        steps = [replace(step, name=f"{step.name} [{' '.join(changed)}]") for step in steps]
    _run(steps, options)
    _print(options.out / "gpu.jsonl", {step.name for step in steps})


def _run(steps: list[Step], options: argparse.Namespace) -> None:
    log, started = options.out / "gpu.jsonl", time.monotonic()
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    done = {line["step"] for line in lines if "failed" not in line}
    for step in steps:
        left = options.seconds - (time.monotonic() - started)
        if step.name in done or left <= 0:
            continue
        begun = time.monotonic()
        found = _in_process(step, options, min(step.seconds, left))
        found["took"] = round(time.monotonic() - begun, 1)
        print(step.name, json.dumps(found), flush=True)
        with log.open("a") as file:
            file.write(json.dumps({"step": step.name, **found}) + "\n")


def _in_process(step: Step, options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.gpu", "--out", str(options.out), "--step", step.function]
    command += ["--tables", str(options.tables)] if options.tables else []
    command += ["--toy"] if options.toy else []
    command += [f"--tiles={options.tiles}", *(f"--cuda={choice}" for choice in options.cuda)]
    try:
        done = subprocess.run(
            [*command, "--", *step.arguments], capture_output=True, text=True, check=False, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"given up after {seconds:.0f} s"}
    if done.returncode:
        return {"failed": " | ".join(done.stderr.strip().splitlines()[-4:])[-600:]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _print(log: Path, names: Set[str]) -> None:
    """Print the table of these steps."""
    results = {line["step"]: line for line in map(json.loads, log.read_text().splitlines())}
    rates = results.get("rates", {})
    rows = []
    for name, found in ((name, found) for name, found in results.items() if name in names):
        for key, value in found.items():
            if isinstance(value, int | float) and key not in ("took",):
                rows.append((name, key, float(value)))
            elif key == "failed":
                rows.append((name, f"failed: {value[:150]}", float("nan")))
    print()
    print_table(("step", "what", "value"), rows)
    if "bf16" in rates:
        print(f"\nfloor of a forward ({REWRITTEN} TFLOP): {1e3 * REWRITTEN / rates['bf16']:.2f} ms at the rate of bf16")


# Steps. Each returns numbers: ms, TFLOP/s, GB, per second.


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
        found[name] = 2e-12 * size**3 / (1e-3 * _ms(lambda a=a, b=b: a @ b, options))
    source = torch.randn(size * size * 4, device=where)
    target = torch.empty_like(source)
    found["copy_tb_s"] = 2e-12 * source.nbytes / (1e-3 * _ms(lambda: target.copy_(source), options))
    return found


def reference(options: argparse.Namespace) -> dict[str, Any]:
    """Keep the coverage of PyTorch in float32 of one window, for all comparisons."""
    import torch

    model, x = build(options).to(_torch_device(options)), _onehot(options)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    with torch.inference_mode():
        coverage = model(x)[0].float().cpu().numpy()
    np.save(options.out / "reference.npy", coverage[_gtex(options)])
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
        one, two = _ms(lambda: model(x), options), _ms(lambda: model(x.repeat(2, 1, 1)), options)
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

    ms = _ms(step, options)
    memory = torch.cuda.max_memory_allocated() / 2**30 if where == "cuda" else peak_rss_gb()
    return {"ms": ms, "windows_per_s": 1e3 * count / ms, "peak_gb": memory, "tflop_s": 3e3 * AS_WRITTEN * count / ms}


def bundles(options: argparse.Namespace) -> dict[str, Any]:
    """Write the graphs of every form, side by side."""
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(min(len(FORMS), os.cpu_count() or 1)) as pool:
        seconds = list(pool.map(write_bundle, [options] * len(FORMS), FORMS, FORMS.values()))
    return dict(zip(FORMS, seconds, strict=True))


def forward(options: argparse.Namespace, form: str, device: str) -> dict[str, Any]:
    """Time a whole pass, and compare it with PyTorch in float32."""
    from borzoi_rt.backends.opening import open_session
    from borzoi_rt.bundle.parity import ParityRule

    start = time.perf_counter()
    with _placement_recorded():
        session = open_session(_bundle(options, form), device, check=False)
    x, index = sequence(options)[None], np.array(_gtex(options))
    coverage = session.run(x, index)[0]
    first = time.perf_counter() - start
    some, every = (_ms(lambda which=which: session.run(x, which), options) for which in (index, None))
    want = np.load(options.out / "reference.npy")
    report = ParityRule(factor=1.0, noise=None, precision="fp16").compare(coverage, want)
    return {
        "ms": some, "ms_all_tracks": every, "first_s": first, "peak_gb": _gpu_gb(), "logit_rms": report.rms,
        "logit_peak": report.peak, "gate_rms": report.allowed_rms, "gate_peak": report.allowed_peak,
        "on_cpu": _on_cpu(session._session),
    }  # fmt: skip


def parts(options: argparse.Namespace, form: str, device: str) -> dict[str, Any]:
    """Time the graphs apart: a whole pass, tiles in batches of three sizes, and a body."""
    from borzoi_rt.backends import resident

    found = {"ms_forward": forward(options, form, device)["ms"]}
    for tiles in (8, 16, 32):
        resident.TILES = tiles
        opened = resident.open_resident(_bundle(options, form), device, bank_bytes=0)
        layout, window = opened.layout, sequence(options)
        one_hot = np.stack([window[:, : layout.width * opened.tiling.token_bp]] * tiles)
        found[f"ms_fill_{tiles}_tiles"] = _ms(partial(opened.fill, 1, one_hot, 0.0), options)
        if tiles == 8:
            name = "body_64" if options.toy else "body_256"
            spans = [(0, end - start) for start, end in opened.tiling.bodies[name].skips]
            rows = BankRows(TilePlan.of(opened.geometry, opened.tiling), layout).of(np.full(4096, 8), spans)
            found[f"ms_{name}"] = _ms(partial(opened._embedding, name, rows, 2 if options.toy else 64), options)
        opened.close()
    return found


@contextmanager
def _placement_recorded() -> Iterator[None]:
    """Let sessions that are opened keep which provider runs each node."""
    from borzoi_rt.backends import runtime

    plain = runtime._session_options

    def recording(module: Any, device: Any) -> Any:
        options = plain(module, device)
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        return options

    runtime._session_options = recording
    try:
        yield
    finally:
        runtime._session_options = plain


def _on_cpu(session: Any) -> dict[str, int]:
    """Count the nodes that the CPU runs, by operator; shapes and other few numbers belong there."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return {}
    groups = session.get_provider_graph_assignment_info()
    nodes = [node for group in groups if group.ep_name == "CPUExecutionProvider" for node in group.get_nodes()]
    return dict(Counter(node.op_type for node in nodes))


def variants(options: argparse.Namespace, form: str, device: str, where: str) -> dict[str, Any]:
    """Time windows and SNVs of the incremental engine, 89 tracks, in 200 bins and in all."""
    from borzoi_rt.backends.opening import open_parts
    from borzoi_rt.backends.resident import open_resident
    from borzoi_rt.engine.incremental import IncrementalSession
    from borzoi_rt.engine.resident import ResidentSession

    bundle = _bundle(options, form)
    if where == "host":
        session = IncrementalSession(open_parts(bundle, device), model=bundle.sha256)
    else:
        bank_bytes = 0 if options.toy else 4 * 2**30
        session = ResidentSession(open_resident(bundle, device, bank_bytes=bank_bytes), model=bundle.sha256)
    window, index, length = sequence(options), np.array(_gtex(options)), bundle.geometry.sequence_length_bp
    middle, half = bundle.geometry.bins // 2, 4 if options.toy else 100
    spans = {"200_bins": (middle - half, middle + half), "all_bins": None}
    found: dict[str, Any] = {}
    draws = np.random.default_rng(3)
    for name, bins in spans.items():
        session.run(window[None], index, bins=bins)
        snvs = [_edited(window, int(draws.integers(length))) for _ in range(8 if options.toy else 100)]
        start = time.perf_counter()
        for snv in snvs:
            session.run(snv[None], index, bins=bins)
        found[f"ms_snv_more_{name}"] = 1e3 * (time.perf_counter() - start) / len(snvs)
    null = [session.run(window[None], index, bins=spans["200_bins"]) for _ in range(2)]
    found["null_is_zero"] = float(np.array_equal(*null))
    others = [np.roll(window, 1000 * number, axis=1) for number in range(1, 4 if options.toy else 13)]
    start = time.perf_counter()
    for other in others:
        session.run(other[None], index, bins=spans["200_bins"])
        session.run(_edited(other, length // 2)[None], index, bins=spans["200_bins"])
    found["ms_scattered_snv"] = 1e3 * (time.perf_counter() - start) / len(others)
    found["snv_per_s_shared"] = 1e3 / found["ms_snv_more_200_bins"]
    found["snv_per_s_scattered"] = 1e3 / found["ms_scattered_snv"]
    found["ism_1kb_s"] = 3.072 * found["ms_snv_more_200_bins"]
    found["tflop_s"] = 1e3 * ONE_MORE / found["ms_snv_more_200_bins"]
    return {**found, "peak_gb": _gpu_gb(), **_breakdown(session, options)}


def _breakdown(session: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Time the parts of a resident session apart."""
    parts = session._parts
    if not hasattr(parts, "layout"):
        return {}
    layout, window = parts.layout, sequence(options)
    tile_bp = layout.width * parts.tiling.token_bp
    tiles = np.stack([window[:, :tile_bp]] * layout.tiles)
    found = {"ms_fill_8_tiles": _ms(lambda: parts.fill(1, tiles, 0.0), options)}
    found["ms_move_tile"] = _ms(lambda: parts.move(8, 17), options)
    found["ms_keys"] = _ms(lambda: session._keys(window, 0.0), options)
    found["ms_window_again_200_bins"] = _ms(
        lambda: session.run(window[None], np.array(_gtex(options)), bins=(10, 20 if options.toy else 210)), options
    )
    for name, body in parts.tiling.bodies.items():
        spans = [(0, end - start) for start, end in body.skips]
        rows = session._rows.of(np.full(len(session._plan.tiles), 8), spans)
        start = 64 if body.moving and not options.toy else (2 if body.moving else None)
        found[f"ms_{name}"] = _ms(
            lambda name=name, rows=rows, start=start: parts._embedding(name, rows, start), options
        )
    return found


def bits(options: argparse.Namespace, form: str, device: str) -> dict[str, Any]:
    """Hash the coverage of one window in a process of its own."""
    from borzoi_rt.backends.opening import open_session

    session = open_session(_bundle(options, form), device, check=False)
    coverage = session.run(sequence(options)[None], np.array(_gtex(options)))
    return {"sha256": hashlib.sha256(coverage.tobytes()).hexdigest()[:16]}


def all_tracks(options: argparse.Namespace, form: str, device: str, kind: str) -> dict[str, Any]:
    """Time variants from VCF rows to scores, every track, the whole window."""
    from borzoi_rt import ScoreOptions, score_variants
    from borzoi_rt.backends.opening import open_parts
    from borzoi_rt.backends.resident import open_resident
    from borzoi_rt.engine.cache import Cache
    from borzoi_rt.engine.resident import ResidentSession, ResidentSummingSession
    from borzoi_rt.engine.summing import SummingSession
    from borzoi_rt.engine.tile_cache import TileCache

    bundle = _bundle(options, form)
    memory = 0 if options.toy else 4 * 2**30
    if kind == "host fused":
        cache = TileCache(Cache(memory))
        session: Any = SummingSession(open_parts(bundle, device), model=bundle.sha256, cache=cache)  # type: ignore[arg-type]
    else:
        opened = ResidentSummingSession if kind == "fused" else ResidentSession
        parts = open_resident(bundle, device, bank_bytes=memory)
        session = opened(parts, model=bundle.sha256, cache=Cache(memory))
    length = bundle.geometry.sequence_length_bp
    fasta = options.out / "genome.fa"
    letters = "".join(np.array(list("ACGT"))[np.random.default_rng(5).integers(0, 4, 3 * length)])
    fasta.write_text(f">chr1\n{letters}\n")
    Path(f"{fasta}.fai").write_text(f"chr1\t{3 * length}\t6\t{3 * length}\t{3 * length + 1}\n")
    count = 2 if options.toy else 5
    positions = range(length, length + count * 300, 300)
    rows = [f"chr1:{pos + 1}:{letters[pos]}:{'ACGT'['ACGT'.index(letters[pos]) - 1]}" for pos in positions]
    choices = ScoreOptions.for_family(stats=("SUM", "logSED", "D2"))
    start = time.perf_counter()
    list(score_variants(rows[:1], bundle=bundle, fasta=fasta, session=session, options=choices))
    first = time.perf_counter() - start
    start = time.perf_counter()
    done = list(score_variants(rows[1:], bundle=bundle, fasta=fasta, session=session, options=choices))
    assert all(item.status == "ok" for item in done), done[0]
    return {"ms_variant": 1e3 * (time.perf_counter() - start) / len(done), "first_s": first, "peak_gb": _gpu_gb()}


def _change_runtime(options: argparse.Namespace) -> None:
    """Give every session the provider options and the batch of tiles that the command line asks for."""
    from borzoi_rt.backends import resident, runtime

    resident.TILES = options.tiles
    plain, changes = runtime._providers, dict(choice.split("=", 1) for choice in options.cuda)

    def changed(*given: Any) -> list[Any]:
        found = plain(*given)
        return [(item[0], {**item[1], **changes}) if isinstance(item, tuple) else item for item in found]

    runtime._providers = changed


def _bundle(options: argparse.Namespace, form: str) -> Any:
    from borzoi_rt import open_bundle

    return open_bundle(options.out / form, verify=False)


def _edited(window: np.ndarray, position: int) -> np.ndarray:
    changed = window.copy()
    changed[:, position] = np.roll(changed[:, position], 1)
    return changed


def _gtex(options: argparse.Namespace) -> list[int]:
    return list(range(TOY_TRACKS)) if options.toy else list(GTEX)


def _onehot(options: argparse.Namespace) -> Any:
    import torch

    return torch.from_numpy(sequence(options)[None]).to(_torch_device(options))


def _torch_device(options: argparse.Namespace) -> str:
    return "cpu" if options.toy else "cuda"


def _ms(call: Callable[[], Any], options: argparse.Namespace) -> float:
    """Return the median milliseconds of a call, the device waited for."""
    synchronize: Callable[[], None] = lambda: None  # noqa: E731
    if not options.toy and "torch" in sys.modules:
        synchronize = sys.modules["torch"].cuda.synchronize
    times = []
    for turn in range(3 if options.toy else 9):
        start = time.perf_counter()
        call()
        synchronize()
        if turn >= (1 if options.toy else 2):
            times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times))


def _gpu_gb() -> float:
    """Return the memory in use on the card, by whatever process."""
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]) / 1024
    except (OSError, subprocess.CalledProcessError):
        return peak_rss_gb()


_FUNCTIONS: dict[str, Callable[..., dict[str, Any]]] = {
    function.__name__: function
    for function in (
        rates,
        reference,
        ours_in_torch,
        peer,
        training,
        bundles,
        forward,
        parts,
        variants,
        bits,
        all_tracks,
    )
}

if __name__ == "__main__":
    main()
