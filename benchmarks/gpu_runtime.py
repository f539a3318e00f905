"""Steps of the GPU benchmark on onnxruntime; each returns numbers: ms, TFLOP/s, GB, per second."""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from borzoi_rt.engine.bank import BankRows
from borzoi_rt.engine.tiles import TilePlan

from ._common import peak_rss_gb
from .gpu_models import gtex, milliseconds, sequence, write_bundle

ONE_MORE = 1.4394  # TFLOP of one SNV more in 200 bins
FORMS = {"cpu-fp32": ("cpu", "fp32"), "gpu-fp32": ("gpu", "fp32"), "gpu-fp16": ("gpu", "fp16")}  # target, precision
GRADIENT = "gpu-fp32-gradient"


def bundles(options: argparse.Namespace) -> dict[str, Any]:
    """Write the graphs of every form, side by side."""
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(min(len(FORMS), os.cpu_count() or 1)) as pool:
        seconds = list(pool.map(write_bundle, [options] * len(FORMS), FORMS, FORMS.values()))
    return dict(zip(FORMS, seconds, strict=True))


def forward(options: argparse.Namespace, form: str, device: str) -> dict[str, Any]:
    """Time a whole pass, and compare it with PyTorch in float32."""
    from borzoi_rt.backends.opening import open_session

    start = time.perf_counter()
    with _placement_recorded():
        session = open_session(_bundle(options, form), device, check=False)
    x, index = sequence(options)[None], np.array(gtex(options))
    coverage = session.run(x, index)[0]
    first = time.perf_counter() - start
    some, every = (milliseconds(lambda which=which: session.run(x, which), options) for which in (index, None))
    times = {"ms": some, "ms_all_tracks": every, "first_s": first, "peak_gb": _gpu_gb()}
    return {**times, **_against_torch(coverage, options), "on_cpu": _on_cpu(session._session)}


def _against_torch(coverage: np.ndarray, options: argparse.Namespace) -> dict[str, float]:
    """Compare with PyTorch in float32 on the card."""
    from borzoi_rt.bundle.parity import ParityRule

    want = np.load(options.out / "reference.npy")
    report = ParityRule(factor=1.0, noise=None, precision="fp16").compare(coverage, want)
    return {
        "logit_rms": report.rms, "logit_peak": report.peak, "gate_rms": report.allowed_rms,
        "gate_peak": report.allowed_peak,
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
        found[f"ms_fill_{tiles}_tiles"] = milliseconds(_waited(opened, partial(opened.fill, 1, one_hot, 0.0)), options)
        if tiles == 8:
            name = "body_64" if options.toy else "body_256"
            spans = [(0, end - start) for start, end in opened.tiling.bodies[name].skips]
            rows = BankRows(TilePlan.of(opened.geometry, opened.tiling), layout).of(np.full(4096, 8), spans)
            body = partial(opened._embedding, name, rows, 2 if options.toy else 64)
            found[f"ms_{name}"] = milliseconds(_waited(opened, body), options)
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
    from borzoi_rt.engine.incremental import IncrementalSession

    bundle = _bundle(options, form)
    if where == "host":
        session: Any = IncrementalSession(open_parts(bundle, device), model=bundle.sha256)
    else:
        session = _resident(bundle, device, options)
    window, index, length = sequence(options), np.array(gtex(options)), bundle.geometry.sequence_length_bp
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
    found |= _against_torch(session.run(window[None], index)[0], options)
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
    found = {"ms_wait": milliseconds(_waited(parts, lambda: None), options)}
    found[f"ms_fill_{layout.tiles}_tiles"] = milliseconds(_waited(parts, lambda: parts.fill(1, tiles, 0.0)), options)
    found["ms_move_tile"] = milliseconds(_waited(parts, lambda: parts.move(8, 17)), options)
    found["ms_keys"] = milliseconds(lambda: session._keys(window, 0.0), options)
    found["ms_window_again_200_bins"] = milliseconds(
        lambda: session.run(window[None], np.array(gtex(options)), bins=(10, 20 if options.toy else 210)), options
    )
    for name, body in parts.tiling.bodies.items():
        spans = [(0, end - start) for start, end in body.skips]
        rows = session._rows.of(np.full(len(session._plan.tiles), 8), spans)
        start = 64 if body.moving and not options.toy else (2 if body.moving else None)
        found[f"ms_{name}"] = milliseconds(_waited(parts, partial(parts._embedding, name, rows, start)), options)
    return found


def _waited(parts: Any, call: Callable[[], Any]) -> Callable[[], None]:
    """Return a call that lasts until the card has done it: a row is fetched, which comes last in its queue."""
    row = np.empty((1, 1, parts._channels), dtype=np.float32)

    def waited() -> None:
        call()
        parts._bound("gather", {"bank": parts._bank, "row_index": np.zeros((1, 1), dtype=np.int64)}, {"rows": row})

    return waited


def bits(options: argparse.Namespace, form: str, device: str, kind: str) -> dict[str, Any]:
    """Hash the coverage of a window, by a whole pass or by the incremental engine, in a process of its own."""
    from borzoi_rt.backends.opening import open_session

    bundle, window, index = _bundle(options, form), sequence(options), np.array(gtex(options))
    session = open_session(bundle, device, check=False) if kind == "whole" else _resident(bundle, device, options)
    found = [session.run(one[None], index) for one in (window, _edited(window, window.shape[1] // 2))]
    return {"sha256": hashlib.sha256(b"".join(values.tobytes() for values in found)).hexdigest()[:16]}


def _resident(bundle: Any, device: str, options: argparse.Namespace) -> Any:
    from borzoi_rt.backends.resident import open_resident
    from borzoi_rt.engine.resident import ResidentSession

    parts = open_resident(bundle, device, bank_bytes=0 if options.toy else 4 * 2**30)
    return ResidentSession(parts, model=bundle.sha256)


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


def captured(options: argparse.Namespace, form: str, device: str, graph: str) -> dict[str, Any]:
    """Time a graph with inputs and outputs on the card, as it is and replayed as a CUDA graph."""
    found, sums = {}, []
    for name, on in (("ms", 0), ("ms_captured", 1)):
        with cuda_options({} if options.toy else {"enable_cuda_graph": on}):
            run, outputs = _on_card(options, form, device, graph)
        found[name] = milliseconds(run, options)
        sums.append([float(value.numpy().sum(dtype=np.float64)) for value in outputs])
    return {**found, "same": float(sums[0] == sums[1])}


def batched(options: argparse.Namespace, form: str, device: str, graph: str) -> dict[str, Any]:
    """Time a graph on batches with inputs and outputs on the card: milliseconds of one of the batch."""
    found = {}
    for batch in (1, 2, 4):
        run, _ = _on_card(options, form, device, graph, batch)
        found[f"ms_each_of_{batch}"] = milliseconds(run, options) / batch
    return found


def _on_card(
    options: argparse.Namespace, form: str, device: str, graph: str, batch: int = 1
) -> tuple[Callable[[], None], list[Any]]:
    """Load a graph; return a call that runs it on random inputs held on the card, and its outputs there."""
    import onnxruntime

    from borzoi_rt.backends import runtime
    from borzoi_rt.backends.device import Device

    where, sizes = "cpu" if options.toy else "cuda", {"batch": batch, "tracks": len(gtex(options))}
    kinds = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int64)": np.int64}
    session = runtime.load_graph(_bundle(options, form), graph, Device.parse(device))
    binding, held, draws = session.io_binding(), [], np.random.default_rng(0)
    for item in session.get_inputs():
        shape = [sizes.get(size, size) for size in item.shape]
        values = np.asarray(draws.integers(0, 2, shape), dtype=kinds[item.type])
        held.append(onnxruntime.OrtValue.ortvalue_from_numpy(values, where, 0))
        binding.bind_ortvalue_input(item.name, held[-1])
    outputs = []
    for item in session.get_outputs():
        shape = [sizes.get(size, size) for size in item.shape]
        outputs.append(onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, np.float32, where, 0))
        binding.bind_ortvalue_output(item.name, outputs[-1])

    def run(held: Any = held) -> None:  # the binding holds addresses alone
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return run, outputs


@contextmanager
def cuda_options(changes: dict[str, Any]) -> Iterator[None]:
    """Let sessions that are opened have other options of the CUDA provider."""
    from borzoi_rt.backends import runtime

    plain = runtime._providers
    runtime._providers = lambda *given: [
        (item[0], item[1] | changes) if isinstance(item, tuple) else item for item in plain(*given)
    ]
    try:
        yield
    finally:
        runtime._providers = plain


def saliency(options: argparse.Namespace, device: str) -> dict[str, Any]:
    """Time a forward pass for the cotangent and the way back, of 200 bins; tiles and embeddings go through the host."""
    from borzoi_rt.backends.gradient import open_gradient
    from borzoi_rt.engine.gradient import GradientSession

    write_bundle(options, GRADIENT, FORMS["gpu-fp32"], gradient=True)
    session = GradientSession(open_gradient(_bundle(options, GRADIENT), device))
    window, index = sequence(options).astype(np.float32), np.array(gtex(options))
    middle, half, length = session.geometry.bins // 2, 4 if options.toy else 100, window.shape[1]
    bins = (middle - half, middle + half)
    cotangent = np.ones((len(index), 2 * half))

    def both(low: int, high: int) -> None:
        session.coverage(window, index, bins)
        session.pullback(window, index, cotangent, bins=bins, bases=(low, high))

    found = {"ms_forward": milliseconds(lambda: session.coverage(window, index, bins), options)}
    found["ms_1024_bp"] = milliseconds(lambda: both(length // 2, length // 2 + 1024), options)
    found["ms_window"] = milliseconds(lambda: both(0, length), options)
    return {**found, "peak_gb": _gpu_gb()}


def _bundle(options: argparse.Namespace, form: str) -> Any:
    from borzoi_rt import open_bundle

    return open_bundle(options.out / form, verify=False)


def _edited(window: np.ndarray, position: int) -> np.ndarray:
    changed = window.copy()
    changed[:, position] = np.roll(changed[:, position], 1)
    return changed


def _gpu_gb() -> float:
    """Return the memory in use on the card, by whatever process."""
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]) / 1024
    except (OSError, subprocess.CalledProcessError):
        return peak_rss_gb()


STEPS = {
    function.__name__: function
    for function in (bundles, forward, parts, captured, batched, saliency, variants, bits, all_tracks)
}
