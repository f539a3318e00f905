"""Every compiled kernel against the best plain NumPy, at the sizes that occur.

A kernel stays in csrc/ only while it takes at most half the processor time of NumPy, or at most half the memory.

    python -m benchmarks.kernels
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from borzoi_rt import sequence
from borzoi_rt._kernels import onehot, squash

from ._common import interleaved, peak_bytes, print_header, print_table

LENGTH = 524_288
ISM_ROWS = 192
BINS = ((951, 6144), (89, 200))
# A Borzoi head: RNA tracks carry the 3/4 power, the others none.
POWERED = 0.5

Pair = tuple[Callable[[], Any], Callable[[], Any]]


def main() -> None:
    """Print the table."""
    print_header("python -m benchmarks.kernels")
    rows = []
    for name, (ours, plain) in {**_onehot_pairs(), **_squash_pairs()}.items():
        seconds = interleaved({"ours": ours, "numpy": plain})
        memory = {"ours": peak_bytes(ours), "numpy": peak_bytes(plain)}
        time_ratio = seconds["ours"] / seconds["numpy"]
        memory_ratio = memory["ours"] / max(memory["numpy"], 1)
        stays = time_ratio <= 0.5 or memory_ratio <= 0.5
        rows.append(
            (
                name,
                1e6 * seconds["ours"],
                1e6 * seconds["numpy"],
                time_ratio,
                memory["ours"] / 1e6,
                memory["numpy"] / 1e6,
                memory_ratio,
                "yes" if stays else "NO",
            )
        )
    print_table(("kernel", "us", "NumPy us", "ratio", "peak MB", "NumPy MB", "ratio", "stays"), rows)
    edit, refill = _batch_of_mutants()
    seconds = interleaved({"edit": edit, "refill": refill})
    ratio = seconds["edit"] / seconds["refill"]
    edited, refilled = 1e6 * seconds["edit"], 1e6 * seconds["refill"]
    print(f"\na batch of {ISM_ROWS} mutants: edited {edited:.1f} us, refilled {refilled:.0f} us, ratio {ratio:.5f}")


def _onehot_pairs() -> dict[str, Pair]:
    generator = np.random.default_rng(0)
    letters = generator.choice(np.frombuffer(b"ACGTacgtN", np.uint8), LENGTH).tobytes()
    window = sequence.encode(letters)
    table = np.zeros((256, 4), dtype=np.uint8)
    for row, base in enumerate("ACGT"):
        table[[ord(base), ord(base.lower())], row] = 1
    columns = np.ascontiguousarray(table.T)
    names = np.frombuffer(b"NACGT", dtype=np.uint8)

    def encode() -> np.ndarray:
        out = np.empty((4, LENGTH), dtype=np.uint8)
        onehot.encode(letters, out)
        return out

    def plain_encode() -> np.ndarray:
        codes = np.frombuffer(letters, dtype=np.uint8)
        out = np.empty((4, LENGTH), dtype=np.uint8)
        for row in range(4):
            np.take(columns[row], codes, out=out[row], mode="clip")
        return out

    def decode() -> np.ndarray:
        out = np.empty(LENGTH, dtype=np.uint8)
        onehot.decode(window, out)
        return out

    def plain_decode() -> np.ndarray:
        code = window[1] << 1
        code += window[0]
        code += window[2] * np.uint8(3)
        code += window[3] << 2
        return names[code]

    batch = np.repeat(window[None], ISM_ROWS, axis=0)
    old = generator.integers(0, LENGTH, ISM_ROWS)
    new = generator.integers(0, LENGTH, ISM_ROWS)
    alt = generator.integers(0, 4, ISM_ROWS).astype(np.uint8)
    everyone = np.arange(ISM_ROWS)
    unit = np.eye(4, dtype=np.uint8)

    def edit() -> None:
        onehot.edit(batch, window, old, new, alt)

    def plain_edit() -> None:
        batch[everyone, :, old] = window[:, old].T
        batch[everyone, :, new] = unit[alt]

    if not (np.array_equal(encode(), plain_encode()) and np.array_equal(decode(), plain_decode())):
        raise SystemExit("encode or decode differs from NumPy")
    return {
        f"encode {LENGTH:,} bp": (encode, plain_encode),
        f"decode {LENGTH:,} bp": (decode, plain_decode),
        f"edit {ISM_ROWS} x {LENGTH:,} bp": (edit, plain_edit),
    }


def _batch_of_mutants() -> Pair:
    """Return the next batch of a saturation mutagenesis, by edits of the last one and by writing every window anew."""
    generator = np.random.default_rng(2)
    letters = generator.integers(0, 4, LENGTH)
    window = (letters == np.arange(4)[:, None]).astype(np.uint8)
    batch = np.repeat(window[None], ISM_ROWS, axis=0)
    old, new = np.arange(ISM_ROWS) // 3, np.arange(ISM_ROWS) // 3 + ISM_ROWS // 3
    alt = generator.integers(0, 4, ISM_ROWS).astype(np.uint8)
    unit = np.eye(4, dtype=np.uint8)

    def edit() -> None:
        onehot.edit(batch, window, old, new, alt)

    def refill() -> None:
        batch[:] = window
        batch[np.arange(ISM_ROWS), :, new] = unit[alt]

    return edit, refill


def _squash_pairs() -> dict[str, Pair]:
    pairs: dict[str, Pair] = {}
    generator = np.random.default_rng(1)
    for tracks, bins in BINS:
        power = (np.arange(tracks) < POWERED * tracks).astype(np.intc)
        powered = power.astype(bool)
        scale = np.full(tracks, 0.3, dtype=np.float32)
        knee = np.full(tracks, 384, dtype=np.float32)
        limit = np.full(tracks, 768, dtype=np.float32)
        one = np.ones(tracks, dtype=np.float32)
        column = {"scale": scale[:, None], "knee": knee[:, None], "limit": limit[:, None]}
        values = generator.gamma(0.3, 40.0, (1, tracks, bins)).astype(np.float32)
        work, plain = values.copy(), values[0].copy()

        def inverse(work=work, values=values, scale=scale, knee=knee, power=power, one=one):  # type: ignore[no-untyped-def]
            np.copyto(work, values)
            squash.inverse(work, scale, knee, 0.0, power, one)

        def plain_inverse(plain=plain, values=values, powered=powered, column=column):  # type: ignore[no-untyped-def]
            np.divide(values[0], column["scale"], out=plain)
            above = plain - column["knee"]
            np.square(above, out=above)
            above += column["knee"]
            np.copyto(plain, above, where=plain > column["knee"])
            plain[powered] = plain[powered] ** np.float32(4 / 3)

        def forward(work=work, values=values, scale=scale, knee=knee, limit=limit, power=power, one=one):  # type: ignore[no-untyped-def]
            np.copyto(work, values)
            squash.forward(work, one, knee, 0.0, limit, power, scale)

        def plain_forward(plain=plain, values=values, powered=powered, column=column):  # type: ignore[no-untyped-def]
            np.copyto(plain, values[0])
            root = np.sqrt(plain[powered])
            root *= np.sqrt(root)
            plain[powered] = root
            above = np.maximum(plain - column["knee"], 0)
            np.sqrt(above, out=above)
            above += column["knee"]
            np.copyto(plain, above, where=plain > column["knee"])
            np.clip(plain, -column["limit"], column["limit"], out=plain)
            np.multiply(plain, column["scale"], out=plain)

        def slope(work=work, values=values, scale=scale, knee=knee, power=power, one=one):  # type: ignore[no-untyped-def]
            np.copyto(work, values)
            squash.slope(work, scale, knee, 0.0, power, one)

        def plain_slope(plain=plain, values=values, powered=powered, column=column):  # type: ignore[no-untyped-def]
            np.divide(values[0], column["scale"], out=plain)
            above = plain - column["knee"]
            beyond = above > 0
            np.copyto(plain, above * above + column["knee"], where=beyond)
            plain[powered] = np.cbrt(plain[powered]) * np.float32(4 / 3)
            plain[~powered] = 1
            np.copyto(plain, plain * above * 2, where=beyond)
            np.divide(plain, column["scale"], out=plain)

        for name, ours, theirs in (
            ("inverse", inverse, plain_inverse),
            ("forward", forward, plain_forward),
            ("slope", slope, plain_slope),
        ):
            ours()
            theirs()
            # NumPy in float32 rounds beside the knee, where the slope jumps.
            if not np.allclose(work[0], plain, rtol=1e-4, atol=5e-3 if name == "slope" else 1e-4):
                raise SystemExit(f"{name} differs from NumPy")
            pairs[f"squash {name} {tracks} x {bins:,}"] = (ours, theirs)
    return pairs


if __name__ == "__main__":
    main()
