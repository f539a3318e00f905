"""Options of a DFT score run, checked once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from ..motifs.scan import PVALUE
from .dft import COMPAT, NOISE_FACTOR, SHIFT_WINDOW_BP
from .removal import BASELINES, SCALES

ABLATIONS = ("channel", "sequence")
BANDS = {"helix_turn": (9.5, 11.5)}  # 10.5 bp, one turn of DNA; means something at single-base resolution only


@dataclass(frozen=True, kw_only=True)
class DftOptions:
    """How motifs are removed and scored.

    Attributes
    ----------
    ablation : str or None
        ``channel`` or ``sequence``; None takes what the model can do, channel first.
    baseline : str
        See :class:`borzoi_rt.promoter.removal.ChannelRemoval`; channel mode only.
    pvalue, shuffles, seed
        See :class:`borzoi_rt.promoter.removal.SequenceRemoval`; sequence mode only.
    scale : str or None
        Scale that effects are taken on; None is what the model predicts (log1p) in a promoter bundle, else linear.
    window_bp : (int, int) or None
        Bases upstream and downstream of the TSS that are scored; None takes the whole output.
    tracks : str or None
        Track expression; None is the sense strand of a promoter bundle.
    compat : str or None
        ``genoretriever``: zero baseline, log1p, whole output, plain transform, as published.
    bands : dict of str to (float, float)
        Periods in bp whose share of the power is reported.
    """

    ablation: str | None = None
    baseline: str = "zero"
    pvalue: float = PVALUE
    shuffles: int = 10
    seed: int = 0
    scale: str | None = None
    window_bp: tuple[int, int] | None = None
    tracks: str | None = None
    compat: str | None = None
    noise_factor: float = NOISE_FACTOR
    shift_window_bp: float = SHIFT_WINDOW_BP
    bands: dict[str, tuple[float, float]] = field(default_factory=lambda: dict(BANDS))

    def __post_init__(self) -> None:
        choices: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
            ("ablation", self.ablation, ABLATIONS),
            ("scale", self.scale, SCALES),
            ("compat", self.compat, COMPAT),
            ("baseline", self.baseline, BASELINES),
        )
        for name, value, allowed in choices:
            if value is not None and value not in allowed:
                raise InputError(f"{name} {value!r} is unknown; allowed: {', '.join(allowed)}")
        if self.window_bp is not None and (min(self.window_bp) < 0 or sum(self.window_bp) < 1):
            raise InputError(f"window {self.window_bp!r}: bases upstream and downstream of the TSS are needed")
        if self.compat and (
            self.ablation == "sequence" or self.baseline != "zero" or self.scale == "linear" or self.window_bp
        ):
            raise InputError(
                f"compat {self.compat!r} fixes channel removal to zero, the log1p scale and the whole output; "
                "leave ablation, baseline, scale and window out"
            )
