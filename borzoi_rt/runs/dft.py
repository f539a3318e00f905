"""From TSSs or variants to a table of motif scores."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import __version__
from ..bundle.manifest import Geometry
from ..bundle.opening import Bundle, open_bundle
from ..errors import InputError
from ..genome.fasta import Fasta
from ..genome.variants import read_variants
from ..motifs.files import read_motifs
from ..promoter.options import DftOptions
from ..promoter.profiles import EffectProfiles
from ..promoter.scorer import net_names, window_of
from ..promoter.sites import read_sites
from ..tables.dft import StoredWindow, stored_windows, write_curves, write_profiles, write_tsv
from .dft_plan import DftPlan, DftWorker, plan_targets
from .journal import Journal

PathLike = str | os.PathLike[str]
Floats = npt.NDArray[np.float64]
Keep = Callable[[StoredWindow, Floats], None]

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

    position_bp: Floats
    dt: float
    near: slice

    @classmethod
    def of(cls, geometry: Geometry, tss_bp: int, window_bp: tuple[int, int] | None) -> _Grid:
        dt = float(geometry.bin_size_bp)
        center = (tss_bp - geometry.crop_bp) // geometry.bin_size_bp
        position: Floats = (np.arange(geometry.bins, dtype=np.float64) - center) * dt
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
    backend: str = "onnx:cpu",
    threads: int | None = None,
    resume: bool = False,
    progress: Callable[[int], None] | None = None,
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
    backend, threads
        See :func:`borzoi_rt.open_session`.
    resume : bool
        Go on where an interrupted run with the same input and options stopped.
    progress : callable, optional
        Called with the number of windows done.
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
    options = options or DftOptions()
    if not bundles or (bed is None and vcf is None):
        raise InputError("nothing to score: at least one bundle, and TSSs (bed) or variants (vcf), are needed")
    outputs = [Path(path) for path in (out, curves, profiles) if path is not None]
    _check_outputs(outputs, (fasta, bed, vcf, motifs))
    nets = tuple(open_bundle(path) for path in bundles)
    window = window_of(nets[0])
    grid = _Grid.of(nets[0].geometry, window["tss_bp"], options.window_bp)
    with Fasta(fasta) as genome:
        sites = None if bed is None else read_sites(bed)
        records = [] if vcf is None else list(read_variants(vcf))
        plan = DftPlan(
            nets=nets,
            fasta=Path(fasta),
            genome=genome.fingerprint(),
            targets=tuple(plan_targets(genome, window, sites, records)),
            motifs=None if motifs is None else tuple(read_motifs(motifs)),
            options=options,
            backend=backend,
            threads=threads,
            near=_kept_bins(grid, curves is not None, profiles is not None or keep is not None),
        )
    with ExitStack() as stack:
        stack.enter_context(closing(worker := plan.open()))  # before anything of an earlier run is given up
        journal = stack.enter_context(Journal(outputs[0], plan.identity, resume=resume))
        for path in outputs[1:]:  # two runs with one archive are refused as two with one table are
            stack.callback(stack.enter_context(Journal(path, plan.identity, resume=False)).remove)
        _run(plan, worker, journal, progress)
        counts = _count(journal)
        about = _about(plan, worker, counts, fasta)
        if curves is not None:
            if not counts["ok"]:
                write_whole(outputs[0], lambda draft: write_tsv(draft, journal.tables, about))
                journal.remove()
                raise InputError(
                    f"none of {counts.total()} windows could be scored, so there are no curves; see {outputs[0].name}"
                )
            write_whole(
                Path(curves),
                lambda draft: write_curves(draft, journal.tables, grid.position_bp, grid.dt, about),
            )
        _show(journal, plan, grid, None if profiles is None else Path(profiles), keep)
        write_whole(outputs[0], lambda draft: write_tsv(draft, journal.tables, about))
        journal.remove()
    return counts


def write_whole(target: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` make a file in a new folder beside its target, and move it and its companions to their names.

    Raises
    ------
    InputError
        If it cannot be written; what was there before is left as it was.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
            draft = Path(folder) / target.name
            write(draft)
            for path in sorted(Path(folder).iterdir(), key=lambda path: path == draft):
                with path.open("rb") as handle:
                    os.fsync(handle.fileno())
                path.replace(target.parent / path.name)
    except (OSError, RuntimeError) as error:  # h5py raises the latter for a full disk
        raise InputError(
            f"{target}: cannot be written ({error}); repeat the run with resume to go on from here"
        ) from error


def _check_outputs(outputs: Sequence[Path], sources: Iterable[PathLike | None]) -> None:
    inputs = [Path(source) for source in sources if source is not None]
    for number, target in enumerate(outputs):
        if target.is_dir():
            raise InputError(f"{target}: is a directory; name a file")
        if not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
            raise InputError(f"{target.parent}: no such directory, or not writable; make it first")
        for source in inputs:
            if target.exists() and source.exists() and target.samefile(source):
                raise InputError(f"{target}: is an input, which is never written over; choose another name")
        for other in outputs[:number]:
            if target.resolve() == other.resolve():
                raise InputError(f"{target}: is named for two outputs; choose another name for one of them")


def _kept_bins(grid: _Grid, whole: bool, near: bool) -> slice | None:
    if whole:
        return slice(0, len(grid.position_bp))
    return grid.near if near else None


def _run(plan: DftPlan, worker: DftWorker, journal: Journal, progress: Callable[[int], None] | None) -> None:
    done = sum(plan.items(number) for number in range(journal.done))

    def tick() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done)

    for number in range(journal.done, plan.jobs):
        journal.add(worker.run(number, tick))


def _count(journal: Journal) -> Counter[str]:
    """Count windows by status; of the many rows of a scored window the one of its first net, track and motif counts."""
    counts: Counter[str] = Counter()
    for table in journal.tables():
        names = ("net", "track", "motif", "status")
        first: tuple[Any, ...] | None = None
        for *row, status in zip(*(table.column(name).to_pylist() for name in names), strict=True):
            first = tuple(row) if first is None and status == "ok" else first
            counts[status] += status != "ok" or tuple(row) == first
    return counts


def _show(journal: Journal, plan: DftPlan, grid: _Grid, profiles: Path | None, keep: Keep | None) -> None:
    """Give every window to ``keep``, and average the effects of the genome's own windows."""
    if keep is None and profiles is None:
        return
    position = grid.position_bp[grid.near]
    collected = EffectProfiles(position)
    first = 0 if plan.near == grid.near else grid.near.start
    near = slice(first, first + len(position))
    for whole in stored_windows(journal.tables):
        window = whole if whole.effect is None else replace(whole, effect=whole.effect[:, near])
        if window.effect is not None and not window.variant:
            collected.add(window.net, window.track, window.motifs, window.effect)
        if keep is not None:
            keep(window, position)
    if profiles is not None:
        write_whole(profiles, lambda draft: write_profiles(draft, collected))


def _about(plan: DftPlan, worker: DftWorker, counts: Counter[str], fasta: PathLike) -> dict[str, Any]:
    """Return what the table is, as JSON values."""
    nets: Sequence[Bundle] = plan.nets
    return {
        "borzoi_rt": __version__,
        "models": {name: net.sha256 for name, net in zip(net_names(nets), nets, strict=True)},
        "bin_size_bp": nets[0].geometry.bin_size_bp,
        **worker.scorer.metadata,
        "windows": dict(counts),
        "fasta": Path(fasta).name,
        "identity_genome": plan.genome,
    }
