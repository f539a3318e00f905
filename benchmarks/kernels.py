"""Compiled kernels against plain NumPy, interleaved: ``python -m benchmarks.kernels``.

A kernel stays while it is at least twice as fast as the best NumPy we know, or needs half of its extra memory. The
batch of substitutions is no kernel: its line compares editing two columns a row with filling the batch anew.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np

from borzoi_rt import sequence
from borzoi_rt.squash import Squash

from ._common import header, interleaved

ROUNDS = 15
LENGTH = 524_288
BATCH = 192
_TABLE = np.full((4, 256), 0, dtype=np.uint8)
for _row, _pair in enumerate(("Aa", "Cc", "Gg", "Tt")):
    for _letter in _pair:
        _TABLE[_row, ord(_letter)] = 1
_LETTERS = np.frombuffer(b"ACGT", dtype=np.uint8)


def one_hot_cases() -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """Return pairs of (kernel, NumPy) on a window of the published length."""
    text = "".join(np.random.default_rng(0).choice(list("ACGTacgtN"), LENGTH))
    raw = np.frombuffer(text.encode(), dtype=np.uint8)
    onehot = sequence.encode(text)
    known = sequence.encode(text.upper().replace("N", "A"))
    batches = sequence.substitutions(known, batch_size=BATCH)
    next(batches)  # the first batch fills the buffer

    def numpy_decode() -> str:
        letters = np.where(onehot.any(axis=0), _LETTERS[onehot.argmax(axis=0)], ord("N"))
        return letters.astype(np.uint8).tobytes().decode()

    batch = np.repeat(known[None], BATCH, axis=0)
    rows, position, alt = np.arange(BATCH), 1000 + np.arange(BATCH) // 3, np.arange(BATCH) % 4

    def refilled() -> None:
        batch[:] = known
        batch[rows, :, position] = 0
        batch[rows, alt, position] = 1

    return {
        "encode": (lambda: sequence.encode(text), lambda: _TABLE[:, raw]),
        "decode": (lambda: sequence.decode(onehot), numpy_decode),
        "substitutions (edit)": (lambda: next(batches), refilled),
    }


def squash_cases() -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """Return pairs for both directions on 951 tracks x 6,144 bins, kind ``old`` with the square-root exponent."""
    tracks, bins = 951, 6144
    kind = Squash(
        kind="old",
        sum_stat=("sum_sqrt",) * tracks,
        clip=np.full(tracks, 768, np.float32),
        clip_soft=np.full(tracks, 384, np.float32),
        scale=np.full(tracks, 0.3, np.float32),
    )
    squashed = np.random.default_rng(1).uniform(0, 200, (tracks, bins)).astype(np.float32)
    work = squashed.copy()

    def numpy_inverse() -> np.ndarray:
        u = squashed / np.float32(0.3)
        above = u > 384
        u[above] = (u[above] - 384) ** 2 + 384
        return u ** np.float32(4 / 3) * np.float32(0.3)

    def numpy_forward() -> np.ndarray:
        w = squashed ** np.float32(0.75)
        above = w > 384
        w[above] = 384 + np.sqrt(w[above] - 384)
        return np.minimum(w, 768) * np.float32(0.3)

    def fresh(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[], object]:
        def run() -> object:
            np.copyto(work, squashed)
            return function(work)

        return run

    return {
        "squash inverse": (fresh(kind.inverse), numpy_inverse),
        "squash forward": (fresh(kind.forward), numpy_forward),
        "squash slope": (fresh(kind.slope), numpy_inverse),
    }


def extra_bytes(function: Callable[[], object]) -> int:
    """Return the peak of what a call allocates."""
    tracemalloc.start()
    function()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def main() -> None:
    """Print one line a kernel."""
    print(header())
    print(f"{'kernel':<22}{'ours ms':>10}{'NumPy ms':>10}{'ratio':>8}{'ours MB':>10}{'NumPy MB':>10}")
    for name, (ours, plain) in {**one_hot_cases(), **squash_cases()}.items():
        seconds = interleaved({"ours": ours, "numpy": plain}, ROUNDS)
        memory = extra_bytes(ours) / 1e6, extra_bytes(plain) / 1e6
        ratio = seconds["numpy"] / seconds["ours"]
        print(
            f"{name:<22}{seconds['ours'] * 1e3:>10.2f}{seconds['numpy'] * 1e3:>10.2f}{ratio:>8.1f}"
            f"{memory[0]:>10.1f}{memory[1]:>10.1f}"
        )


if __name__ == "__main__":
    main()
