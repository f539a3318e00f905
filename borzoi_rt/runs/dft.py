"""From TSSs or variants to a table of motif scores."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .. import __version__
from ..bundle.manifest import Geometry
from ..bundle.opening import open_bundle
from ..engine.sessions import EngineOptions
from ..errors import InputError
from ..genome.fasta import Fasta
from ..genome.variants import read_variants
from ..motifs.files import read_motifs
from ..motifs.scan import say_unreachable
from ..promoter.options import DftOptions
from ..promoter.profiles import EffectProfiles
from ..promoter.scorer import description, resolved, window_of
from ..promoter.sites import read_sites
from ..tables.dft import StoredWindow, stored_windows, write_profiles, write_tsv
from ..tables.dft_curves import write_curves
from ..types import DoubleArray
from .dft_plan import DftPlan, plan_targets
from .estimate import Output
from .journal import Journal
from .outputs import check_target, finish_output
from .run import do_jobs, is_over, open_journal
from .settings import RunSettings
from .statuses import count_statuses

PathLike = str | os.PathLike[str]
Keep = Callable[[StoredWindow, DoubleArray], None]

NEAR_BP = 500.0  # of the TSS: what figures and mean curves show
_NEAR_BINS = 8


@dataclass(frozen=True)
class _Grid:
    """The bins of a run: of the whole output, or of ``DftOptions.window_bp``.

    Attributes
    ----------
    position_bp : float64 ndarray of shape (bins,)
        Position of each bin relative to the TSS.
    dt : float
        Width of a bin in bp.
    near : slice
        Those around the TSS that figures show.
    """

    position_bp: DoubleArray
    dt: float
    near: slice

    @classmethod
    def of(cls, geometry: Geometry, tss_bp: int, window_bp: tuple[int, int] | None) -> _Grid:
        dt = float(geometry.bin_size_bp)
        center = (tss_bp - geometry.crop_bp) // geometry.bin_size_bp
        position: DoubleArray = (np.arange(geometry.bins, dtype=np.float64) - center) * dt
        if window_bp is not None:
            position = position[(position >= -window_bp[0]) & (position < window_bp[1])]
        inside = np.flatnonzero(np.abs(position) <= max(NEAR_BP, _NEAR_BINS * dt))
        return cls(position, dt, slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0))


def score_file(
    out: PathLike,
    *,
    bundles: Sequence[PathLike],
    fasta: PathLike,
    bed: PathLike | None = None,
    vcf: PathLike | None = None,
    motifs: PathLike | None = None,
    options: DftOptions | None = None,
    curves: PathLike | None = None,
    profiles: PathLike | None = None,
    settings: RunSettings | None = None,
    keep: Keep | None = None,
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
    profiles : path, optional
        Table of the mean effect curve of each motif over the sites to write.
    settings : RunSettings, optional
        Device, processes, resumption.
    keep : callable, optional
        Called with every scored window in the order of the table and the positions of its bins, for figures: once all
        are done, with the curves within 500 bp of the TSS.

    Returns
    -------
    Counter
        Windows by status.

    Raises
    ------
    InputError
        If sites, options and models do not go together, or an output cannot be written or is an input.
    """
    settings = settings or RunSettings()
    if not bundles or (bed is None and vcf is None):
        raise InputError("nothing to score: at least one bundle, and TSSs (bed) or variants (vcf), are needed")
    if settings.engine not in (None, EngineOptions()):
        raise InputError("motif scores are made of whole passes; leave out the options of the engine")
    target, *others = [Path(path) for path in (out, curves, profiles) if path is not None]
    _check_outputs([target, *others], (fasta, bed, vcf, motifs, *bundles))
    nets = tuple(open_bundle(path) for path in bundles)
    matrices = None if motifs is None else tuple(read_motifs(motifs))
    chosen = resolved(options or DftOptions(), nets[0], matrices)
    if matrices is not None and chosen.pvalue is not None:
        say_unreachable(matrices, chosen.pvalue)
    window = window_of(nets[0])
    grid = _Grid.of(nets[0].geometry, window["tss_bp"], chosen.window_bp)
    with Fasta(fasta) as genome:
        sites = None if bed is None else read_sites(bed)
        records = [] if vcf is None else list(read_variants(vcf))
        plan = DftPlan(
            nets=nets,
            fasta=genome.path,
            genome=genome.fingerprint(),
            targets=tuple(plan_targets(genome, window, sites, records)),
            motifs=matrices,
            options=chosen,
            device=settings.worker_device,
            near=_kept_bins(grid, curves is not None, profiles is not None or keep is not None),
        )
    about = {"borzoi_rt": __version__, **description(chosen, nets, matrices), "fasta": Path(fasta).name}
    with open_journal(target, settings) as journal, ExitStack() as stack:
        # Against two runs into one archive; a shard and an estimate write none.
        alone = others if settings.shard is None and settings.estimate is None else []
        locks = {path: stack.enter_context(Journal(path)) for path in alone}
        do_jobs(plan, journal, settings)
        counts = count_statuses(journal)
        output = Output(target.name, lambda draft, shards: write_tsv(draft, shards, about))
        if is_over(plan, journal, settings, output):
            return counts
        about.update(windows=dict(counts), identity_genome=plan.genome)
        if curves is not None and counts["ok"]:

            def write_archive(draft: Path) -> None:
                write_curves(draft, journal.tables, grid.position_bp, grid.dt, about)

            finish_output(Path(curves), locks[Path(curves)], write_archive)
        collected = _show(journal, plan, grid, keep)
        if profiles is not None:
            finish_output(Path(profiles), locks[Path(profiles)], lambda draft: write_profiles(draft, collected))
        for lock in locks.values():
            lock.remove()
        finish_output(target, journal, lambda draft: write_tsv(draft, journal.tables, about))
    if curves is not None and not counts["ok"]:
        raise InputError(f"none of {counts.total()} windows could be scored, so there are no curves; see {target.name}")
    return counts


def _check_outputs(outputs: Sequence[Path], sources: Sequence[PathLike | None]) -> None:
    for number, target in enumerate(outputs):
        check_target(target, sources)
        if any(target.resolve() == other.resolve() for other in outputs[:number]):
            raise InputError(f"{target}: is named for two outputs; choose another name for one of them")


def _kept_bins(grid: _Grid, whole: bool, near: bool) -> slice | None:
    if whole:
        return slice(0, len(grid.position_bp))
    return grid.near if near else None


def _show(journal: Journal, plan: DftPlan, grid: _Grid, keep: Keep | None) -> EffectProfiles:
    """Give every window to ``keep``, and return the mean effects of the windows of the genome."""
    position = grid.position_bp[grid.near]
    collected = EffectProfiles(position)
    if plan.near is None:
        return collected
    first = 0 if plan.near == grid.near else grid.near.start
    near = slice(first, first + len(position))
    for whole in stored_windows(journal.tables):
        window = whole if whole.effect is None else replace(whole, effect=whole.effect[:, near])
        if window.effect is not None and not window.variant:
            collected.add(window.net, window.track, window.motifs, window.effect)
        if keep is not None:
            keep(window, position)
    return collected
