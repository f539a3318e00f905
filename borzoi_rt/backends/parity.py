"""Run the golden example of a bundle again, wherever the bundle is opened."""

from __future__ import annotations

import numpy as np

from ..bundle import Bundle
from ..bundle.parity import Comparison, ParityRule, require
from ..errors import ParityError
from .protocols import Session


def replay_golden(session: Session, bundle: Bundle) -> Comparison:
    """Run the golden example of a bundle and compare it by :mod:`borzoi_rt.bundle.parity`.

    Parameters
    ----------
    session : Session
        What computes, on any device.
    bundle : Bundle
        The model. Its golden example is a float64 forward of the trained network.

    Returns
    -------
    Comparison
        Differences of logits and what is allowed.

    Raises
    ------
    ParityError
        If a bound is broken; the message names the worst track and bin.
    """
    golden = bundle.golden()
    want = golden["coverage"]
    got = session.run(golden["sequence"], golden["track_index"])
    if got.shape != want.shape:
        raise ParityError(
            f"{bundle.path}: the golden example has shape {want.shape}, {session.provider} gave {got.shape}"
        )
    found, wanted = (np.concatenate(list(values), axis=-1) for values in (got, want))  # windows side by side
    report = ParityRule.replay(bundle.info.parity, bundle.info.precision).compare(found, wanted)
    track, position = report.worst
    name = bundle.tracks.identifier[int(golden["track_index"][track])]
    require(
        report,
        f"{bundle.path}: {session.provider} does not reproduce the golden example",
        f"worst track {name!r}, bin {position % want.shape[-1]}; check the driver and provider versions, "
        "or use onnx:cpu",
    )
    return report
