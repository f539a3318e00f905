"""``borzoi-rt evaluate``: the reference's figures, the reverse complement, and data that do not fit."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.cli import main
from borzoi_rt.dataset import Data, open_data
from borzoi_rt.errors import BorzoiError, InputError
from borzoi_rt.evaluation.run import EvaluationOptions, evaluate

BLOCK_TORCH = "import sys; sys.modules['torch'] = None; from borzoi_rt.cli import run; run()"


@pytest.fixture(scope="module")
def tables(tiny_bundle: Bundle, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list, list, str]:
    """Run the command where torch cannot be imported; return the rows of both tables and what was said."""
    folder = tmp_path_factory.mktemp("evaluate")
    arguments = ["--data", str(shared / "data" / "tiny_hg38"), "--split", "test", "--out", str(folder / "metrics.tsv")]
    arguments += ["--windows", str(folder / "windows.tsv"), "--report", str(folder / "report.html")]
    done = subprocess.run(
        [sys.executable, "-c", BLOCK_TORCH, "evaluate", "--bundle", str(tiny_bundle.path), *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    about = json.loads((folder / "metrics.tsv.meta.json").read_text())
    assert (about["split"], about["windows"], about["model_sha256"]) == ("test", 10, tiny_bundle.sha256)
    page = (folder / "report.html").read_text()
    assert "<dt>Mean Pearson</dt><dd>0.4085" in page
    assert "<dt>Data</dt><dd>tiny_hg38</dd>" in page
    read = [list(csv.DictReader((folder / name).open(), delimiter="\t")) for name in ("metrics.tsv", "windows.tsv")]
    return read[0], read[1], done.stderr


def test_reference_figures(tables: tuple[list, list, str]) -> None:
    """Loss and metrics of calico/baskerville on the same windows, given to six digits."""
    metrics, windows, said = tables
    losses = [float(row["loss"]) for row in windows]
    assert losses[:3] == pytest.approx([0.184703, 0.256724, 0.066805], abs=1e-5)
    assert np.mean(losses) == pytest.approx(0.272731, abs=1e-5)
    pearson = [float(row["pearson"]) for row in metrics]
    assert pearson[:5] == pytest.approx([0.0556, 0.7929, 0.0938, 0.5261, 0.1549], abs=1e-4)
    assert np.mean(pearson) == pytest.approx(0.408512, abs=1e-5)
    # The reference adds float32 sums, which R2 feels in the fifth digit.
    assert np.mean([float(row["r2"]) for row in metrics]) == pytest.approx(-0.093066, abs=1e-4)
    assert np.mean([float(row["loss"]) for row in metrics]) == pytest.approx(np.mean(losses), rel=1e-6)
    assert "10 windows, 74 tracks: loss 0.272731, Pearson 0.408512" in said


def test_rows_carry_tracks_and_regions(tables: tuple[list, list, str], shared: Path) -> None:
    metrics, windows, _ = tables
    assert metrics[1]["identifier"] == "CNhs10752-"
    lines = (shared / "data" / "tiny_hg38" / "sequences.bed").read_text().splitlines()
    first = next(line.split("\t") for line in lines if line.endswith("test"))
    assert [windows[0][name] for name in ("chrom", "start", "end")] == first[:3]


class Mirrored:
    """A session whose output is a fixed function of the base under each bin, different for each strand of a pair."""

    def __init__(self, data: Data) -> None:
        self.geometry, self.tracks_count, self.provider = data.info.geometry, data.info.tracks, "toy"

    def run(self, sequence: np.ndarray, track_index: object = None, *, n_fill: float = 0.0) -> np.ndarray:
        grid = self.geometry
        inner = sequence[:, :, grid.crop_bp : grid.crop_bp + grid.bins * grid.bin_size_bp].astype(np.float32)
        share = inner.reshape(len(sequence), 4, grid.bins, grid.bin_size_bp).mean(-1)
        return np.stack([share[:, track % 4] + 0.1 for track in range(self.tracks_count)], axis=1).astype(np.float32)


def test_reverse_complement_swaps_bases_bins_and_strands(make_data: Callable[..., Data]) -> None:
    """A and T are complements, C and G too: tracks (0, 1) read A and C, so their partners read T's and G's shares."""
    data = make_data(windows=3)
    tracks = data.tracks
    assert tracks is not None
    session = Mirrored(data)
    plain = evaluate(session, tracks, data, "train")
    both = evaluate(session, tracks, data, "train", options=EvaluationOptions(rc=True))
    window = next(data.split("train").in_order())
    from borzoi_rt.dataset.window import onehot_of
    from borzoi_rt.evaluation.losses import poisson_multinomial

    share = session.run(onehot_of(window.codes)[None])[0]
    complement = {0: 3, 1: 2, 2: 1, 3: 0}
    averaged = share.copy()
    for track in range(len(tracks)):
        partner = int(tracks.strand_pair[track])
        averaged[track] = (share[track] + share[complement[partner % 4]]) / 2
    np.testing.assert_allclose(both.losses[0], poisson_multinomial(averaged, window.target), rtol=1e-5)
    assert not np.allclose(both.losses, plain.losses)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_targets": 75}, "has 75 tracks, the model 74"),
        ({"seq_length": 131328, "crop_bp": 32896}, "131328 bp -> 2048 x 32 bp, the model has 131072 bp"),
    ],
)
def test_data_of_another_model(
    tiny_bundle: Bundle, shared: Path, tmp_path: Path, changes: dict[str, int], message: str
) -> None:
    source = shared / "data" / "tiny_hg38"
    values = json.loads((source / "statistics.json").read_text())
    (tmp_path / "statistics.json").write_text(json.dumps({**values, **changes}))
    options = ["evaluate", "--bundle", str(tiny_bundle.path), "--data", str(tmp_path), "--out", str(tmp_path / "m.tsv")]
    with pytest.raises(BorzoiError, match=message):
        main.main(options, standalone_mode=False)


def test_tracks_of_another_name(tiny_bundle: Bundle, shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "tiny_hg38"
    (tmp_path / "statistics.json").write_text((source / "statistics.json").read_text())
    (tmp_path / "targets.txt").write_text((source / "targets.txt").read_text().replace("CNhs10752-", "other-", 1))
    options = ["evaluate", "--bundle", str(tiny_bundle.path), "--data", str(tmp_path), "--out", str(tmp_path / "m.tsv")]
    with pytest.raises(InputError, match="track 1 is 'other-', in the model it is 'CNhs10752-'"):
        main.main(options, standalone_mode=False)


def test_nan_targets_are_refused(make_data: Callable[..., Data]) -> None:
    data = make_data(windows=2, poison=1)
    tracks = data.tracks
    assert tracks is not None
    with pytest.raises(InputError, match="window 1 of split 'train' holds NaN"):
        evaluate(Mirrored(data), tracks, data, "train")


def test_open_data_needs_a_directory(tmp_path: Path) -> None:
    with pytest.raises(BorzoiError, match="no such data directory"):
        open_data(tmp_path / "absent")
