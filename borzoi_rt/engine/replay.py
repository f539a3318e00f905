"""Run the ``statistics`` graph of a bundle on an example: its sums must be those of the coverage that it stands for.

The golden example proves coverage; this proves that the sums follow from it. The reference allele is a window, the
other a quarter of the same window with its last bin first: one embedding then gives two coverages whose sums are all
known, and differences that are larger on one side.
"""

from __future__ import annotations

import numpy as np

from ..backends.device import Device
from ..backends.protocols import Views
from ..bundle import Bundle
from ..errors import ParityError
from .summing import Rows, SummingSession

# Rounding of float32 between a coverage and its sums, as a share of the sums of sizes; of TF32 where a device uses it.
TOLERANCE, COARSE = 1e-4, 2e-2
_ALT_SHARE = np.float32(0.25)


def replay_sums(session: SummingSession, bundle: Bundle, sequence: np.ndarray, track_index: np.ndarray) -> float:
    """Compare sums made inside the graph with float64 sums of the session's own coverage.

    For f the identity, log2(x + 1) and the square root: sum f(R), sum f(A), sum |f(A) - f(R)|, sum (f(A) - f(R))^2, and
    the difference A - R of the largest size.

    Parameters
    ----------
    session : SummingSession
        What computes.
    bundle : Bundle
        The model, for its squashed scale.
    sequence : uint8 ndarray of shape (1 or more, 4, length)
        The first window is used.
    track_index : int64 ndarray of shape (tracks,)
        Outputs of the head.

    Returns
    -------
    float
        The largest difference, as a share of what it is a part of.

    Raises
    ------
    ParityError
        If a sum is none of that coverage; the message names the sum and the track.
    """
    squash = bundle.squash(track_index)
    squashed = session.run(sequence[:1], track_index)[0]
    ref, alt = (squash.inverse(part.copy()).astype(np.float64) for part in (squashed, _ALT_SHARE * squashed[:, ::-1]))
    bins = session.geometry.bins
    ref_views, alt_views = (
        Views(
            [session.embed(sequence[0], 0.0, (0, bins), turned=turned)],
            np.full((1, bins), share, dtype=np.float32),
            track_index[None],
        )
        for turned, share in ((False, 1.0), (True, _ALT_SHARE))
    )
    count = len(track_index)
    rows = Rows(tracks=np.arange(count)[:, None], share=np.ones((count, 1)))
    found = session.sums(ref_views, alt_views, squash.inverse_terms(), rows)
    pairs = [(ref, alt), (np.log2(ref + 1.0), np.log2(alt + 1.0)), (np.sqrt(ref), np.sqrt(alt))]
    sizes = np.stack([np.abs(r).sum(axis=1) + np.abs(a).sum(axis=1) for r, a in pairs])
    squares = np.stack([np.square(r).sum(axis=1) + np.square(a).sum(axis=1) for r, a in pairs])
    wanted = {
        "ref": (found.ref, np.stack([r.sum(axis=1) for r, _ in pairs]), sizes),
        "alt": (found.alt, np.stack([a.sum(axis=1) for _, a in pairs]), sizes),
        "absolute": (found.absolute, np.stack([np.abs(a - r).sum(axis=1) for r, a in pairs]), sizes),
        "square": (found.square, np.stack([np.square(a - r).sum(axis=1) for r, a in pairs]), squares),
        # Two bins may differ by nearly the same: their sizes are compared.
        "extreme": (np.abs(found.extreme), np.abs(alt - ref).max(axis=1), np.abs(ref).max(axis=1)),
    }
    tf32 = session.provider.startswith("cuda") and Device.parse(session.provider).tf32
    allowed = COARSE if tf32 or bundle.info.precision != "fp32" else TOLERANCE
    largest = 0.0
    for name, (got, want, size) in wanted.items():
        off = np.abs(np.asarray(got) - want) / np.maximum(size, np.finfo(np.float32).tiny)
        if not (off <= allowed).all():  # NaN is not either
            track = int(np.argmax(np.where(np.isfinite(off), off, np.inf)) % count)
            raise ParityError(
                f"{bundle.path}: {session.provider} gives sums ({name}) that are not those of its coverage, off by "
                f"{off.max():.1e} where {allowed:.0e} is allowed; worst track "
                f"{bundle.tracks.identifier[int(track_index[track])]!r}; copy or export the bundle again"
            )
        largest = max(largest, float(off.max()))
    return largest
