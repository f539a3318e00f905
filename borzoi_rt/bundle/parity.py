"""The one rule by which two computations of the same coverage are compared.

Coverage is ``softplus(logit)``, and rounding is of one size in logits over a whole head. So a difference of coverage is
divided by the slope of softplus, ``1 - exp(-coverage)``, which makes it a difference of logits. Where coverage is below
``TAIL`` the slope counts as ``TAIL``: the difference is then one of coverage, in hundredths. A backend may compute
``log(1 + exp(logit))`` as it stands (CUDA does), which there has the error of a float32 sum near 1.

What is allowed follows from the *noise* of a model: what PyTorch in the bundle's precision differs by from a float64
forward of the same network, measured at export and kept in the manifest::

    rms of all differences  <=  factor * noise.rms
    largest difference      <=  max(1e-5 * largest |logit|, factor * noise.peak)

The second bound has no scale of its own; its second part is for a network that magnifies rounding, as its noise then
says. Half precision has the same rule: its noise is that of a network rounded to half layer by layer, and 1e-5 is
multiplied by 2^13, the ratio of the two roundings. The factor is 2 at export, 4 where a golden example (the float64
forward) is run again by another device, provider or number of threads, and 8 where two float32 computations of another
window are compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, ParityError

FloatArray = NDArray[np.floating[Any]]

TAIL = 0.01
BOUND = {"fp32": 1e-5, "fp16": 1e-5 * 2.0**13}
EXPORT_FACTOR, REPLAY_FACTOR, PAIR_FACTOR = 2.0, 4.0, 8.0
# A bundle of a release before the noise was measured: of its largest logit, above what was seen of fifty networks.
_UNKNOWN_RMS, _UNKNOWN_PEAK = 1e-6, 5e-6
_HALF_STEP = 2.0**-24  # rounding of a float32 sum near 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What the training framework differs by from a float64 forward, in logits.

    Parameters
    ----------
    rms : float
        Root of the mean square over tracks and bins.
    peak : float
        The largest.
    largest : float
        Largest absolute logit of that forward, see :func:`largest_logit`.
    """

    rms: float
    peak: float
    largest: float

    def __post_init__(self) -> None:
        for name in ("rms", "peak", "largest"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0.0 <= value < np.inf:
                raise FormatError(f"parity: {name} of the noise is {value!r}; a number of 0 or more is needed")

    @classmethod
    def measure(cls, got: FloatArray, want: FloatArray) -> Noise:
        """Return the noise of coverage ``got`` where float64 gives ``want``."""
        return cls.of(differences(got, want), largest_logit(want))

    @classmethod
    def of(cls, errors: FloatArray, largest: float) -> Noise:
        """Return the noise of given differences of logits."""
        return cls(rms=_rms(errors), peak=float(np.abs(errors).max()), largest=largest)

    @classmethod
    def read(cls, parity: Mapping[str, Any], name: str) -> Noise | None:
        """Return one noise of the ``parity`` section of a manifest, None if it has none.

        Raises
        ------
        FormatError
            If the entry is malformed.
        """
        if name not in parity:
            return None
        entry = parity[name]
        if not isinstance(entry, Mapping) or set(entry) != {"rms", "peak", "largest"}:
            raise FormatError(f"parity: {name} is {entry!r}; an object of rms, peak and largest is needed")
        noise = cls(**entry)
        if not noise.rms <= noise.peak <= noise.largest:
            raise FormatError(f"parity: {name} is {entry!r}; rms <= peak <= largest is needed")
        return noise


@dataclass(frozen=True, slots=True)
class Comparison:
    """Differences of logits, what is allowed, and the (row, bin) of the largest.

    ``max_abs`` is the largest difference of coverage itself; rows count everything before the last axis.
    """

    rms: float
    peak: float
    allowed_rms: float
    allowed_peak: float
    worst: tuple[int, int]
    max_abs: float = 0.0

    @property
    def passed(self) -> bool:
        """Tell whether both bounds are met; a NaN meets none."""
        return self.rms <= self.allowed_rms and self.peak <= self.allowed_peak

    def __str__(self) -> str:
        return (
            f"difference of logits: rms {self.rms:.2e} (allowed {self.allowed_rms:.2e}), "
            f"largest {self.peak:.2e} (allowed {self.allowed_peak:.2e})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityRule:
    """The rule with its factor and its noise.

    Parameters
    ----------
    factor : float
        Multiple of the noise that is allowed.
    noise : Noise, optional
        None stands for what :data:`fp32 <BOUND>` models usually have, as a share of their largest logit.
    precision : str
        ``fp32`` or ``fp16``.
    elsewhere : bool
        Another device may compute: rounding of ``log(1 + exp(logit))`` is allowed beside the noise.
    sampled : bool
        What is compared is not where the noise was measured: it grows with the largest logit, and a few bins may all
        be among the worst, so the bound of the rms is that of a sample of its size.
    """

    factor: float
    noise: Noise | None
    precision: str = "fp32"
    elsewhere: bool = False
    sampled: bool = False

    @classmethod
    def replay(cls, parity: Mapping[str, Any], precision: str, *, tf32: bool = False) -> ParityRule:
        """Return the rule of a golden example, from what a manifest says; ``tf32`` as :meth:`pair` takes it."""
        noise = Noise.read(parity, "golden_noise")
        rule = cls(factor=REPLAY_FACTOR, noise=noise, precision=precision, elsewhere=True)
        return rule.rounded() if tf32 else rule

    @classmethod
    def pair(cls, parity: Mapping[str, Any], precision: str, *, tf32: bool = False) -> ParityRule:
        """Return the rule of two computations of any window, from what a manifest says.

        ``tf32``: a device makes products of factors rounded to 10 bits, as those of half precision are.
        """
        noise = Noise.read(parity, "noise")
        rule = cls(factor=PAIR_FACTOR, noise=noise, precision=precision, elsewhere=True, sampled=True)
        return rule.rounded() if tf32 else rule

    def rounded(self) -> ParityRule:
        """Return the rule for factors rounded as in half precision: the noise of float32 grows as the rounding does."""
        if self.precision != "fp32":
            return self
        step, noise = BOUND["fp16"] / BOUND["fp32"], self.noise
        if noise is not None:
            noise = Noise(rms=step * noise.rms, peak=step * noise.peak, largest=noise.largest)
        return replace(self, noise=noise, precision="fp16")

    def compare(self, got: FloatArray, want: FloatArray) -> Comparison:
        """Compare squashed coverage (..., tracks, bins)."""
        with np.errstate(invalid="ignore", over="ignore"):
            found = self.judge(differences(got, want), want)
            largest = float(np.abs(got.astype(np.float64) - want).max(initial=0.0))
        return Comparison(found.rms, found.peak, found.allowed_rms, found.allowed_peak, found.worst, largest)

    def judge(self, errors: FloatArray, want: FloatArray) -> Comparison:
        """Judge differences of logits, of any shape; ``want`` is the coverage they belong to."""
        allowed_rms, allowed_peak = self.allowed(want, errors.size)
        size = np.abs(np.where(np.isfinite(errors), errors, np.inf))
        row, position = divmod(int(np.argmax(size)), errors.shape[-1])
        return Comparison(_rms(size), float(size.max()), allowed_rms, allowed_peak, (row, position))

    def allowed(self, want: FloatArray, count: int) -> tuple[float, float]:
        """Return what rms and largest of ``count`` differences from ``want`` may be; nothing where it is not finite."""
        if not np.isfinite(want).all():
            return 0.0, 0.0
        largest, step = largest_logit(want), BOUND[self.precision] / BOUND["fp32"]
        noise = self.noise
        if noise is None:
            noise = Noise(rms=_UNKNOWN_RMS * step * largest, peak=_UNKNOWN_PEAK * step * largest, largest=largest)
        rms, peak = self.factor * noise.rms, self.factor * noise.peak
        if self.sampled:
            growth = max(1.0, largest / noise.largest) if noise.largest else 1.0
            rms, peak = growth * float(np.hypot(rms, peak / np.sqrt(count))), growth * peak
        peak = max(BOUND[self.precision] * max(largest, noise.largest), peak)
        if self.elsewhere:
            tail = _HALF_STEP / slope(want)
            rms, peak = float(np.hypot(rms, _rms(tail))), peak + float(tail.max())
        return rms, peak


def slope(coverage: FloatArray) -> NDArray[np.float64]:
    """Return the slope of softplus where it has a value, not below ``TAIL``: ``max(1 - exp(-coverage), TAIL)``."""
    return np.maximum(-np.expm1(-np.maximum(coverage, 0.0).astype(np.float64)), TAIL)


def differences(got: FloatArray, want: FloatArray) -> NDArray[np.float64]:
    """Return ``got - want`` in logits.

    Parameters
    ----------
    got, want : ndarray of shape (..., tracks, bins)
        Squashed coverage.
    """
    change: NDArray[np.float64] = (got.astype(np.float64) - want) / slope(want)
    return change


def largest_logit(coverage: FloatArray) -> float:
    """Return the largest absolute logit; those of coverage below ``TAIL`` count as that of ``TAIL``.

    The inverse of softplus is ``c + ln(1 - exp(-c))``.
    """
    held = np.array([coverage.min(), coverage.max()], dtype=np.float64).clip(TAIL)
    return float(np.abs(held + np.log(-np.expm1(-held))).max())


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def require(found: Comparison, what: str, advice: str) -> None:
    """Raise if a bound is broken.

    Raises
    ------
    ParityError
        With what was measured, what is allowed, and ``advice``.
    """
    if not found.passed:
        raise ParityError(f"{what}: {found}; {advice}")
