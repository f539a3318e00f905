"""From TSSs or variants to a table of motif scores."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..backends.opening import open_session
from ..backends.protocols import Session
from ..bundle.opening import Bundle, open_bundle
from ..errors import InputError
from ..genome.fasta import Fasta
from ..genome.variants import Variant, VariantRecord, read_variants
from ..motifs.files import read_motifs
from ..motifs.matrices import Motif
from ..promoter.dft import DFTScores, dft_scores
from ..promoter.ensemble import combine_replicates
from ..promoter.options import DftOptions
from ..promoter.removal import FAMILY, ChannelRemoval, Removal, RemovalCurves, SequenceRemoval
from ..promoter.sites import Site, allele_window, read_sites, site_window
from ..tables.dft import CurveWriter, ScoredWindow, TableWriter, place_of, rows_of

Path_ = str | os.PathLike[str]


def score_file(
    out: Path_,
    *,
    bundles: Sequence[Path_],
    fasta: Path_,
    bed: Path_ | None = None,
    vcf: Path_ | None = None,
    motifs: Path_ | None = None,
    options: DftOptions | None = None,
    curves: Path_ | None = None,
    backend: str = "onnx:cpu",
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
    keep: Callable[[ScoredWindow], None] | None = None,
) -> Counter[str]:
    """Score the motifs of TSSs, of variants, or of variants around TSSs.

    Parameters
    ----------
    out : path
        Table to write, one row per site, motif, net, track and allele; ``OUT.meta.json`` is written beside it.
    bundles : sequence of path
        One model, or the nets of an ensemble.
    fasta : path
        Genome.
    bed, vcf : path, optional
        TSSs; variants. With both, each variant is scored at every TSS whose window holds it; a VCF alone is scored with
        the TSS at each variant, on the ``+`` strand.
    motifs : path, optional
        MEME or JASPAR file; needed in sequence mode.
    options : DftOptions, optional
    curves : path, optional
        HDF5 of curves and spectra to write.
    backend, threads
        See :func:`borzoi_rt.open_session`.
    progress : callable, optional
        Called with the number of windows done.
    keep : callable, optional
        Called with every scored window, for plots.

    Returns
    -------
    Counter
        Windows by status.

    Raises
    ------
    InputError
        If sites, options and models do not go together.
    """
    options = options or DftOptions()
    if not bundles or (bed is None and vcf is None):
        raise InputError("nothing to score: at least one bundle, and TSSs (--bed) or variants (--vcf), are needed")
    nets = [open_bundle(path) for path in bundles]
    matrices = None if motifs is None else read_motifs(motifs)
    sessions = [open_session(net, backend, threads=threads) for net in nets]
    table = TableWriter(Path(out), tuple(options.bands))
    archive = None if curves is None else CurveWriter(Path(curves))
    counts: Counter[str] = Counter()
    try:
        with Fasta(fasta) as genome:
            scorer = SiteScorer(nets, sessions, genome, matrices, options)
            sites = None if bed is None else read_sites(bed)
            records = [] if vcf is None else list(read_variants(vcf))
            for done, (windows, rows, status) in enumerate(scorer.results(sites, records), start=1):
                counts[status] += 1
                for row in rows:
                    table.write(row)
                for window in windows:
                    if archive is not None:
                        archive.write(window)
                    if keep is not None:
                        keep(window)
                if progress is not None:
                    progress(done)
    except BaseException:
        table.abandon()
        if archive is not None:
            archive.abandon()
        raise
    finally:
        for session in sessions:
            session.close()
    metadata = {**scorer.metadata, "windows": dict(counts), "fasta": Path(fasta).name}
    table.finish(metadata)
    if archive is not None:
        if not counts["ok"]:
            archive.abandon()
            raise InputError(
                f"none of {counts.total()} windows could be scored, so there are no curves; see {table.path.name}"
            )
        archive.finish(metadata)
    return counts


Result = tuple[list[ScoredWindow], list[dict[str, Any]], str]


class SiteScorer:
    """Score the motifs of windows with one or more nets.

    Parameters
    ----------
    nets : sequence of Bundle
    sessions : sequence of Session
        The same models, loaded.
    genome : Fasta
    motifs : list of Motif or None
        For sequence mode.
    options : DftOptions
    """

    def __init__(
        self,
        nets: Sequence[Bundle],
        sessions: Sequence[Session],
        genome: Fasta,
        motifs: list[Motif] | None,
        options: DftOptions,
    ) -> None:
        self.options = options
        self._genome = genome
        self._names = [net.info.name for net in nets]
        if len(set(self._names)) != len(nets):
            self._names = [net.path.name for net in nets]
        self._tracks = [_positions(net, options.tracks) for net in nets]
        self._removals = [
            _removal(net, session, tracks, motifs, options)
            for net, session, tracks in zip(nets, sessions, self._tracks, strict=True)
        ]
        first = self._removals[0]
        self._track_names = [nets[0].tracks.identifier[place] for place in self._tracks[0]]
        for net, removal, tracks in zip(nets, self._removals, self._tracks, strict=True):
            if (removal.motifs, removal.scored, net.geometry) != (first.motifs, first.scored, nets[0].geometry):
                raise InputError(f"{net.path.name} has other motifs or another window than {nets[0].path.name}")
            if [net.tracks.identifier[place] for place in tracks] != self._track_names:
                raise InputError(f"{net.path.name} has other tracks than {nets[0].path.name}")
        about = nets[0].info.architecture
        length = nets[0].geometry.sequence_length_bp
        self._window = {"length_bp": length, "tss_bp": int(about.get("tss_bp", length // 2))}
        self._nets = nets

    @property
    def metadata(self) -> dict[str, Any]:
        """What the table is, as JSON values."""
        removal, options = self._removals[0], self.options
        return {
            "borzoi_rt": __version__,
            "models": {name: net.sha256 for name, net in zip(self._names, self._nets, strict=True)},
            "motifs": list(removal.motifs),
            "scored_motifs": list(removal.motifs[: removal.scored]),
            "tracks": self._track_names,
            "window_bp": options.window_bp,
            "bin_size_bp": self._nets[0].geometry.bin_size_bp,
            "compat": options.compat,
            "noise_factor": options.noise_factor,
            "shift_window_bp": options.shift_window_bp,
            "bands_bp": {name: list(band) for name, band in options.bands.items()},
            "ensemble": "uniform" if len(self._nets) > 1 else None,
            **removal.metadata,  # type: ignore[attr-defined]
        }

    def results(self, sites: Sequence[Site] | None, records: Sequence[VariantRecord]) -> Iterator[Result]:
        """Yield, window by window, what was scored, its rows, and its status: a site first, then each ALT there.

        Without sites every variant makes its own. Every site and every allele has a row; ``no_site`` is a variant that
        no window holds.
        """
        if sites is None:
            for record in records:
                site = Site(record.variant.chrom, record.variant.pos - 1)
                yield from self._site(site, [record])
            return
        places: dict[str | None, list[int]] = {}
        for number, record in enumerate(records):
            places.setdefault(self._genome.resolve(record.variant.chrom), []).append(number)
        used = [False] * len(records)
        for site in sites:
            chrom = self._genome.resolve(site.chrom)
            start, end = site.window(**self._window)
            near = [] if chrom is None else places.get(chrom, [])
            inside = [number for number in near if _holds(start, end, records[number].variant)]
            for number in inside:
                used[number] = True
            yield from self._site(site, [records[number] for number in inside])
        for record, seen in zip(records, used, strict=True):
            if not seen:
                variant = record.variant
                yield _failed(Site(variant.chrom, variant.pos - 1), variant, record.problem or "no_site")

    def _site(self, site: Site, records: Sequence[VariantRecord]) -> Iterator[Result]:
        chrom = self._genome.resolve(site.chrom)
        problem = None if chrom is not None else "contig_missing"
        if chrom is not None and not 0 <= site.pos0 < self._genome.contigs[chrom]:
            problem = "out_of_bounds"
        if chrom is None or problem is not None:
            yield _failed(site, records[0].variant if records else None, problem or "")
            return
        here = replace(site, chrom=chrom)
        reference = self.score(here, None, site_window(self._genome, here, **self._window))
        yield reference, self._rows(reference, None), "ok"
        for record in records:
            variant = record.variant
            status = record.problem or _problem(self._genome, chrom, variant)
            if status is not None:
                yield _failed(here, variant, status)
                continue
            windows = self.score(here, variant, allele_window(self._genome, here, variant, **self._window))
            yield windows, self._rows(windows, reference), "ok"

    def score(self, site: Site, variant: Variant | None, onehot: np.ndarray) -> list[ScoredWindow]:
        """Score one window with every net, on every track."""
        scored = []
        for name, removal in zip(self._names, self._removals, strict=True):
            curves = removal.curves(onehot)
            if self.options.window_bp is not None:
                curves = curves.around(*self.options.window_bp)
            for row, track in enumerate(self._track_names):
                scores = self._dft(curves, row, slice(0, removal.scored))
                others = (
                    self._dft(curves, row, slice(removal.scored, None))
                    if len(removal.motifs) > removal.scored
                    else None
                )
                scored.append(ScoredWindow(site, variant, name, track, curves, row, scores, others))
        return scored

    def _dft(self, curves: RemovalCurves, row: int, motifs: slice) -> DFTScores:
        options = self.options
        return dft_scores(
            curves.wt[row],
            curves.ko[motifs, row],
            dt=curves.dt,
            center=curves.center,
            compat=options.compat,
            bands=options.bands,
            magnitude=True,
            shift_window_bp=options.shift_window_bp,
            replica=curves.replica[row],
            noise_factor=options.noise_factor,
        )

    def _rows(self, windows: list[ScoredWindow], reference: list[ScoredWindow] | None) -> list[dict[str, Any]]:
        """Return the rows of all nets, and of their mean where there are several."""
        deviation: dict[str, np.ndarray] = {}
        combined: list[dict[str, Any]] = []
        if len(self._nets) > 1:
            for track in self._track_names:
                nets = [window for window in windows if window.track == track]
                mean, deviation[track] = combine_replicates(np.stack([window.scores.score for window in nets]))
                combined += self._mean_rows(nets[0], mean, deviation[track])
        before: Sequence[ScoredWindow | None] = reference or [None] * len(windows)
        rows = []
        for window, base in zip(windows, before, strict=True):
            rows += rows_of(window, base, deviation.get(window.track))
        return rows + combined

    def _mean_rows(self, window: ScoredWindow, mean: np.ndarray, deviation: np.ndarray) -> list[dict[str, Any]]:
        top = int(mean.argmax()) if mean.any() else -1
        where = place_of(window.site, window.variant, "ensemble", window.track)
        return [
            {
                **where,
                "motif": motif,
                "group": "scored",
                "score": float(mean[place]),
                "score_sd": float(deviation[place]),
                "dominant": place == top,
                "degenerate": top < 0,
                "status": "ok",
            }
            for place, motif in enumerate(window.curves.motifs[: len(mean)])
        ]


def _removal(
    net: Bundle, session: Session, tracks: np.ndarray, motifs: list[Motif] | None, options: DftOptions
) -> Removal:
    promoter = net.info.architecture.get("family") == FAMILY
    mode = options.ablation or ("channel" if promoter and motifs is None else "sequence")
    if mode == "channel":
        if motifs is not None:
            raise InputError("a motif file is for sequence mode; channel mode removes the motifs of the model")
        scale = options.scale or "log1p"
        return ChannelRemoval(session, net, baseline=options.baseline, scale=scale, positions=tracks)
    if options.compat:
        raise InputError(
            f"compat {options.compat!r} is a score of channel removal; {net.path.name} has no motif channels"
        )
    return SequenceRemoval(
        session,
        net,
        motifs or [],
        positions=tracks,
        pvalue=options.pvalue,
        shuffles=options.shuffles,
        scale=options.scale or ("log1p" if promoter else "linear"),
        seed=options.seed,
    )


def _positions(net: Bundle, expression: str | None) -> np.ndarray:
    if expression is None and net.info.architecture.get("family") != FAMILY and len(net.tracks) > 1:
        raise InputError(f"{net.path.name} has {len(net.tracks)} tracks; name those to score, sense strand (--tracks)")
    return np.array([0]) if expression is None else net.tracks.select(expression)


def _holds(start: int, end: int, variant: Variant) -> bool:
    return start <= variant.pos - 1 and variant.pos - 1 + len(variant.ref) <= end


def _problem(genome: Fasta, chrom: str, variant: Variant) -> str | None:
    start = variant.pos - 1
    if start < 0 or start + len(variant.ref) > genome.contigs[chrom]:
        return "out_of_bounds"
    return None if genome.fetch(chrom, start, start + len(variant.ref)) == variant.ref else "ref_mismatch"


def _failed(site: Site, variant: Variant | None, status: str) -> Result:
    return [], [{**place_of(site, variant), "status": status}], status
