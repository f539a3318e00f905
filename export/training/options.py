"""What a params.json and the command line say about training, as one frozen dataclass."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from borzoi_rt.errors import FormatError, InputError
from borzoi_rt.evaluation.losses import position_weights

PRECISIONS = ("32", "bf16", "16")
SCHEDULES = ("constant", "cosine")
ATTENTION = ("plain", "sdpa", "chunks")
# Keys of the "train" object that have another name here, and those that name the only thing that can be done.
_RENAMED = {"global_clipnorm": "clip_norm", "train_epochs_min": "min_epochs", "train_epochs_max": "max_epochs"}
_FIXED = {"optimizer": "adam", "loss": "poisson_mn"}
_IGNORED = {"shuffle_buffer"}  # our order is a permutation of everything


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """How a network is trained.

    Parameters
    ----------
    batch_size : int
        Windows a device takes at a time.
    accumulate : int
        Batches whose gradients make one update.
    learning_rate, adam_beta1, adam_beta2, adam_epsilon : float
        Of Adam, in Keras' form; epsilon None is 1e-7, or 1e-4 with loss scaling (precision 16).
    warmup_steps : int
        Updates in which the rate rises linearly from 0.
    schedule : str
        ``constant`` after the warm-up, or ``cosine`` down to 0 at the last update.
    clip_norm : float
        Largest norm of the whole gradient, penalties included; 0 for none.
    total_weight, weight_range, weight_exp : float
        Of the loss.
    augment_rc : bool
        Reverse-complement every other batch, by a coin.
    augment_shift : int
        Shift each batch by up to so many bp.
    max_steps : int
        Updates after which training ends; 0: epochs decide.
    min_epochs, max_epochs, patience : int
        Training ends after ``max_epochs``, or when no head's validation Pearson rose for more than ``patience``
        validations, but not before ``min_epochs``.
    valid_every, save_every : int
        Updates between validations (0: an epoch), and between checkpoints.
    seed : int
        Fixes initial weights, order, augmentation and dropout.
    precision : str
        ``32``, ``bf16`` or ``16``; the head and the loss always run in float32.
    checkpoint_blocks : bool
        Recompute activations in the backward pass instead of keeping them.
    attention : str
        ``plain``, ``sdpa`` or ``chunks``; see :mod:`.attention`.
    ema : float
        Decay of the running average of the weights; 0 for none. See :class:`.average.Average`.
    """

    batch_size: int = 1
    accumulate: int = 1
    learning_rate: float = 6e-5
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float | None = None
    warmup_steps: int = 20_000
    schedule: str = "constant"
    clip_norm: float = 0.15
    total_weight: float = 0.2
    weight_range: float = 1.0
    weight_exp: float = 4.0
    augment_rc: bool = True
    augment_shift: int = 3
    max_steps: int = 0
    min_epochs: int = 1
    max_epochs: int = 1000
    patience: int = 30
    valid_every: int = 0
    save_every: int = 1000
    seed: int = 0
    precision: str = "32"
    checkpoint_blocks: bool = False
    attention: str = "plain"
    ema: float = 0.0

    def __post_init__(self) -> None:
        for name in ("batch_size", "accumulate", "max_epochs", "save_every"):
            _check(name, getattr(self, name), 1, whole=True)
        for name in ("warmup_steps", "augment_shift", "max_steps", "min_epochs", "patience", "valid_every", "seed"):
            _check(name, getattr(self, name), 0, whole=True)
        for name in ("learning_rate", "clip_norm", "total_weight"):
            _check(name, getattr(self, name), 0, whole=False)
        for name in ("adam_beta1", "adam_beta2", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)!r}; a number in [0, 1) is needed")
        for name, allowed in (("precision", PRECISIONS), ("schedule", SCHEDULES), ("attention", ATTENTION)):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} {getattr(self, name)!r} is unknown; allowed: {', '.join(allowed)}")
        position_weights(2, self.weight_range, self.weight_exp)

    @property
    def epsilon(self) -> float:
        """Adam's epsilon."""
        if self.adam_epsilon is not None:
            return self.adam_epsilon
        return 1e-4 if self.precision == "16" else 1e-7

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_params(cls, params: Mapping[str, Any], **changes: Any) -> TrainOptions:
        """Read the ``train`` object of a params.json and the augmentation of its ``model``; ``changes`` win.

        What a file leaves out is as in the reference: no augmentation.

        Raises
        ------
        FormatError
            If the file asks for what cannot be done.
        """
        train: dict[str, Any] = dict(params.get("train", {}))
        model = params.get("model", params)
        for key, only in _FIXED.items():
            if train.pop(key, only) != only:
                raise FormatError(f"train: {key} {params['train'][key]!r} cannot be used; only {only!r}")
        known = {item.name for item in fields(cls)}
        values = {_RENAMED.get(key, key): value for key, value in train.items() if key not in _IGNORED}
        unknown = sorted(set(values) - known)
        if unknown:
            raise FormatError(f"train: key {unknown[0]!r} is unknown; known: {', '.join(sorted(known))}")
        values.setdefault("augment_rc", bool(model.get("augment_rc", False)))
        values.setdefault("augment_shift", int(model.get("augment_shift", 0)))
        return cls(**{**values, **{key: value for key, value in changes.items() if value is not None}})


def _check(name: str, value: Any, least: int, *, whole: bool) -> None:
    kinds = (int,) if whole else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool) or not math.isfinite(value) or value < least:
        raise InputError(
            f"{name} is {value!r}; {'a whole number' if whole else 'a number'} of {least} or more is needed"
        )
