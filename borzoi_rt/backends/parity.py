"""Run the golden example of a bundle again, wherever the bundle is opened."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..bundle import Bundle
from ..bundle.parity import Comparison, ParityRule, require
from ..errors import ParityError
from .device import Device
from .protocols import Session


def replay_golden(session: Session, bundle: Bundle, *, split: bool = False) -> Comparison:
    """Run the golden example of a bundle and compare it by :mod:`borzoi_rt.bundle.parity`.

    Parameters
    ----------
    session : Session
        What computes, on any device.
    bundle : Bundle
        The model. Its golden example is a float64 forward of the trained network.
    split : bool
        The session runs the split graphs: every body that computes a part of the window is run as well.

    Returns
    -------
    Comparison
        Differences of logits and what is allowed, of the run that is farthest off.

    Raises
    ------
    ParityError
        If a bound is broken; the message names the worst track and bin.
    """
    golden = bundle.golden()
    sequence, index = golden["sequence"], golden["track_index"]
    whole = session.run(sequence, index)
    reports = [_compared(whole, golden, session.provider, bundle)]
    for start, end in moving_parts(bundle) if split else ():
        coverage = whole.copy()
        coverage[..., start:end] = session.run(sequence, index, bins=(start, end))
        reports.append(_compared(coverage, golden, session.provider, bundle))
    return max(reports, key=lambda report: report.rms)


def moving_parts(bundle: Bundle) -> list[tuple[int, int]]:
    """Return, for each body that computes a part of the window, the most bins in the middle that it always covers."""
    tiling, grid = bundle.info.tiling, bundle.geometry
    bodies = [] if tiling is None else [body.bins for body in tiling.bodies.values() if body.moving]
    counts = [] if tiling is None else [bins - tiling.token_bp // grid.bin_size_bp + 1 for bins in bodies]
    middles = [((grid.bins - count) // 2, count) for count in counts if 0 < count <= grid.bins]
    return [(start, start + count) for start, count in middles]


def _compared(got: np.ndarray, golden: Mapping[str, np.ndarray], provider: str, bundle: Bundle) -> Comparison:
    want, index = golden["coverage"], golden["track_index"]
    if got.shape != want.shape:
        raise ParityError(f"{bundle.path}: the golden example has shape {want.shape}, {provider} gave {got.shape}")
    found, wanted = (np.concatenate(list(values), axis=-1) for values in (got, want))  # windows side by side
    tf32 = provider.startswith("cuda") and Device.parse(provider).tf32
    report = ParityRule.replay(bundle.info.parity, bundle.info.precision, tf32=tf32).compare(found, wanted)
    track, position = report.worst
    name = bundle.tracks.identifier[int(index[track])]
    require(
        report,
        f"{bundle.path}: {provider} does not reproduce the golden example",
        f"worst track {name!r}, bin {position % want.shape[-1]}; copy or export the bundle again, check the versions "
        "of driver and provider, or use the device cpu",
    )
    return report
