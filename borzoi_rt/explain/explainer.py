"""A model that explains: what a method says of rows, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..backends.device import Device
from ..backends.gradient import open_gradient
from ..bundle.manifest import N_POLICIES
from ..bundle.opening import Bundle
from ..engine.gradient import GradientSession
from ..engine.options import check_flags
from ..engine.sessions import EngineOptions, open_engine
from ..errors import InputError
from ..genome.fasta import Fasta
from .methods import METHODS, find_method, read_options
from .models import GradientObjective, ModelObjective
from .objective import Attribution
from .result import Explanation
from .rows import Row, codes_of
from .secants import Paired, SecantObjective, open_paired
from .target import TargetSpec


@dataclass(frozen=True, kw_only=True)
class ExplainOptions:
    """How a target is explained.

    Parameters
    ----------
    method : str
        A key of :data:`borzoi_rt.explain.methods.METHODS`.
    options : object, optional
        Options of the method, of its own class; its defaults when None.
    rc : bool
        Average each window with its reverse complement, as scores do.
    n_code : str, optional
        ``zero`` or ``uniform`` for unknown bases; None takes what the bundle's weights were trained with.

    Raises
    ------
    InputError
        If the method or the code is unknown, or the options are another method's.
    """

    method: str = "saliency"
    options: Any = None
    rc: bool = False
    n_code: str | None = None

    def __post_init__(self) -> None:
        check_flags(self, ("rc",))
        kind = find_method(self.method).options
        if self.n_code is not None and self.n_code not in N_POLICIES:
            raise InputError(f"n_code {self.n_code!r} is unknown; allowed: {', '.join(N_POLICIES)}")
        if isinstance(self.options, Mapping):
            object.__setattr__(self, "options", read_options(self.method, self.options))
        if self.options is None:
            object.__setattr__(self, "options", kind())
        if not isinstance(self.options, kind):
            raise InputError(f"options of method {self.method!r} are {self.options!r:.60}; {kind.__name__} is needed")

    def to_json(self) -> dict[str, Any]:
        """Return what was chosen, defaults too, as JSON values."""
        return {"method": self.method, "options": asdict(self.options), "rc": self.rc, "n_code": self.n_code}


class Explainer:
    """A bundle and a genome, opened for explanation when it is first needed; a context manager.

    Parameters
    ----------
    bundle : Bundle
        The model; methods that need a gradient need its gradient graphs.
    fasta : Fasta
        The genome.
    device : Device, optional
        Where it runs.
    engine : EngineOptions, optional
        How windows are predicted for methods that need values alone.
    """

    def __init__(
        self, bundle: Bundle, fasta: Fasta, device: Device | None = None, engine: EngineOptions | None = None
    ) -> None:
        self.bundle, self.fasta = bundle, fasta
        self._device, self._engine = device or Device.parse("cpu"), engine
        self._gradient: GradientSession | None = None
        self._paired: Paired | None = None
        self._plain: Any = None

    def explain(self, row: Row, spec: TargetSpec, options: ExplainOptions) -> Explanation:
        """Return what a method says of one row.

        Raises
        ------
        InputError
            If the target has no bin, track or value there.
        """
        objective = self.objective(row, spec, options)
        window = row.window(self.fasta, self.bundle.geometry)
        columns = row.columns
        found: Attribution = METHODS[options.method].run(objective, window, columns, options.options)
        target = spec.bind(self.bundle, row.where)
        return Explanation(
            row=row,
            codes=codes_of(window[:, columns[0] : columns[1]]),
            attribution=found,
            projected_only=METHODS[options.method].projected,
            about={"target": target.to_json(), **options.to_json(), "n_code": self._n_code(options)},
        )

    def objective(
        self, row: Row, spec: TargetSpec, options: ExplainOptions
    ) -> ModelObjective | GradientObjective | SecantObjective:
        """Return the target in the window of a row as a function of sequences, with what the method needs beside it."""
        target, tracks = spec.bind(self.bundle, row.where), self.bundle.tracks
        n_fill = N_POLICIES[self._n_code(options)]
        if METHODS[options.method].secant:
            if self._paired is None:
                self._paired = open_paired(self.bundle, self._device)
            return SecantObjective(self._paired, target, tracks, rc=options.rc, n_fill=n_fill)
        if METHODS[options.method].gradient:
            if self._gradient is None:
                self._gradient = GradientSession(open_gradient(self.bundle, self._device))
            return GradientObjective(self._gradient, target, tracks, rc=options.rc, n_fill=n_fill)
        if self._plain is None:
            engine = self._engine or EngineOptions()
            # Values are made of coverage, which a session that sums inside the graph does not hand over.
            self._plain = open_engine(self.bundle, self._device, options=replace(engine, fused=False))
        return ModelObjective(self._plain, target, tracks, rc=options.rc, n_fill=n_fill)

    def _n_code(self, options: ExplainOptions) -> str:
        return options.n_code or self.bundle.info.n_policy

    def close(self) -> None:
        """Free the model."""
        for session in (self._gradient, self._plain, self._paired):
            if session is not None:
                session.close()
        self._gradient = self._plain = self._paired = None

    def __enter__(self) -> Explainer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
