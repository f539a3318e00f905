"""A model that explains: what a method says of rows, one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backends.device import Device
from ..backends.gradient import open_gradient
from ..backends.protocols import Session
from ..bundle.manifest import N_POLICIES
from ..bundle.opening import Bundle
from ..engine.gradient import GradientSession
from ..engine.sessions import EngineOptions, open_engine
from ..errors import BackendError, FormatError, InputError
from ..genome.fasta import Fasta
from ..plain import check_types
from ..runs.tally import counted
from ..types import ByteArray
from .answer import Answer
from .costs import Counted
from .methods import METHODS, find_method, read_options
from .models import GradientObjective, KnownValues, ModelObjective
from .objective import Attribution
from .rows import Row, codes_of
from .secants import IncompleteError, Paired, SecantObjective, open_paired
from .strands import OtherStrand
from .target import TargetSpec

if TYPE_CHECKING:
    from .result import Explanation  # needs Arrow, which a server does not have


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
        check_types(self)
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


def described(bundle: Bundle, row: Row, spec: TargetSpec, options: ExplainOptions) -> dict[str, Any]:
    """Return what is explained of a row and how, as JSON values, with nothing left open.

    Raises
    ------
    InputError
        If the target has no bin or track there.
    """
    target = spec.bind(bundle, row.where)
    notes = allele_notes(bundle, row, spec)
    said = {"notes": notes} if notes else {}
    return {"target": target.to_json(), **options.to_json(), "n_code": n_code_of(bundle, options), **said}


def allele_notes(bundle: Bundle, row: Row, spec: TargetSpec) -> list[str]:
    """Return how targets of REF and ALT differ from the score of the same name; nothing where they do not."""
    if row.variant is None:
        return []
    notes, longer = [], len(row.variant.alt) - len(row.variant.ref)
    if longer:
        notes.append(
            f"ALT is {abs(longer)} bp {'longer' if longer > 0 else 'shorter'} than REF and each is explained in its "
            "own frame: the target changes by the score with indel 'none', not by one that is stitched or trimmed"
        )
    target = spec.bind(bundle, row.where)
    units = [bundle.tracks.take(target.positions[rows]) for rows in target.rows]
    paired = [np.isin(held.strand_pair[held.strand_pair != held.index], held.index).any() for held in units]
    if not spec.log and any(paired):
        notes.append(
            "the target is a mean over tracks: of both strands of a pair it changes by half of the pair's score, which "
            "is the sum over strands (in family 'hound')"
        )
    return notes


def n_code_of(bundle: Bundle, options: ExplainOptions) -> str:
    """Return the code of unknown bases: what was chosen, else the bundle's."""
    return options.n_code or bundle.info.n_policy


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
    session : Session, optional
        What predicts for these, instead of one of its own; it stays open.
    """

    def __init__(
        self,
        bundle: Bundle,
        fasta: Fasta,
        device: Device | None = None,
        engine: EngineOptions | None = None,
        session: Session | None = None,
    ) -> None:
        self.bundle, self.fasta = bundle, fasta
        self._device, self._engine = device or Device.parse("cpu"), engine
        self._gradient: GradientSession | None = None
        self._paired: Paired | None = None
        self._plain: Any = session
        self._borrowed = session
        self._known = KnownValues()

    @property
    def device(self) -> Device:
        """Where the model runs."""
        return self._device

    def explain(self, row: Row, spec: TargetSpec, options: ExplainOptions) -> Explanation:
        """Return what a method says of one row.

        Raises
        ------
        InputError
            If the target has no bin, track or value there.
        """
        from .result import Explanation

        codes, found, passes = self.attributed(row, spec, options)
        about = described(self.bundle, row, spec, options)
        return Explanation(row, codes, found, METHODS[options.method].projected, about, passes)

    def answer(self, row: Row, spec: TargetSpec, options: ExplainOptions) -> Answer:
        """Return the same to be kept or sent: what is wrong with the row is its status, and ends nothing.

        Raises
        ------
        InputError
            If the method needs gradient graphs, which the bundle lacks.
        """
        self.prepare(options)
        try:
            return Answer.of(*self.attributed(row, spec, options)[:2])
        except InputError as error:
            return Answer("incomplete" if isinstance(error, IncompleteError) else "no_target", str(error))
        except (BackendError, FormatError, OSError, MemoryError):
            raise
        except Exception as error:  # what nobody foresaw costs the row, and not the run
            return Answer("error", f"{type(error).__name__}: {error}")

    def attributed(
        self,
        row: Row,
        spec: TargetSpec,
        options: ExplainOptions,
        *,
        window: ByteArray | None = None,
        opposite: bool = False,
    ) -> tuple[ByteArray, Attribution, dict[str, int]]:
        """Return the letters of a row, what a method says of them, and the passes that it took.

        Parameters
        ----------
        row, spec, options
            As of :meth:`explain`.
        window : uint8 ndarray of shape (4, length), optional
            Other letters than those of the row.
        opposite : bool
            See :meth:`objective`.
        """
        objective = Counted(self.objective(row, spec, options, opposite=opposite), strands=2 if options.rc else 1)
        window, columns = row.window(self.fasta, self.bundle.geometry) if window is None else window, row.columns
        stretches = _stretches(row, options)
        found: Attribution = METHODS[options.method].run(objective, window, columns, options.options, **stretches)
        if stretches:
            found.facts["segments"] = _told(row, found)
        return codes_of(window[:, columns[0] : columns[1]]), found, objective.passes

    def objective(
        self, row: Row, spec: TargetSpec, options: ExplainOptions, *, opposite: bool = False
    ) -> ModelObjective | GradientObjective | SecantObjective:
        """Return the target in the window of a row as a function of sequences, with what the method needs beside it.

        With ``opposite`` the model reads the reverse complement alone; see :mod:`borzoi_rt.explain.strands`.
        """
        target, tracks = spec.bind(self.bundle, row.where), self.bundle.tracks
        n_fill = N_POLICIES[n_code_of(self.bundle, options)]
        self.prepare(options)
        method = METHODS[options.method]

        def read(session: Any) -> Any:
            return OtherStrand(session, tracks) if opposite else session

        if method.secant:
            return SecantObjective(read(self._paired), target, tracks, rc=options.rc, n_fill=n_fill)
        if method.needs_gradient(options.options):
            return GradientObjective(read(self._gradient), target, tracks, rc=options.rc, n_fill=n_fill)
        known = None if opposite else self._known
        return ModelObjective(read(self._plain), target, tracks, rc=options.rc, n_fill=n_fill, known=known)

    def prepare(self, options: ExplainOptions) -> None:
        """Load what a method needs, if that was not done before.

        Raises
        ------
        InputError
            If it needs gradient graphs, which the bundle lacks.
        """
        method = METHODS[options.method]
        if method.secant:
            if self._paired is None:
                self._paired = open_paired(self.bundle, self._device)
        elif method.needs_gradient(options.options):
            if self._gradient is None:
                self._gradient = GradientSession(open_gradient(self.bundle, self._device))
        elif self._plain is None:
            engine = self._engine or EngineOptions()
            # Values are made of coverage, which a session that sums inside the graph does not hand over.
            self._plain = counted(open_engine(self.bundle, self._device, options=replace(engine, fused=False)))

    @property
    def counts(self) -> Counter[str]:
        """What was computed; see :func:`borzoi_rt.runs.tally.tally_of`."""
        held = [session.counts for session in self._sessions() if getattr(session, "counts", None) is not None]
        return sum(held, Counter())

    @property
    def held_bytes(self) -> tuple[int, int]:
        """Bytes of the caches, and their bound."""
        caches = [getattr(session, "memory", None) for session in self._sessions()]
        sizes = [cache.size for cache in caches if cache is not None]
        return sum(held for held, _ in sizes), sum(bound for _, bound in sizes)

    def forget(self) -> None:
        """Empty caches and counts."""
        self._known.clear()
        for session in self._sessions():
            for held in (getattr(session, "counts", None), getattr(session, "memory", None)):
                if held is not None:
                    held.clear()

    def close(self) -> None:
        """Free the model."""
        for session in self._sessions():
            if session is not self._borrowed:
                session.close()
        self._gradient, self._paired, self._plain = None, None, self._borrowed

    def __enter__(self) -> Explainer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _sessions(self) -> list[Any]:
        return [session for session in (self._gradient, self._paired, self._plain) if session is not None]


def _stretches(row: Row, options: ExplainOptions) -> dict[str, Any]:
    """Return the stretches of a row as columns of the window, for a method that takes them.

    Raises
    ------
    InputError
        If they were not looked up.
    """
    asked = getattr(options.options, "segments", "")
    if not asked:
        return {}
    if row.segments is None:
        raise InputError(f"segments {asked!r} were not looked up; see borzoi_rt.explain.segments.read_segments")
    first = row.columns[0]
    return {"tiles": [(first + item.start, first + item.end) for item in row.segments]}


def _told(row: Row, found: Attribution) -> list[dict[str, Any]]:
    """Return the stretches of a row with what the method says of each; 0-based bases, of ALT those of its window."""
    told = []
    for item in row.segments or ():
        known = [name for name in ("effect", "effect_se") if name in found.arrays]
        line: dict[str, Any] = {
            "name": item.name,
            "start": row.bases.start + item.start,
            "end": row.bases.start + item.end,
            "cut": item.cut,
            **{name: float(found.arrays[name][item.start]) for name in known},
        }
        told.append(line)
    return told
