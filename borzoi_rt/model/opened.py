"""What a model holds while it is open; each part is loaded when it is first used."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence, Sized
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from ..backends.device import Device
from ..backends.opening import open_session
from ..backends.protocols import Session
from ..bundle.opening import Bundle
from ..closing import Closing
from ..engine.sessions import EngineOptions, open_engine
from ..errors import InputError
from ..explain.explainer import Explainer
from ..explain.remote import RemoteExplainer, open_explainer
from ..genome.fasta import Fasta
from ..genome.genes import Genes
from ..genome.intervals import Interval, read_bed
from ..html import html_table
from ..inside.activations import Activations
from ..scoring.ensemble import member_engine, open_scorer
from ..scoring.options import ScoreOptions
from ..scoring.phase_floor import AnyScorer
from ..tracks import TrackTable

Known = Interval | Sequence[Interval | str] | str | os.PathLike[str]
Regions = Interval | str | os.PathLike[str] | Sequence[Interval | str]
Options = TypeVar("Options")


class Opened(Closing):
    """Bundles, a genome and a device, and what was made of them so far."""

    def __init__(
        self,
        members: tuple[Bundle, ...],
        fasta: Fasta | None,
        device: Device,
        engine: EngineOptions | None,
        stack: ExitStack,
    ) -> None:
        self.members = members
        self.bundle = members[0]
        self._fasta = fasta
        self._device = device
        self._engine_options = engine
        self._stack = stack
        self._engines: list[Session] = []
        self._whole: Session | None = None
        self._scorers: dict[tuple[ScoreOptions, bytes, str], AnyScorer] = {}
        self._explainer: Explainer | RemoteExplainer | None = None
        self._inside: Activations | None = None
        self._local: Explainer | None = None
        self._closed = False

    @property
    def tracks(self) -> TrackTable:
        """The tracks of the model, one per output."""
        return self.bundle.tracks

    @property
    def device(self) -> str:
        """Where the model runs."""
        return str(self._device)

    @property
    def fasta(self) -> Fasta:
        """The genome.

        Raises
        ------
        InputError
            If the model was opened without one.
        """
        self._check_open()
        if self._fasta is None:
            raise InputError("this needs a genome: open_model(bundle, fasta='GENOME.fa.gz')")
        return self._fasta

    def close(self) -> None:
        """Free the model and close the genome."""
        self._closed = True
        self._scorers.clear()
        self._engines, self._whole, self._explainer = [], None, None
        self._inside, self._local = None, None
        self._stack.close()

    def __repr__(self) -> str:
        genome = "no genome" if self._fasta is None else self._fasta.name
        grid = self.bundle.geometry
        names = " + ".join(item.info.name for item in self.members)
        return (
            f"<Model {names}: {grid.sequence_length_bp:,} bp -> {grid.bins:,} bins of "
            f"{grid.bin_size_bp} bp x {len(self.tracks):,} tracks, {genome}, on {self._device}>"
        )

    def _repr_html_(self) -> str:
        grid = self.bundle.geometry
        rows = [
            ("window", f"{grid.sequence_length_bp:,} bp -> {grid.bins:,} bins of {grid.bin_size_bp} bp"),
            ("tracks", f"{len(self.tracks):,}"),
            ("squash", self.bundle.info.squash.kind),
            ("genome", "none" if self._fasta is None else self._fasta.name),
            ("device", self._device),
        ]
        return html_table("Model " + " + ".join(item.info.name for item in self.members), (), rows, len(rows))

    def _scorer(self, options: ScoreOptions, genes: Genes | None = None) -> AnyScorer:
        self._check_open()
        # A list of tracks may have changed in its file; names and types of genes are not in their digest.
        tracks = self.tracks.select(options.tracks).tobytes() if str(options.tracks)[:1] == "@" else b""
        key = options, tracks, "" if genes is None else _digest(genes)
        if key not in self._scorers:
            engine = member_engine(self._engine_options, len(self.members))
            for member in self.members[len(self._engines) :]:
                self._engines.append(open_engine(member, self._device, options=engine))
                self._stack.callback(self._engines[-1].close)
            self._scorers[key] = open_scorer(self.members, self._engines, self.fasta, options, genes)
        return self._scorers[key]

    def _opened_explainer(self, methods: Sequence[str]) -> Explainer | RemoteExplainer:
        if self._explainer is None:
            self._explainer = open_explainer(
                self.bundle, self.fasta, self._device, self._engine_options, methods=methods
            )
            self._stack.callback(self._explainer.close)
        return self._explainer

    def _explainer_here(self) -> Explainer:
        """Return an explainer in this process."""
        self._check_open()
        if len(self.members) > 1:
            raise InputError(f"this takes one model, and {len(self.members)} are open; open the one that is meant")
        if self._device.kind == "triton":
            raise InputError(f"{self._device}: this is done on this machine; open the model on cpu, cuda or tensorrt")
        if self._local is None:
            self._local = Explainer(self.bundle, self.fasta, self._device)
            self._stack.callback(self._local.close)
        return self._local

    def _whole_session(self) -> Session:
        self._check_open()
        if len(self.members) > 1:
            raise InputError(
                f"predict gives the coverage of one model, and {len(self.members)} are open; open the one that is meant"
            )
        if self._whole is None:
            self._whole = open_session(self.bundle, self._device)
            self._stack.callback(self._whole.close)
        return self._whole

    def _check_open(self) -> None:
        if self._closed:
            raise InputError("this model is closed; open another with open_model")


def regions_of(given: Regions) -> list[Interval]:
    """Return one region, several, or those of a BED file, which is a path and no text."""
    if isinstance(given, os.PathLike):
        return list(read_bed(Path(given)))
    return Interval.several(given)


def intervals_of(known: Known) -> list[Interval]:
    """Return intervals, also given as text or one alone, or those of a BED file."""
    if isinstance(known, str | os.PathLike):
        return list(read_bed(Path(known)))
    return [] if isinstance(known, Sized) and not len(known) else Interval.several(known)


def options_of(kind: type[Options], given: Options | Mapping[str, Any] | None) -> Options:
    """Return options, which may be given by name.

    Raises
    ------
    InputError
        If they are neither, or one is unknown.
    """
    if isinstance(given, kind):
        return given
    if given is not None and not isinstance(given, Mapping):
        raise InputError(f"options are {given!r:.60}; {kind.__name__} or a mapping of its fields is needed")
    make: Any = kind
    allowed, asked = [item.name for item in fields(make)], dict(given or {})
    for name in asked:
        if name not in allowed:
            raise InputError(f"option {name!r} is unknown; allowed: {', '.join(allowed)}")
    made: Options = make(**asked)
    return made


def _digest(genes: Genes) -> str:
    """Return what tells annotations apart: everything that scores of genes and their names depend on."""
    return f"{genes.digest} {genes.transcript_digest} {genes.label_digest}"
