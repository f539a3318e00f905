"""What a model says of a row, or of a part of one, in a form that is kept and sent; needs NumPy alone."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import FormatError
from ..types import ByteArray, FloatArray
from .objective import Attribution
from .rows import OK, STATUSES

LETTERS = "ACGTN"
_MOST_AXES = 3


@dataclass(frozen=True)
class Answer:
    """What one model says of a row, or of a part of one.

    Attributes
    ----------
    status, detail : str
        Of the row; ``ok`` where there is an answer.
    value : float
        The target of the window; NaN without an answer.
    codes : uint8 ndarray of shape (bases,)
        Letters, 0 to 4; of no base without an answer.
    arrays : mapping of str to float32 ndarray of shape (..., bases)
        ``hypothetical`` and what else the method gives.
    facts : mapping
        What the method says of its answer.
    """

    status: str = OK
    detail: str = ""
    value: float = float("nan")
    codes: ByteArray = field(default_factory=lambda: np.zeros(0, dtype=np.uint8))
    arrays: Mapping[str, FloatArray] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, codes: ByteArray, found: Attribution) -> Answer:
        """Return what is kept of an attribution of bases of these letters."""
        every = {"hypothetical": found.hypothetical, **found.arrays}
        arrays = {name: np.asarray(values, dtype=np.float32) for name, values in every.items()}
        return cls(value=found.value, codes=codes, arrays=arrays, facts=found.facts)

    def attribution(self) -> Attribution:
        """Return the attribution, as float32 holds it."""
        arrays = {name: values.astype(np.float64) for name, values in self.arrays.items()}
        return Attribution(self.value, arrays.pop("hypothetical"), dict(self.facts), arrays)

    def to_text(self) -> str:
        """Return it as JSON; arrays are base64 of little-endian float32, with their shape."""
        document: dict[str, Any] = {"status": self.status, "detail": self.detail}
        if self.status == OK:
            document |= {
                "value": self.value,
                "sequence": "".join(LETTERS[code] for code in self.codes.tolist()),
                "arrays": {name: [list(values.shape), _packed(values)] for name, values in self.arrays.items()},
                "facts": dict(self.facts),
            }
        return json.dumps(document)

    @classmethod
    def from_text(cls, text: str, width: int) -> Answer:
        """Read what :meth:`to_text` gave of ``width`` bases.

        Raises
        ------
        FormatError
            If it is something else.
        """
        try:
            held = json.loads(text)
            status, detail = str(held["status"]), str(held["detail"])
            if status not in STATUSES:
                raise ValueError(f"status {status!r:.40}")
            if status != OK:
                return cls(status, detail)
            codes = np.array([LETTERS.index(letter) for letter in held["sequence"]], dtype=np.uint8)
            arrays = {str(name): _unpacked(packed[0], packed[1], width) for name, packed in held["arrays"].items()}
            if len(codes) != width or arrays["hypothetical"].shape != (4, width):
                raise ValueError(f"{len(codes)} bases, {width} were asked for")
            return cls(status, detail, float(held["value"]), codes, arrays, dict(held["facts"]))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise FormatError(f"an explanation in an answer cannot be read ({error})") from error


def joined(parts: Sequence[Answer]) -> Answer:
    """Return a row of its parts, which explain adjacent bases by one method; if one has failed, so has the row."""
    first = next((part for part in parts if part.status != OK), parts[0])
    if first.status != OK or len(parts) == 1:
        return first
    arrays = {name: np.concatenate([part.arrays[name] for part in parts], axis=-1) for name in first.arrays}
    codes = np.concatenate([part.codes for part in parts])
    return Answer(value=first.value, codes=codes, arrays=arrays, facts=first.facts)


def _packed(values: FloatArray) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f4").tobytes()).decode("ascii")


def _unpacked(shape: Sequence[int], text: str, width: int) -> FloatArray:
    if not 1 <= len(shape) <= _MOST_AXES or shape[-1] != width:
        raise ValueError(f"an array of shape {shape!r:.40}")
    return np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4").reshape(shape).astype(np.float32)
