"""The squashed scale: the compressed read counts that a model is trained on, and the way back.

Notation: y is the coverage of one bin (its sum or mean as ``sum_stat`` says), s the scale, c the clip_soft and C the
clip of a track; p is the squashed value. ``power`` acts only on tracks whose ``sum_stat`` asks for it.

======  =========================================================  ==================================================
kind    forward                                                    inverse
======  =========================================================  ==================================================
old     y^(3/4); c + sqrt(y - c) where y > c; clip to +-C; x s     p / s; c + (p - c)^2 where p > c; p^(4/3); x s
new     x s; sqrt(1 + y) - 1; c - 1 + sqrt(y - c + 1); clip        c - 1 + (p - c + 1)^2; (p + 1)^2 - 1; / s
bp_old  as ``old``                                                 as ``old``, but / s only when unscaled, never x s
bp_new  as ``new`` with (1 + y)^(3/4) - 1                          as ``new`` with (p + 1)^(4/3) - 1
======  =========================================================  ==================================================

``old`` and ``new`` are those of calico/baskerville (``untransform_preds1`` and ``untransform_preds``), ``bp_old`` and
``bp_new`` those of borzoi-pytorch. ``old`` and ``new`` power the tracks whose ``sum_stat`` contains ``_sqrt`` (``new``
forward also squashes ``sum_exp75``, which its published inverse ignores), ``bp_*`` those with ``sum_sqrt``. Without
``unscale`` the inverse gives scale x coverage, not reads: ``old`` multiplies by s again, ``new`` does not divide.

From 0 upwards neither direction ever decreases, and both lie within 5 float32 steps of these formulas, also near 0,
where ``(p + 1)^(4/3) - 1`` as written would cancel: no squashed value from 0 upwards gives negative coverage.

A negative squashed value, which a softplus head cannot give, is what the formulas make of it: NaN where ``old`` and
``bp_old`` power it, and below -1 under ``bp_new``; at least -1 under ``new``, whose square turns up again below p = -1.
Nothing is set to 0: whoever uses the coverage must look for NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ._kernels import squash as _kernel
from .errors import InputError
from .types import BoolArray, FloatArray

if TYPE_CHECKING:
    import numpy.typing as npt

    from .tracks import TrackTable

KINDS = ("old", "new", "bp_old", "bp_new", "none")
SUM_STATS = ("sum", "mean", "avg", "sum_sqrt", "mean_sqrt", "avg_sqrt", "sum_exp75")

# Powers the kernels know, forward / inverse: 0 none, 1 x^(3/4) / x^(4/3), 2 sqrt(1+x)-1 / (x+1)^2-1,
# 3 (1+x)^(3/4)-1 / (x+1)^(4/3)-1.
_NONE, _POWER, _SQRT, _SHIFTED = range(4)


@dataclass(frozen=True)
class Squash:
    """A squash kind with the parameters of its tracks.

    Parameters
    ----------
    kind : str
        One of ``KINDS``; there is no default, one wrong kind changes values by orders of magnitude.
    scale, clip_soft, clip : float32 ndarray of shape (tracks,)
        Parameters of each track.
    sum_stat : tuple of str
        How a bin was summed; names with ``_sqrt`` carry a power.
    unscale : bool
        Inverse in reads rather than in scale x reads.
    unclip : bool
        Undo the soft clip.
    """

    kind: str
    scale: FloatArray
    clip_soft: FloatArray
    clip: FloatArray
    sum_stat: tuple[str, ...]
    unscale: bool = False
    unclip: bool = True

    def __post_init__(self) -> None:
        """Check the parameters against each other."""
        if self.kind not in KINDS:
            raise InputError(f"squash kind {self.kind!r} is unknown; allowed: {', '.join(KINDS)}")
        if self.kind == "none" and self.unscale:
            raise InputError("squash kind 'none' keeps the squashed scale; it cannot be unscaled")
        for name in ("scale", "clip_soft", "clip"):
            values = np.ascontiguousarray(getattr(self, name), dtype=np.float32)
            if values.shape != (len(self.sum_stat),):
                raise InputError(f"{name} has shape {values.shape}; one value for each of {len(self.sum_stat)} tracks")
            object.__setattr__(self, name, values)
        unknown = sorted(set(self.sum_stat) - set(SUM_STATS))
        if unknown and self.kind != "none":
            raise InputError(f"sum_stat {unknown[0]!r} has no inverse; allowed: {', '.join(SUM_STATS)}")

    @classmethod
    def from_tracks(cls, tracks: TrackTable, *, kind: str, unscale: bool = False, unclip: bool = True) -> Squash:
        """Take the parameters from a track table."""
        return cls(
            kind=kind,
            scale=tracks.scale,
            clip_soft=tracks.clip_soft,
            clip=tracks.clip,
            sum_stat=tracks.sum_stat,
            unscale=unscale,
            unclip=unclip,
        )

    def __len__(self) -> int:
        """Return the number of tracks."""
        return len(self.sum_stat)

    def forward(self, coverage: FloatArray) -> FloatArray:
        """Squash binned coverage in place.

        Parameters
        ----------
        coverage : float32 ndarray of shape (..., tracks, bins)
            Sum or mean of the reads of each bin; C-contiguous and writeable. Overwritten. A negative value gives NaN
            where a power acts on it (under ``new`` and ``bp_new``: below -1 after the scale), as in the reference.

        Returns
        -------
        float32 ndarray
            The same array.
        """
        view = self._checked(coverage)
        if self.kind == "none" or not view.size:
            return coverage
        one = np.ones(len(self), dtype=np.float32)
        old = self.kind in ("old", "bp_old")
        before, after = (one, self.scale) if old else (self.scale, one)
        _kernel.forward(view, before, self.clip_soft, self._offset, self.clip, self._powers(forward=True), after)
        return coverage

    def inverse(self, squashed: FloatArray) -> FloatArray:
        """Return squashed values to coverage, in place.

        Parameters
        ----------
        squashed : float32 ndarray of shape (..., tracks, bins)
            Model output; C-contiguous and writeable. Overwritten.

        Returns
        -------
        float32 ndarray
            The same array, in reads when ``unscale`` is set, else in scale x reads. Never negative where ``squashed``
            is not; for negative values see the head of this module.
        """
        view = self._checked(squashed)
        if self.kind != "none" and view.size:
            divisor, factor = self._ends()
            _kernel.inverse(view, divisor, self._knee(), self._offset, self._powers(forward=False), factor)
        return squashed

    def inverse_terms(self) -> dict[str, FloatArray | BoolArray]:
        """Return what :meth:`inverse` does to each track: divide, unclip above the knee, power, multiply.

        Returns
        -------
        dict of str to ndarray of shape (tracks,)
            ``divisor``, ``knee``, ``factor`` float32 and ``powered`` bool.
        """
        divisor, factor = self._ends()
        powered = self._powers(forward=False) != _NONE
        return {"divisor": divisor, "knee": self._knee(), "powered": powered, "factor": factor}

    def slope(self, squashed: FloatArray) -> FloatArray:
        """Replace squashed values by d(inverse)/d(squashed) there, in place; at the knee the lower branch holds.

        Parameters
        ----------
        squashed : float32 ndarray of shape (..., tracks, bins)
            Model output; C-contiguous and writeable. Overwritten.

        Returns
        -------
        float32 ndarray
            The same array.
        """
        view = self._checked(squashed)
        if self.kind == "none":
            view[~np.isnan(view)] = 1.0
        elif view.size:
            divisor, factor = self._ends()
            _kernel.slope(view, divisor, self._knee(), self._offset, self._powers(forward=False), factor)
        return squashed

    @property
    def _offset(self) -> float:
        return 0.0 if self.kind in ("old", "bp_old") else 1.0

    def _knee(self) -> FloatArray:
        return self.clip_soft if self.unclip else np.full(len(self), np.inf, dtype=np.float32)

    def _ends(self) -> tuple[FloatArray, FloatArray]:
        """Return the divisor applied first and the factor applied last."""
        one = np.ones(len(self), dtype=np.float32)
        if self.kind == "old":
            return self.scale, one if self.unscale else self.scale
        if self.kind == "bp_old":
            return (self.scale if self.unscale else one), one
        return one, (1.0 / self.scale).astype(np.float32) if self.unscale else one

    def _powers(self, *, forward: bool) -> npt.NDArray[np.intc]:
        powered = [self._powered(name, forward=forward) for name in self.sum_stat]
        return np.array(powered, dtype=np.intc)

    def _powered(self, name: str, *, forward: bool) -> int:
        if self.kind == "old":
            return _POWER if "_sqrt" in name else _NONE
        if self.kind == "new":
            return _SQRT if "_sqrt" in name else _SHIFTED if forward and name == "sum_exp75" else _NONE
        power = _POWER if self.kind == "bp_old" else _SHIFTED
        return power if name == "sum_sqrt" else _NONE

    def _checked(self, values: FloatArray) -> FloatArray:
        if not isinstance(values, np.ndarray) or values.dtype != np.float32:
            found = getattr(values, "dtype", type(values).__name__)
            raise InputError(f"coverage is {found}; a float32 array is needed, half precision overflows here")
        if values.ndim < 2 or values.shape[-2] != len(self):
            raise InputError(f"coverage has shape {values.shape}; (..., {len(self)} tracks, bins) is needed")
        if not values.flags.c_contiguous or not values.flags.writeable:
            raise InputError("coverage is not C-contiguous and writeable, and it is changed in place; pass a copy")
        # The leading length is spelled out: -1 cannot be worked out where there are no bins.
        return values.reshape(math.prod(values.shape[:-2]), *values.shape[-2:])
