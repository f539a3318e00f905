"""The methods by name. One is a function of an objective, a window and the bases to explain; see :class:`Method`."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..errors import InputError
from ..plain import plain
from ..types import ByteArray
from .coalitions import LimeOptions, ShapOptions, lime, shapley
from .dependency import DependencyOptions, dependency_map
from .gradients import (
    ExpectedOptions,
    IntegratedOptions,
    NoOptions,
    SmoothOptions,
    expected_gradients,
    integrated_gradients,
    saliency,
    smooth_gradients,
)
from .objective import Attribution, Bases
from .secants import DeepLiftOptions, deep_lift
from .stretches import ShuffleOptions, TileOptions, deletion, occlusion, shuffling
from .substitutions import HybridOptions, SubstitutionOptions, hybrid, mutagenesis


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method.

    Attributes
    ----------
    run : callable
        ``run(objective, window, bases, options)``: window uint8 (4, length), bases [start, end).
    options : type
        Frozen dataclass of its options, which refuses what they may not be.
    summary : str
        What it is, in one line.
    gradient : bool
        Whether the objective must have a ``slope``; otherwise ``values`` are all that it needs. Options may do
        without, see :meth:`needs_gradient`.
    approximate : bool
        Whether numbers of its answer are no exact passes of the model where other methods have these.
    projected : bool
        Whether its answer is about the base that is there alone.
    divisible : bool
        Whether it explains each base by itself, with the same facts, so that rows may be cut anywhere.
    secant : bool
        Whether the objective must have a ``secant``, which torch computes.
    """

    run: Callable[[Any, ByteArray, Bases, Any], Attribution]
    options: type[Any]
    summary: str
    gradient: bool = False
    approximate: bool = False
    projected: bool = False
    divisible: bool = False
    secant: bool = False

    def needs_gradient(self, options: Any) -> bool:
        """Return whether it needs a gradient with these options."""
        return self.gradient and bool(getattr(options, "gradient", True))


METHODS: dict[str, Method] = {
    "saliency": Method(
        run=saliency, options=NoOptions, gradient=True, summary="gradient, without its mean over the four bases"
    ),
    "ixg": Method(
        run=saliency,
        options=NoOptions,
        gradient=True,
        projected=True,
        summary="saliency of the base that is there (input times gradient)",
    ),
    "ig": Method(
        run=integrated_gradients,
        options=IntegratedOptions,
        gradient=True,
        summary="integrated gradients from shuffled references",
    ),
    "smoothgrad": Method(
        run=smooth_gradients,
        options=SmoothOptions,
        gradient=True,
        summary="saliency, mean over copies with some bases drawn anew",
    ),
    "expected-gradients": Method(
        run=expected_gradients,
        options=ExpectedOptions,
        gradient=True,
        summary="integrated gradients at random points, each from a reference of its own",
    ),
    "ism": Method(run=mutagenesis, options=SubstitutionOptions, divisible=True, summary="every substitution, exactly"),
    "ism-hybrid": Method(
        run=hybrid,
        options=HybridOptions,
        gradient=True,
        approximate=True,
        summary="every substitution about, the strongest exactly",
    ),
    "shuffle": Method(
        run=shuffling, options=ShuffleOptions, projected=True, summary="stretches shuffled, dinucleotides kept"
    ),
    "deletion": Method(run=deletion, options=TileOptions, projected=True, summary="stretches deleted"),
    "occlusion": Method(run=occlusion, options=TileOptions, projected=True, summary="stretches made unknown"),
    "shap": Method(run=shapley, options=ShapOptions, projected=True, summary="Shapley values of stretches"),
    "lime": Method(run=lime, options=LimeOptions, projected=True, summary="ridge regression on stretches"),
    "dependency": Method(
        run=dependency_map,
        options=DependencyOptions,
        gradient=True,
        summary="how a substitution at one base changes the scores of the others",
    ),
    "deeplift": Method(
        run=deep_lift,
        options=DeepLiftOptions,
        secant=True,
        summary="DeepLIFT from shuffled references (extra: explain)",
    ),
}


def find_method(name: str) -> Method:
    """Look a method up.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    if not isinstance(name, str) or name not in METHODS:
        near = difflib.get_close_matches(str(name), METHODS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"method {name!r} is unknown; allowed: {', '.join(METHODS)}{hint}")
    return METHODS[name]


def read_options(name: str, given: Mapping[str, Any]) -> Any:
    """Return the options of a method from those that a user gave; None counts as not given.

    Raises
    ------
    InputError
        If the method has no option of that name: nothing that was asked for is ignored; or it is of another kind.
    """
    return options_of(name, find_method(name).options, given)


def options_of(name: str, kind: type[Any], given: Mapping[str, Any]) -> Any:
    """Return options of a class, refusing those that it does not have; see :func:`read_options`."""
    known = {item.name: type(item.default) for item in fields(kind)}
    chosen = {option: plain(value) for option, value in given.items() if value is not None}
    for option in chosen:
        if option not in known:
            own = f"its options are {', '.join(known)}" if known else "it has none"
            raise InputError(f"method {name!r} has no option {option!r}; {own}")
        _check_kind(option, chosen[option], known[option])
    return kind(**chosen)


def _check_kind(name: str, value: Any, kind: type[Any]) -> None:
    """Refuse a value of another kind than the default has, where numbers or text are meant."""
    allowed = {int: (int,), float: (int, float), str: (str,)}.get(kind)
    if allowed is not None and (isinstance(value, bool) or not isinstance(value, allowed)):
        raise InputError(f"{name} is {value!r:.40}; {'text' if kind is str else 'a number'} is needed")
