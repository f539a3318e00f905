"""What a Calico params.json says about a network, as one frozen dataclass that refuses what it cannot build."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from borzoi_rt.bundle.manifest import Geometry
from borzoi_rt.errors import FormatError

# Keys of each block that change the network: the values that can be built, or what the value must be.
_COUNT, _SHARE, _FACTOR, _FLAG = "a positive integer", "a number in [0, 1)", "a positive number", "true or false"
_DEPTH = "an integer of 1 to 256"
_BINS = "a number of bins"
_LARGEST, _DEEPEST = 2**24, 256  # no window is longer, no layer wider, no network deeper; before a list is made of it
_BLOCKS: dict[str, dict[str, tuple[Any, ...] | str]] = {
    "conv_dna": {
        "filters": _COUNT,
        "kernel_size": _COUNT,
        "norm_type": (None,),
        "activation": ("linear",),
        "pool_size": (2,),
    },
    "res_tower": {
        "filters_init": _COUNT,
        "filters_end": _COUNT,
        "divisible_by": _COUNT,
        "kernel_size": _COUNT,
        "num_convs": (1,),
        "pool_size": (2,),
        "repeat": _DEPTH,
    },
    "transformer_tower": {
        "key_size": _COUNT,
        "heads": _COUNT,
        "num_position_features": _COUNT,
        "dropout": _SHARE,
        "attention_dropout": _SHARE,
        "dense_expansion": _FACTOR,
        "qkv_width": (1,),
        "seqlen_train": _COUNT,
        "repeat": _DEPTH,
    },
    "unet_conv": {"kernel_size": _COUNT, "upsample_conv": _FLAG},
    "Cropping1D": {"cropping": _BINS},
    "conv_nac": {"filters": _COUNT, "kernel_size": (1,), "dropout": _SHARE},
}
# Keys without which baskerville would build something else, or nothing.
_REQUIRED: dict[str, tuple[str, ...]] = {
    "conv_dna": ("filters", "kernel_size", "norm_type", "activation", "pool_size"),
    "res_tower": ("filters_init", "filters_end", "kernel_size", "num_convs", "repeat"),
    "transformer_tower": ("key_size", "heads", "num_position_features", "repeat"),
    "unet_conv": (),
    "Cropping1D": ("cropping",),
    "conv_nac": ("filters",),
}
# Keys that steer training only.
_TRAINING_KEYS = {"name", "l2_scale", "l1_scale", "mha_l2_scale", "kernel_initializer", "bn_momentum"}
_GLOBALS: dict[str, tuple[str, ...]] = {
    "activation": ("gelu",),
    "norm_type": ("batch", "batch-sync"),
    "padding": ("same",),
}
_ROTARY, _RELATIVE = ("rotary_size", "key_heads"), ("position_features", "widths_of")  # fields of the two attentions
_ORDER = re.compile(r"conv_dna res_tower transformer_tower( unet_conv)+( Cropping1D)?( conv_nac)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class BorzoiConfig:
    """Sizes of a Borzoi-family network with one head; see the configurations of the published models.

    ``widths_of`` is the token count the relative-position widths were made for (``seqlen_train``); it belongs to the
    weights. ``tail_filters`` 0 means no ``conv_nac``. ``rotary_size`` is how many channels of a head are turned by its
    position, in Flashzoi; 0 means relative positions, as all others have them. ``key_heads`` is the number of heads for
    keys and values that goes with it.
    """

    sequence_length_bp: int
    stem_filters: int
    stem_width: int
    tower_widths: tuple[int, ...]
    tower_width: int
    depth: int
    heads: int
    key_size: int
    position_features: int
    widths_of: int
    dense_expansion: float
    unets: int
    unet_width: int
    upsample_conv: bool
    crop_bins: int
    tail_filters: int
    tracks: int
    head: str
    dropout: float = 0.2
    attention_dropout: float = 0.05
    tail_dropout: float = 0.0
    batch_norm_momentum: float = 0.1
    rotary_size: int = 0
    key_heads: int = 0

    def __post_init__(self) -> None:
        zero = {"crop_bins", "tail_filters", *_ROTARY, *(_RELATIVE if self.rotary_size else ())}
        for item in fields(self):
            kind = _DEPTH if item.name == "depth" else _BINS if item.name in zero else _COUNT
            if item.type == "int" and not _fits(getattr(self, item.name), kind):
                raise FormatError(f"{item.name} is {getattr(self, item.name)!r}; {_described(kind)}")
        if not 1 <= len(self.tower_widths) <= _DEEPEST or not all(_fits(width, _COUNT) for width in self.tower_widths):
            raise FormatError(f"tower_widths is {self.tower_widths!r}; positive integers are needed")
        if self.position_features % 2:
            raise FormatError(f"position_features is {self.position_features}; an even number is needed")
        if self.sequence_length_bp % self.token_bp:
            raise FormatError(
                f"seq_length {self.sequence_length_bp} is not a multiple of {self.token_bp} bp, the width of a token"
            )
        if self.tower_widths[-1] % self.heads:
            raise FormatError(f"{self.tower_widths[-1]} channels cannot be split over {self.heads} heads")
        self._check_rotary()
        if not 1 <= self.unets <= len(self.tower_widths):
            raise FormatError(f"{self.unets} unet_conv blocks; between 1 and {len(self.tower_widths)} can be built")
        for name in ("stem_width", "tower_width", "unet_width"):
            if getattr(self, name) % 2 == 0:
                raise FormatError(f"{name} is {getattr(self, name)}; convolutions have odd widths")
        if self.bins < 1:
            whole = self.bins + 2 * self.crop_bins
            raise FormatError(f"cropping {self.crop_bins} leaves none of {whole} output bins")

    def _check_rotary(self) -> None:
        if not self.rotary_size:
            if self.key_heads:
                raise FormatError(f"key_heads is {self.key_heads}; only rotary positions go with a number of their own")
            return
        if any(getattr(self, name) for name in _RELATIVE):
            raise FormatError(f"{' and '.join(_RELATIVE)} must be 0 where positions are rotary")
        if self.key_size * self.heads != self.tower_widths[-1]:
            raise FormatError(
                f"{self.heads} heads of {self.key_size} channels; rotary attention of {self.tower_widths[-1]} channels "
                "shares all of them out"
            )
        if self.rotary_size % 2 or self.rotary_size > self.key_size:
            raise FormatError(
                f"rotary positions turn {self.rotary_size} channels of a head, which has {self.key_size}; an even "
                "number of at most so many is needed"
            )
        if not self.key_heads or self.heads % self.key_heads:
            raise FormatError(f"{self.heads} heads cannot share {self.key_heads} heads of keys and values evenly")

    @property
    def token_bp(self) -> int:
        """Bases per token: the stem and every tower block halve the length."""
        return int(2 ** (1 + len(self.tower_widths)))

    @property
    def embedding_channels(self) -> int:
        """Width of what the head reads."""
        return self.tail_filters or self.tower_widths[-1]

    @property
    def tokens(self) -> int:
        """Tokens of the transformer."""
        return self.sequence_length_bp // self.token_bp

    @property
    def bin_size_bp(self) -> int:
        """Bases per output bin."""
        return int(self.token_bp // 2**self.unets)

    @property
    def bins(self) -> int:
        """Output bins after cropping."""
        return self.sequence_length_bp // self.bin_size_bp - 2 * self.crop_bins

    @property
    def geometry(self) -> Geometry:
        """Window and output grid, as the runtime sees them."""
        return Geometry(sequence_length_bp=self.sequence_length_bp, bin_size_bp=self.bin_size_bp, bins=self.bins)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; of rotary positions only where there are some."""
        return {key: value for key, value in asdict(self).items() if value or key not in _ROTARY}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BorzoiConfig:
        """Read what :meth:`to_dict` wrote."""
        known = {item.name for item in fields(cls)}
        unknown, missing = sorted(set(values) - known), sorted(known - set(values) - set(_ROTARY))
        if unknown or missing:
            raise FormatError(f"architecture: {'unknown' if unknown else 'no'} key {(unknown or missing)[0]!r}")
        return cls(**{**values, "tower_widths": tuple(values["tower_widths"])})

    @classmethod
    def from_params(cls, params: Mapping[str, Any], *, head: int | str = 0, crop: int | None = None) -> BorzoiConfig:
        """Read the ``model`` object of a params.json.

        Parameters
        ----------
        params : mapping
            The whole file or its ``model`` object.
        head : int or str
            Number or name of the head; numbers count the natural order of names (human 0, mouse 1).
        crop : int, optional
            Output bins to drop on each side, instead of what the file says.

        Raises
        ------
        FormatError
            Naming the key, what was found and what can be built.
        """
        model = params.get("model", params)
        if not isinstance(model, Mapping) or "trunk" not in model:
            raise FormatError("params have no 'model' object with a 'trunk'")
        if "adapter" in params or "adapter" in model:
            raise FormatError("params have an 'adapter'; transfer adapters cannot be built, merge them first")
        _check_globals(model)
        blocks = [_checked(block) for block in model["trunk"]]
        _check_order([block["name"] for block in blocks])
        named = {block["name"]: block for block in blocks}
        stem, tower, attention = named["conv_dna"], named["res_tower"], named["transformer_tower"]
        unets = [block for block in blocks if block["name"] == "unet_conv"]
        if any(block != unets[0] for block in unets):
            raise FormatError("unet_conv blocks differ; only equal ones can be built")
        head_name, head_values = _choose_head(model, head)
        cropping = named.get("Cropping1D", {}).get("cropping", 0)
        tail = named.get("conv_nac", {})
        length = model["seq_length"]
        return cls(
            sequence_length_bp=length,
            stem_filters=stem["filters"],
            stem_width=stem["kernel_size"],
            tower_widths=_tower_widths(tower),
            tower_width=tower["kernel_size"],
            depth=attention["repeat"],
            heads=attention["heads"],
            key_size=attention["key_size"],
            position_features=attention["num_position_features"],
            widths_of=attention.get("seqlen_train", length // 2 ** (1 + tower["repeat"])),
            dense_expansion=attention.get("dense_expansion", 2.0),
            unets=len(unets),
            unet_width=unets[0].get("kernel_size", 1),
            upsample_conv=unets[0].get("upsample_conv", False),
            crop_bins=cropping if crop is None else crop,
            tail_filters=tail.get("filters", 0),
            tracks=head_values["units"],
            head=head_name,
            dropout=attention.get("dropout", 0.0),
            attention_dropout=attention.get("attention_dropout", 0.05),
            tail_dropout=tail.get("dropout", 0.0),
            batch_norm_momentum=round(1.0 - model.get("bn_momentum", 0.99), 10),
        )


def read_params(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a params.json.

    Raises
    ------
    FormatError
        If the file is missing or not JSON.
    """
    path = Path(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(values, dict):
        raise FormatError(f"{path}: holds {type(values).__name__}; an object with 'model' is needed")
    return values


def _checked(block: Any) -> Mapping[str, Any]:
    """Return a block of the trunk, all of whose keys can be built."""
    name = block.get("name") if isinstance(block, Mapping) else block
    if not isinstance(block, Mapping) or not isinstance(name, str) or name not in _BLOCKS:
        raise FormatError(f"trunk block {name!r} cannot be built; known: {', '.join(_BLOCKS)}")
    for key, value in block.items():
        allowed = _BLOCKS[name].get(key) or _GLOBALS.get(key)
        if allowed is None and key not in _TRAINING_KEYS:
            raise FormatError(f"{name}: key {key!r} cannot be built; known: {', '.join(_BLOCKS[name])}")
        if allowed is not None and not _fits(value, allowed):
            raise FormatError(f"{name}: {key} is {value!r}; {_described(allowed)}")
    for key in _REQUIRED[name]:
        if key not in block:
            raise FormatError(f"{name}: key {key!r} is missing; {_described(_BLOCKS[name][key])}")
    return block


def _fits(value: Any, allowed: tuple[Any, ...] | str) -> bool:
    if isinstance(allowed, tuple):
        return value in allowed
    if allowed == _FLAG:
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if allowed in (_SHARE, _FACTOR):
        return 0 <= value < 1 if allowed == _SHARE else 0 < value < math.inf
    least, most = (1, _DEEPEST) if allowed == _DEPTH else (0 if allowed == _BINS else 1, _LARGEST)
    return isinstance(value, int) and least <= value <= most


def _described(allowed: tuple[Any, ...] | str) -> str:
    if isinstance(allowed, str):
        return f"{allowed} is needed" + (f", up to {_LARGEST}" if allowed in (_COUNT, _BINS) else "")
    return f"only {' or '.join(map(repr, allowed))} can be built"


def _check_globals(model: Mapping[str, Any]) -> None:
    for key, allowed in _GLOBALS.items():
        value = model.get(key, "same" if key == "padding" else None)
        if value not in allowed:
            raise FormatError(f"{key} is {value!r}; {_described(allowed)}")
    for key, default, kind in (("seq_length", None, _COUNT), ("bn_momentum", 0.99, _SHARE)):
        value = model.get(key, default)
        if not _fits(value, kind):
            raise FormatError(f"{key} is {value!r}; {_described(kind)}")
    if not isinstance(model["trunk"], list):
        raise FormatError(f"trunk is {model['trunk']!r}; a list of blocks is needed")


def _check_order(names: list[str]) -> None:
    if not _ORDER.fullmatch(" ".join(names)):
        raise FormatError(
            f"trunk is {' > '.join(names)}; what can be built is conv_dna > res_tower > transformer_tower > unet_conv "
            "(one or more) > Cropping1D (optional) > conv_nac (optional)"
        )


def _tower_widths(tower: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the filters of each tower block: geometric, rounded half to even, growing unrounded (baskerville)."""
    repeat, unit = tower["repeat"], tower.get("divisible_by", 1)
    growth = math.exp(math.log(tower["filters_end"] / tower["filters_init"]) / max(repeat - 1, 1))
    width, widths = float(tower["filters_init"]), []
    for _ in range(repeat):
        widths.append(int(np.round(width / unit) * unit))
        width *= growth
    return tuple(widths)


def _choose_head(model: Mapping[str, Any], head: int | str) -> tuple[str, Mapping[str, Any]]:
    heads = sorted((key for key in model if key.startswith("head")), key=_natural)
    name = str(head) if str(head) in heads else f"head_{head}"
    if str(head).isdigit() and int(head) < len(heads):
        name = heads[int(head)]
    if name not in heads:
        raise FormatError(f"head {head!r} is not in the params; they have {', '.join(heads) or 'none'} (0, 1, ...)")
    values = model[name]
    if not isinstance(values, Mapping):
        raise FormatError(f"{name} is {values!r}; an object with units is needed")
    for key, allowed in (("name", "final"), ("activation", "softplus")):
        if values.get(key, allowed) != allowed:
            raise FormatError(f"{name}: {key} is {values[key]!r}; only {allowed!r} can be built")
    if not _fits(values.get("units"), _COUNT):
        raise FormatError(f"{name}: units is {values.get('units')!r}; {_described(_COUNT)}")
    return name, values


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key that counts digits as numbers: head_2 comes before head_10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]
