"""Options of a DFT score run, checked once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..plain import check_types, whole
from .dft import COMPAT
from .removal import BASELINES, SCALES

ABLATIONS = ("channel", "sequence")
BANDS = {"helix_turn": (9.5, 11.5)}  # periods in bp: 10.5 is one turn of DNA


@dataclass(frozen=True, kw_only=True)
class DftOptions:
    """How motifs are removed and scored.

    Attributes
    ----------
    ablation : str or None
        ``channel`` or ``sequence``; None takes what the model can do, channel first.
    baseline : str or None
        See :class:`borzoi_rt.promoter.removal.ChannelRemoval`; channel mode only, ``zero`` when None.
    pvalue, shuffles, seed
        See :class:`borzoi_rt.promoter.removal.SequenceRemoval`; sequence mode only, 1e-4, 10 and 0 when None.
    scale : str or None
        Scale that effects are taken on; None is what the model predicts (log1p) in a promoter bundle, else linear.
    window_bp : (int, int) or None
        Bases upstream and downstream of the TSS that are scored; None takes the whole output.
    tracks : str or None
        Track expression; None is the sense strand of a promoter bundle.
    compat : str or None
        ``genoretriever``: zero baseline, log1p, whole output, plain transform, as published.
    shift_window_bp : float or None
        How far from the TSS the peak of ``tss_shift_bp`` is looked for; 200 bp, at least 8 bins, when None.
    """

    ablation: str | None = None
    baseline: str | None = None
    pvalue: float | None = None
    shuffles: int | None = None
    seed: int | None = None
    scale: str | None = None
    window_bp: tuple[int, int] | None = None
    tracks: str | None = None
    compat: str | None = None
    shift_window_bp: float | None = None

    def __post_init__(self) -> None:
        check_types(self)
        choices: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
            ("ablation", self.ablation, ABLATIONS),
            ("scale", self.scale, SCALES),
            ("compat", self.compat, COMPAT),
            ("baseline", self.baseline, BASELINES),
        )
        for name, value, allowed in choices:
            if value is not None and value not in allowed:
                raise InputError(f"{name} {value!r} is unknown; allowed: {', '.join(allowed)}")
        if self.window_bp is not None:
            object.__setattr__(self, "window_bp", _two_numbers(self.window_bp))
        if self.window_bp is not None and (min(self.window_bp) < 0 or sum(self.window_bp) < 1):
            raise InputError(f"window {self.window_bp!r}: bases upstream and downstream of the TSS are needed")
        if self.shift_window_bp is not None and not 0 < self.shift_window_bp < float("inf"):
            raise InputError(f"shift_window_bp is {self.shift_window_bp!r}; a positive number of bases is needed")
        if self.compat and (
            self.ablation == "sequence"
            or self.baseline not in (None, "zero")
            or self.scale == "linear"
            or self.window_bp
        ):
            raise InputError(
                f"compat {self.compat!r} fixes channel removal to zero, the log1p scale and the whole output; "
                "leave ablation, baseline, scale and window out"
            )

    def check_mode(self, mode: str) -> None:
        """Refuse choices that the mode of removal does not know.

        Raises
        ------
        InputError
            Naming the choice.
        """
        others = ("pvalue", "shuffles", "seed") if mode == "channel" else ("baseline",)
        for name in others:
            if getattr(self, name) is not None:
                other = "sequence" if mode == "channel" else "channel"
                raise InputError(f"{name} {getattr(self, name)!r} is for ablation {other!r}; this run is by {mode!r}")


def _two_numbers(window_bp: Any) -> tuple[int, int]:
    found = [whole(value) for value in window_bp] if isinstance(window_bp, tuple | list) else []
    if len(found) != 2 or found[0] is None or found[1] is None:
        raise InputError(f"window_bp is {window_bp!r:.40}; two whole numbers of bases are needed, like (3500, 500)")
    return found[0], found[1]
