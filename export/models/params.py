"""Calico ``params.json``: the grammar of published training runs, read into the fields of a network config.

The reader is strict: an option that this package does not build is an error that names the key, never a guess. The
defaults of the reference code apply only where they are stated here; a key whose default would not be supported must
be written out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from borzoi_rt.errors import FormatError

# Settings that only matter to an optimiser or to augmentation; the training code reads them from the file itself.
_TRAINING_KEYS = {"l1_scale", "l2_scale", "mha_l2_scale"}
_MODEL_KEYS = {
    "seq_length",
    "trunk",
    "strand_pair",
    "verbose",
    "augment_rc",
    "augment_shift",
    "activation",
    "batch_norm",
    "bn_momentum",
    "norm_type",
    "padding",
    "kernel_initializer",
} | _TRAINING_KEYS
_GLOBALS = ("activation", "batch_norm", "bn_momentum", "norm_type", "l2_scale", "l1_scale", "padding", "kernel_initializer")
_ORDER = ("conv_dna", "res_tower", "transformer_tower", "unet_conv", "Cropping1D", "conv_nac")
_REPEATABLE = {"unet_conv"}
_BATCH_NORM = ("batch", "batch-sync")
_MISSING: Any = object()


class _Section:
    """One JSON object of the file; every key must be taken, and what is left is an error."""

    def __init__(self, values: Any, where: str) -> None:
        if not isinstance(values, Mapping):
            raise FormatError(f"params.json: {where} is {values!r}; a JSON object is needed")
        self.values = dict(values)
        self.where = where

    def take(self, key: str, default: Any = _MISSING) -> Any:
        if key not in self.values:
            if default is _MISSING:
                raise FormatError(f"params.json: {where_key(self.where, key)} is missing; write it out")
            return default
        return self.values.pop(key)

    def integer(self, key: str, default: Any = _MISSING, *, least: int = 1) -> int:
        value = self.take(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise FormatError(f"params.json: {where_key(self.where, key)} is {value!r}; an integer >= {least} is needed")
        return value

    def number(self, key: str, default: Any = _MISSING, *, low: float = 0.0, high: float = math.inf) -> float:
        value = self.take(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise FormatError(
                f"params.json: {where_key(self.where, key)} is {value!r}; a number from {low:g} to {high:g} is needed"
            )
        return float(value)

    def only(self, key: str, *allowed: Any, default: Any = _MISSING) -> Any:
        """Take a key that may hold only certain values; ``True`` and ``1`` are different values."""
        value = self.take(key, default)
        if not any(type(value) is type(item) and value == item for item in allowed):
            options = " or ".join(map(repr, allowed))
            raise FormatError(
                f"params.json: {where_key(self.where, key)} is {value!r}; supported: {options} (models of the Borzoi family)"
            )
        return value

    def finish(self) -> None:
        if self.values:
            key = sorted(self.values)[0]
            raise FormatError(
                f"params.json: {where_key(self.where, key)} is {self.values[key]!r}; the option is not supported"
            )


def where_key(where: str, key: str) -> str:
    """Spell a key the way the error messages do: ``trunk[1] res_tower: num_convs``."""
    return f"{where}: {key}" if where else key


def head_names(model: Mapping[str, Any]) -> list[str]:
    """Return the keys of the heads in the order that numbers them: natural sort of the key."""
    names = [key for key in model if key.startswith("head")]
    return sorted(names, key=lambda key: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", key)])


def read_params(params: Mapping[str, Any], head: int | str = 0) -> dict[str, Any]:
    """Return the fields of :class:`~borzoi_export.models.borzoi.BorzoiConfig` that a params.json describes.

    Parameters
    ----------
    params : dict
        The whole file, or its ``model`` object.
    head : int or str
        Number in natural order of the keys, or the key with or without ``head_``.

    Raises
    ------
    FormatError
        Naming the key, what was found and what is allowed.
    """
    if not isinstance(params, Mapping):
        raise FormatError(f"params.json holds {type(params).__name__}; a JSON object is needed")
    model = params.get("model", params)
    if not isinstance(model, Mapping):
        raise FormatError(f"params.json: model is {model!r}; a JSON object is needed")
    for container in (params, model):
        if "adapter" in container:
            raise FormatError(
                f"params.json: adapter is {container['adapter']!r}; transfer adapters are not supported, merge them first"
            )
    heads = head_names(model)
    for key in model:
        if key not in _MODEL_KEYS and key not in heads:
            raise FormatError(
                f"params.json: model: {key} is {model[key]!r}; the option is not supported, known keys are "
                f"{', '.join(sorted(_MODEL_KEYS))} and head_*"
            )
    settings = _Section(model, "model")
    fields: dict[str, Any] = {"sequence_length_bp": settings.integer("seq_length")}
    fields |= _read_trunk(model, settings.take("trunk"))
    fields |= _read_head(model, heads, head)
    return fields


def _read_trunk(model: Mapping[str, Any], trunk: Any) -> dict[str, Any]:
    if not isinstance(trunk, list):
        raise FormatError(f"params.json: model: trunk is {trunk!r}; a list of blocks is needed")
    fields: dict[str, Any] = {}
    unets: list[dict[str, Any]] = []
    last = -1
    for number, values in enumerate(trunk):
        block = _Section(values, f"trunk[{number}]")
        name = block.take("name")
        if name not in _ORDER:
            raise FormatError(f"params.json: trunk[{number}]: name is {name!r}; supported: {', '.join(_ORDER)}")
        position = _ORDER.index(name)
        if position < last or (position == last and name not in _REPEATABLE):
            raise FormatError(f"params.json: trunk[{number}] is {name!r}; the supported order is {', '.join(_ORDER)}")
        last = position
        block.where += f" {name}"
        if name == "unet_conv":
            unets.append(_read_unet(_with_globals(block, model)))
        elif name == "Cropping1D":
            fields["crop_bins"] = block.integer("cropping", least=0)
        else:
            fields |= _READERS[name](_with_globals(block, model))
        block.finish()
    missing = [name for name in _ORDER[:3] if _MARKER[name] not in fields]
    if missing:
        raise FormatError(f"params.json: trunk has no {missing[0]!r} block")
    for number, unet in enumerate(unets[1:], start=2):
        if unet != unets[0]:
            raise FormatError(f"params.json: unet_conv {number} is {unet!r}; all must equal the first, {unets[0]!r}")
    return fields | {"unet_blocks": len(unets)} | (unets[0] if unets else {})


def _with_globals(block: _Section, model: Mapping[str, Any]) -> _Section:
    """Inject the global settings that the block does not override; a falsy global counts as absent."""
    for key in _GLOBALS:
        if model.get(key):
            block.values.setdefault(key, model[key])
    return block


def _take_common(block: _Section, *, activation: str = "gelu") -> None:
    """Take what every block receives and only one value of which is supported."""
    block.only("activation", activation)
    block.only("norm_type", *_BATCH_NORM)
    # Every published file sets 0.9; 0.99 is the default of the reference code and not that of any model.
    block.only("bn_momentum", 0.9)
    block.only("padding", "same", default="same")
    block.take("kernel_initializer", None)
    for key in sorted(_TRAINING_KEYS):
        block.take(key, None)


def _read_stem(block: _Section) -> dict[str, Any]:
    block.only("norm_type", None)  # an explicit null overrides the global: no norm, hence a bias
    block.values["norm_type"] = "batch"
    _take_common(block, activation="linear")
    block.only("pool_type", "max", default="max")
    block.only("dropout", 0, 0.0, default=0)
    block.only("use_bias", True, None, default=None)
    block.only("conv_type", "standard", default="standard")
    block.only("se", False, default=False)
    block.only("residual", False, default=False)
    block.only("stride", 1, default=1)
    return {
        "stem_channels": block.integer("filters"),
        "stem_kernel": block.integer("kernel_size"),
        "stem_pool": block.integer("pool_size"),
    }


def _read_tower(block: _Section) -> dict[str, Any]:
    _take_common(block)
    block.only("num_convs", 1)
    block.only("pool_size", 2, default=2)
    block.only("pool_type", "max", default="max")
    block.only("dropout", 0, 0.0, default=0)
    block.only("conv_type", "standard", default="standard")
    block.only("se", False, default=False)
    block.only("stride", 1, default=1)
    block.only("dilation_rate", 1, default=1)
    first, divisor = block.number("filters_init", low=1), block.integer("divisible_by", 1)
    last, repeat = block.number("filters_end", low=1), block.integer("repeat")
    return {"tower_channels": tower_widths(first, last, repeat, divisor), "tower_kernel": block.integer("kernel_size")}


def tower_widths(first: float, last: float, repeat: int, divisor: int) -> tuple[int, ...]:
    """Return the channels of each tower block: a geometric series from first to last, rounded half to even.

    width_i = round(f_i / divisor) * divisor with f_(i+1) = f_i * exp(ln(last / first) / (repeat - 1)), f_i unrounded.
    """
    factor = math.exp(math.log(last / first) / (repeat - 1)) if repeat > 1 else 1.0
    widths = []
    for _ in range(repeat):
        widths.append(int(round(first / divisor) * divisor))
        first *= factor
    return tuple(widths)


def _read_transformer(block: _Section) -> dict[str, Any]:
    _take_common(block)
    block.only("qkv_width", 1, 1.0, default=1)
    block.only("block_type", "transformer", default="transformer")
    tokens = block.take("seqlen_train", None)
    if tokens is not None:
        block.values["seqlen_train"] = tokens
        tokens = block.integer("seqlen_train", least=2)
    return {
        "heads": block.integer("heads"),
        "key_size": block.integer("key_size"),
        "position_features": block.integer("num_position_features", least=2),
        "dropout": block.number("dropout", high=1.0),
        "attention_dropout": block.number("attention_dropout", 0.05, high=1.0),
        "dense_expansion": block.number("dense_expansion", 2.0),
        "transformer_blocks": block.integer("repeat"),
        "reference_tokens": tokens,
    }


def _read_unet(block: _Section) -> dict[str, Any]:
    _take_common(block)
    return {
        "unet_kernel": block.integer("kernel_size", 1),
        "upsample_conv": block.only("upsample_conv", True, False, default=False),
    }


def _read_nac(block: _Section) -> dict[str, Any]:
    _take_common(block)
    block.only("residual", False, default=False)
    block.only("se", False, default=False)
    block.only("pool_size", 1, default=1)
    block.only("conv_type", "standard", default="standard")
    return {
        "nac_channels": block.integer("filters"),
        "nac_kernel": block.integer("kernel_size", 1),
        "nac_dropout": block.number("dropout", 0.0, high=1.0),
    }


def _read_head(model: Mapping[str, Any], heads: list[str], wanted: int | str) -> dict[str, Any]:
    if not heads:
        raise FormatError("params.json: model has no head_* object; one is needed")
    if isinstance(wanted, str):
        matches = [key for key in heads if wanted in (key, key.removeprefix("head_"))]
    else:
        matches = heads[wanted : wanted + 1] if wanted >= 0 else []
    if not matches:
        choices = ", ".join(f"{number} ({key.removeprefix('head_')})" for number, key in enumerate(heads))
        raise FormatError(f"params.json has no head {wanted!r}; it has {choices}")
    block = _Section(model[matches[0]], matches[0])
    block.only("name", "final")
    block.only("activation", "softplus")
    for key in ("kernel_initializer", *sorted(_TRAINING_KEYS)):
        block.take(key, None)
    fields = {"tracks": block.integer("units"), "head": matches[0].removeprefix("head_")}
    block.finish()
    return fields


_READERS = {
    "conv_dna": _read_stem,
    "res_tower": _read_tower,
    "transformer_tower": _read_transformer,
    "conv_nac": _read_nac,
}
_MARKER = {"conv_dna": "stem_channels", "res_tower": "tower_channels", "transformer_tower": "heads"}
