"""Figures of what a DFT score run wrote."""

from __future__ import annotations

import os

import numpy as np

from ..errors import InputError
from ..tables.dft_reading import read_curves, read_profiles
from .promoter_figures import plot_effect_curves, plot_profiles, plot_spectra
from .style import check_form

TOP = 6


def plot_curves(
    out: str | os.PathLike[str],
    curves: str | os.PathLike[str],
    *,
    row: str | None = None,
    top: int = TOP,
    spectrum: bool = False,
) -> list[str]:
    """Draw what the removal of motifs does at one site, or its spectrum.

    Parameters
    ----------
    out : path
        ``.pdf``, ``.svg`` or ``.png``.
    curves : path
        ``--curves`` of ``borzoi-rt dft score``.
    row : str, optional
        See :func:`borzoi_rt.tables.dft_reading.read_curves`.
    top : int
        Motifs that are drawn: those whose removal changes most.
    spectrum : bool
        Draw magnitude and phase instead of the curves.

    Returns
    -------
    list of str
        The motifs that are drawn.
    """
    check_form(out)
    held = read_curves(curves, row)
    order = held.strongest(_checked(top))
    names = [held.motifs[number] for number in order]
    if spectrum:
        plot_spectra(out, held.spectrum[order], held.omega, names=names, title=held.title)
    else:
        title = f"{held.title}: effect of removal (KO - WT) by position of the base"
        plot_effect_curves(out, held.effect[order], held.position_bp, names=names, title=title)
    return names


def plot_mean_curves(out: str | os.PathLike[str], profiles: str | os.PathLike[str], *, top: int = TOP) -> list[str]:
    """Draw mean effect curves of motifs with their bands, of the first net and track of a table.

    Parameters
    ----------
    out : path
        ``.pdf``, ``.svg`` or ``.png``.
    profiles : path
        ``--profiles`` of ``borzoi-rt dft score``.
    top : int
        Motifs that are drawn: those whose mean curve is largest.

    Returns
    -------
    list of str
        The motifs that are drawn.
    """
    check_form(out)
    held = read_profiles(profiles)
    first = [profile for profile in held if (profile.net, profile.track) == (held[0].net, held[0].track)]
    size = [-float(np.square(profile.mean).sum()) for profile in first]
    shown = [first[number] for number in np.argsort(size, kind="stable")[: _checked(top)].tolist()]
    sites = f"{shown[0].sites} site{'' if shown[0].sites == 1 else 's'}"
    several = len({(profile.net, profile.track) for profile in held}) > 1
    of = f", {shown[0].net}" if several else ""
    plot_profiles(out, shown, title=f"Mean effect of removal (KO - WT) on {shown[0].track} over {sites}{of}")
    return [profile.motif for profile in shown]


def _checked(top: int) -> int:
    if top < 1:
        raise InputError(f"top is {top}; a whole number from 1 on is needed")
    return top
