"""Figures of what a DFT score run wrote, read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.testing import assert_allclose

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import FormatError, InputError
from borzoi_rt.promoter.spectra import rfft
from borzoi_rt.report import style
from borzoi_rt.report.curves import plot_curves, plot_mean_curves
from borzoi_rt.report.promoter_figures import smoothed
from borzoi_rt.runs.dft import score_file
from borzoi_rt.tables.dft_reading import read_curves, read_profiles


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, promoter_bundle: Bundle, promoter_genome: Any) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("curves")
    bed = folder / "tss.bed"
    bed.write_text("chr1\t1500\t1501\tone\t0\t+\nchr1\t1700\t1701\ttwo\t0\t-\nchr1\t1900\t1901\tthree\t0\t+\n")
    files = folder / "c.h5", folder / "p.tsv"
    given: dict[str, Any] = {"bundles": [promoter_bundle.path], "fasta": promoter_genome[0], "bed": bed}
    score_file(folder / "t.tsv", curves=files[0], profiles=files[1], **given)
    return files


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every figure that is finished."""
    found: list[Any] = []
    monkeypatch.setattr(style, "finish", lambda figure, path, title: found.append((figure, title)))
    return found


def test_the_site_with_the_largest_effect_is_drawn_its_strongest_motifs_first(made: Any, drawn: list[Any]) -> None:
    with h5py.File(made[0]) as file:
        effect, motifs = file["effect"][()].astype(np.float64), list(file["motif"].asstr())
    sizes = np.sqrt((effect**2).sum(axis=2))
    best = int(sizes.max(axis=1).argmax())
    assert plot_curves("c.png", made[0], top=2) == [motifs[row] for row in np.argsort(-sizes[best])[:2]]
    figure, title = drawn[0]
    assert title.startswith(("chr1:1501+ one", "chr1:1701- two", "chr1:1901+ three")[best])
    curve = figure.axes[0].lines[0].get_ydata()
    strongest = effect[best, np.argmax(sizes[best])]
    assert_allclose(curve, smoothed(strongest))


@pytest.mark.parametrize("row", ["two", "1", "chr1:1701"])
def test_a_site_is_named_by_name_number_or_locus(made: Any, row: str) -> None:
    held = read_curves(made[0], row)
    assert held.title == "chr1:1701- two"
    with h5py.File(made[0]) as file:
        assert_allclose(held.effect, file["effect"][1])
        assert_allclose(held.position_bp, file["position_bp"])
    turn = np.exp(-1j * held.omega * held.position_bp[0]) * (held.position_bp[1] - held.position_bp[0])
    assert_allclose(held.spectrum, rfft(held.effect) * turn, rtol=1e-4, atol=1e-5 * np.abs(held.spectrum).max())


def test_profiles_are_read_as_they_were(made: Any, drawn: list[Any]) -> None:
    profiles = {profile.motif: profile for profile in read_profiles(made[1])}
    with h5py.File(made[0]) as file:
        for number, motif in enumerate(file["motif"].asstr()):
            curves = file["effect"][:, number].astype(np.float64)
            assert_allclose(profiles[motif].mean, curves.mean(axis=0), rtol=1e-4, atol=1e-7)
            assert_allclose(profiles[motif].sd, curves.std(axis=0, ddof=1), rtol=1e-3, atol=1e-6)
            assert profiles[motif].sites == 3
    names = plot_mean_curves("p.svg", made[1], top=2)
    size = {motif: np.square(profile.mean).sum() for motif, profile in profiles.items()}
    assert names == sorted(size, key=lambda motif: -size[motif])[:2]
    assert drawn[0][1] == "Mean effect of removal (KO - WT) on TSS+ (sense) over 3 sites"


def test_the_spectrum_is_drawn_where_it_is_asked_for(made: Any, drawn: list[Any]) -> None:
    plot_curves("c.png", made[0], row="0", spectrum=True)
    figure, title = drawn[0]
    assert title == "chr1:1501+ one: spectrum of the effect of removal"
    assert [axis.get_ylabel() for axis in figure.axes] == ["|F|, signal x bp", "phase, rad"]


def test_what_cannot_be_drawn_is_refused(made: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no window 'four'; there are sites one, two, three, numbers 0 to 2"):
        plot_curves("c.png", made[0], row="four")
    with pytest.raises(InputError, match="the suffix names no figure"):
        plot_curves("c.txt", made[0])
    with pytest.raises(InputError, match="top is 0"):
        plot_mean_curves("c.png", made[1], top=0)
    with pytest.raises(FormatError, match="no effect curves"):
        read_curves(made[1])
    with pytest.raises(FormatError, match="no mean effect curves"):
        read_profiles(made[0])
    spoiled = tmp_path / "p.tsv"
    spoiled.write_text(made[1].read_text().replace("\t0.", "\tx.", 1))
    with pytest.raises(FormatError, match="cannot be read as mean effect curves"):
        read_profiles(spoiled)
