"""Sizes and names of a promoter network, as one frozen dataclass that goes into the bundle."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from borzoi_rt.bundle.manifest import Geometry
from borzoi_rt.errors import FormatError

FAMILY = "promoter"
SCALE = "log1p"  # the networks predict ln(1 + count)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoterConfig:
    """A network of one of the three stages; the defaults are GenoRetriever's.

    Attributes
    ----------
    stage : int
        1 motif discovery, 2 trinucleotide residual, 3 predictor.
    motif_names : tuple of str
        One per long kernel; their number is the number of kernels.
    scored : int
        The first so many motifs enter the normalised score; the others (initiators) can be removed all the same.
    sequence_length_bp, crop_bp, tss_bp : int
        Window, bases without output on each side, 0-based position of the TSS in the window.
    motif_width, others, other_width : int
        Width of the long kernels; number and width of the short ones (stages 2 and 3).
    effect_width, other_effect_width : int
        Widths of the second convolutions (stages 1 and 2).
    channels, decoder_width, strides, decoders, dropout
        The U-nets of stage 3: ``channels`` at full length and twice that below, kernels of ``decoder_width``.
    """

    stage: int
    motif_names: tuple[str, ...]
    scored: int = 0
    sequence_length_bp: int = 4650
    crop_bp: int = 325
    tss_bp: int = 3825
    motif_width: int = 51
    others: int = 0
    other_width: int = 3
    effect_width: int = 601
    other_effect_width: int = 15
    channels: int = 110
    decoder_width: int = 25
    strides: tuple[int, ...] = (5, 5, 3, 2)
    decoders: int = 2
    dropout: float = 0.3

    def __post_init__(self) -> None:
        object.__setattr__(self, "motif_names", tuple(self.motif_names))
        object.__setattr__(self, "strides", tuple(self.strides))
        object.__setattr__(self, "scored", self.scored or len(self.motif_names))
        if self.stage not in (1, 2, 3):
            raise FormatError(f"stage is {self.stage!r}; allowed: 1, 2, 3")
        if not self.motif_names or len(set(self.motif_names)) != len(self.motif_names):
            raise FormatError(f"motif names {self.motif_names!r}: at least one is needed, and no two may be equal")
        if not 0 < self.scored <= len(self.motif_names):
            raise FormatError(f"scored is {self.scored}; 1 to {len(self.motif_names)} is needed")
        for name in ("motif_width", "other_width", "effect_width", "other_effect_width", "decoder_width"):
            if getattr(self, name) % 2 != 1:
                raise FormatError(f"{name} is {getattr(self, name)}; an odd width is needed")
        if self.stage > 1 and self.others < 1:
            raise FormatError(f"stage {self.stage} needs short kernels; others is {self.others}")
        if not self.crop_bp <= self.tss_bp < self.sequence_length_bp - self.crop_bp:
            raise FormatError(f"tss_bp {self.tss_bp} lies outside the output of {self.sequence_length_bp} bp")
        step = math.prod(self.strides)
        if self.stage == 3 and self.sequence_length_bp % step:
            raise FormatError(f"sequence_length_bp is {self.sequence_length_bp}; stage 3 needs a multiple of {step}")

    @property
    def motifs(self) -> int:
        """Number of long kernels."""
        return len(self.motif_names)

    @property
    def geometry(self) -> Geometry:
        """Window and single-base output grid."""
        length = self.sequence_length_bp
        return Geometry(sequence_length_bp=length, bin_size_bp=1, bins=length - 2 * self.crop_bp)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**asdict(self), "motif_names": list(self.motif_names), "strides": list(self.strides)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PromoterConfig:
        """Read what :meth:`to_dict` wrote; unknown keys are errors.

        Raises
        ------
        FormatError
            Naming the key.
        """
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise FormatError(f"promoter config: unknown key {unknown[0]!r}; allowed: {', '.join(sorted(known))}")
        try:
            return cls(**values)
        except TypeError as error:
            raise FormatError(f"promoter config: {error}") from error

    def architecture(self) -> dict[str, Any]:
        """Return the ``architecture`` section of a bundle."""
        return {"family": FAMILY, "scale": SCALE, "tracks": 2, **self.to_dict()}
