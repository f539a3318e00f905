"""pyfftw against numpy.fft on the DFT score: ``python benchmarks/dft.py [--sites 1024] [--motifs 18] [--bins 4000]``.

Three things are timed, each the best of some rounds in which the peers take turns, on one thread and in float64: the
transform of effects that lie in memory; the norms of the spectra, which is the score itself; and, without a peer, the
score with all that is reported beside it. numpy.fft writes each transform into a new array, as its users do.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable

import numpy as np
import pyfftw

from borzoi_rt.promoter.dft import dft_scores
from borzoi_rt.promoter.spectra import hermitian_weights, rfft, spectral_norms


def best(rounds: int, *calls: Callable[[], object]) -> list[float]:
    """Return the shortest time of each call, in seconds; the calls take turns."""
    times = [float("inf")] * len(calls)
    for _ in range(rounds):
        for number, call in enumerate(calls):
            started = time.perf_counter()
            call()
            times[number] = min(times[number], time.perf_counter() - started)
    return times


def numpy_norms(f: np.ndarray) -> np.ndarray:
    """Return the norm of every spectrum, as numpy.fft users write it."""
    return np.sqrt((hermitian_weights(f.shape[-1]) * np.abs(np.fft.rfft(f)) ** 2).sum(axis=-1))


def plan_only(f: np.ndarray) -> Callable[[], None]:
    """Return a call that executes the plan over as many rows as ``f`` has, without moving data."""
    rows = 64
    source = pyfftw.empty_aligned((rows, f.shape[-1]))
    target = pyfftw.empty_aligned((rows, f.shape[-1] // 2 + 1), dtype="complex128")
    plan = pyfftw.FFTW(source, target, axes=(-1,), flags=("FFTW_MEASURE",))
    source[:] = f[:rows]

    def call() -> None:
        for _ in range(0, len(f), rows):
            plan.execute()

    return call


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("--sites", 1024), ("--motifs", 18), ("--bins", 4000), ("--rounds", 5)):
        parser.add_argument(name, type=int, default=default)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    wt = 1.0 + random.random((options.sites, options.bins))
    ko = wt[:, None] + 0.1 * random.normal(size=(options.sites, options.motifs, options.bins))
    f = (ko - wt[:, None]).reshape(-1, options.bins)
    started = time.perf_counter()
    rfft(f[:1])
    planning = time.perf_counter() - started
    np.testing.assert_allclose(spectral_norms(wt, ko).ravel(), numpy_norms(f), rtol=1e-10)
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}, "
          f"pyfftw {pyfftw.__version__}, one thread")  # fmt: skip
    print(f"{len(f):,} effects of {options.bins:,} bins, float64; planning {planning:.2f} s, once")
    print(f"{'':44}{'pyfftw':>9}{'numpy':>9}{'ratio':>8}")
    rows: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "transform alone, plan on aligned buffers": (plan_only(f), lambda: np.fft.rfft(f)),
        "transform into a new array": (lambda: rfft(f), lambda: np.fft.rfft(f)),
        "norms of the spectra from WT and KO": (
            lambda: spectral_norms(wt, ko),
            lambda: numpy_norms((ko - wt[:, None]).reshape(f.shape)),
        ),
    }
    for name, (ours, theirs) in rows.items():
        fast, slow = best(options.rounds, ours, theirs)
        print(f"{name:44}{fast:8.3f}s{slow:8.3f}s{slow / fast:7.2f}x")
    (whole,) = best(1, lambda: dft_scores(wt, ko, center=options.bins // 2, spectra=False))
    print(f"{'score with parts, centres and moves':44}{whole:8.3f}s")


if __name__ == "__main__":
    main()
