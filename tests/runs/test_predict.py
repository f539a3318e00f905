"""Coverage of regions: what each base of a bigWig comes from, the archive, all or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pybigtools
import pytest
import worlds
from numpy.testing import assert_array_equal

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.engine.prediction import Predictor
from borzoi_rt.errors import BackendError, FormatError, InputError
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.runs.predict import predict_regions

TEXT = worlds.random_dna(6000, seed=4)
OUTPUT, BIN = 1024, 32  # the toy bundle gives 32 bins of 32 bp


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Fasta:
    contigs = {"chr2": TEXT, "chr1": TEXT[::-1], "chrS": TEXT[:300]}
    return Fasta(worlds.write_fasta(tmp_path_factory.mktemp("genome") / "toy.fa", contigs))


def predict(bundle: Bundle, genome: Fasta, out: Path, regions: Sequence[Interval], **choices: object) -> list[Path]:
    """Predict with the countable session; its bins are sums of ``worlds.WEIGHTS``."""
    model = worlds.unsquashed(bundle)
    predictor = Predictor(worlds.counting_session(model), model.tracks, model.squash())
    return predict_regions(
        regions,
        predictor=predictor,
        fasta=genome,
        tracks=model.tracks,
        out=out,
        **choices,  # type: ignore[arg-type]
    )


def counted(text: str, start: int, track: int) -> list[float]:
    """Sum the weights of a track over each of 32 bins from ``start``; bases outside the chromosome count nothing."""
    weights = dict(zip("ACGT", worlds.WEIGHTS[track], strict=True))
    return [
        sum(weights[text[at]] for at in range(left, left + BIN) if 0 <= at < len(text))
        for left in range(start, start + OUTPUT, BIN)
    ]


def bases(path: Path, chrom: str, start: int, end: int) -> np.ndarray:
    """Return the value of every base, NaN where there is none."""
    values = np.full(end - start, np.nan)
    with pybigtools.open(str(path)) as file:
        for left, right, value in file.records(chrom, start, end):
            values[max(left - start, 0) : right - start] = value
    return values


def test_files(toy_bundle: Bundle, genome: Fasta, tmp_path: Path) -> None:
    written = predict(toy_bundle, genome, tmp_path / "out", [Interval("chr1", 3000, 3100)])
    names = [path.name for path in written]
    assert names == sorted(path.name for path in (tmp_path / "out").iterdir())
    assert set(names) == {
        "predictions.npz",
        *("0_cage+.bw", "1_cage-.bw", "2_rna-.bw", "3_rna+.bw", "4_dnase.bw", "5_chip.bw"),
    }
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_bigwig_holds_the_window_around_the_middle_of_the_region(
    toy_bundle: Bundle, genome: Fasta, tmp_path: Path
) -> None:
    """The middle of [3000, 3101) is 3050, so that the output runs from 3050 - 512."""
    predict(toy_bundle, genome, tmp_path / "out", [Interval("chr2", 3000, 3101)])
    for track, name in ((0, "0_cage+.bw"), (5, "5_chip.bw")):
        found = bases(tmp_path / "out" / name, "chr2", 3050 - 512, 3050 + 512)
        assert_array_equal(found, np.repeat(counted(TEXT, 3050 - 512, track), BIN))
        around = bases(tmp_path / "out" / name, "chr2", 3050 - 513, 3050 + 513)
        assert np.isnan(around[[0, -1]]).all()


def test_where_windows_overlap_the_nearest_centre_counts(toy_bundle: Bundle, genome: Fasta, tmp_path: Path) -> None:
    """Windows [2488, 3512) and [2688, 3712), given in the wrong order, meet half-way at 3100."""
    regions = [Interval("chr2", 3199, 3201), Interval("chr2", 2999, 3001)]
    predict(toy_bundle, genome, tmp_path / "out", regions)
    left = np.repeat(counted(TEXT, 2488, 4), BIN)
    right = np.repeat(counted(TEXT, 2688, 4), BIN)
    expected = np.concatenate([left[: 3100 - 2488], right[3100 - 2688 :]])
    assert_array_equal(bases(tmp_path / "out" / "4_dnase.bw", "chr2", 2488, 3712), expected)


def test_bins_are_cut_at_the_ends_of_the_chromosome(toy_bundle: Bundle, genome: Fasta, tmp_path: Path) -> None:
    regions = [Interval("chr2", 0, 100), Interval("chr2", 5990, 6000), Interval("chrS", 100, 200)]
    predict(toy_bundle, genome, tmp_path / "out", regions)
    path = tmp_path / "out" / "4_dnase.bw"
    start = 50 - 512
    assert_array_equal(bases(path, "chr2", 0, 562), np.repeat(counted(TEXT, start, 4), BIN)[512 - 50 :])
    start = 5995 - 512
    assert_array_equal(bases(path, "chr2", start, 6000), np.repeat(counted(TEXT, start, 4), BIN)[: 6000 - start])
    start = 150 - 512
    assert_array_equal(bases(path, "chrS", 0, 300), np.repeat(counted(TEXT[:300], start, 4), BIN)[-start:][:300])


def test_the_archive_keeps_the_order_of_the_regions(toy_bundle: Bundle, genome: Fasta, tmp_path: Path) -> None:
    seen: list[int] = []
    regions = [Interval("2", 3000, 3002), Interval("chr1", 10, 12)]  # the first under another name of its contig
    predict(toy_bundle, genome, tmp_path / "out", regions, progress=seen.append)
    with np.load(tmp_path / "out" / "predictions.npz", allow_pickle=False) as archive:
        assert (archive["coverage"].shape, archive["coverage"].dtype) == ((2, 6, 32), np.float32)
        assert archive["chrom"].tolist() == ["chr2", "chr1"]
        assert archive["start"].tolist() == [3001 - 512, 11 - 512]
        assert archive["end"].tolist() == [3001 + 512, 11 + 512]
        assert archive["track_id"].tolist() == list(toy_bundle.tracks.identifier)
        assert int(archive["bin_size_bp"]) == BIN
        assert_array_equal(archive["coverage"][0, 2], counted(TEXT, 3001 - 512, 2))
        assert_array_equal(archive["coverage"][1, 2], counted(TEXT[::-1], 11 - 512, 2))
    assert seen == [1, 2]


@pytest.mark.parametrize("squashed", [False, True])
def test_coverage_is_unsquashed_unless_asked_for(
    toy_bundle: Bundle, genome: Fasta, tmp_path: Path, squashed: bool
) -> None:
    squash = toy_bundle.squash()
    predictor = Predictor(worlds.counting_session(toy_bundle), toy_bundle.tracks, squash)
    region, out = Interval("chr1", 2000, 2100), tmp_path / "out"
    predict_regions([region], predictor=predictor, fasta=genome, tracks=toy_bundle.tracks, out=out, squashed=squashed)
    raw = np.array([counted(TEXT[::-1], 2050 - 512, track) for track in range(6)], dtype=np.float32)
    expected = raw.copy() if squashed else squash.inverse(raw.copy())
    assert squashed or not np.allclose(expected, raw)
    with np.load(out / "predictions.npz") as archive:
        assert_array_equal(archive["coverage"][0], expected)


def test_odd_names_of_tracks_make_plain_file_names(toy_bundle: Bundle, genome: Fasta, tmp_path: Path) -> None:
    model = worlds.unsquashed(toy_bundle)
    tracks = replace(model.tracks, identifier=("../a b", *model.tracks.identifier[1:]))
    predictor = Predictor(worlds.counting_session(model), tracks, model.squash())
    written = predict_regions(
        [Interval("chr1", 1, 3)], predictor=predictor, fasta=genome, tracks=tracks, out=tmp_path / "out"
    )
    assert written[0].name == "0_.._a_b.bw"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("region", "message"),
    [
        (Interval("chr9", 0, 9), r"region chr9:0-9: toy.fa has no such contig"),
        (Interval("chrS", 300, 400), r"region chrS:300-400: its middle lies beyond the end of chrS \(300 bp\)"),
        (Interval("chrS", 290, 9000), r"region chrS:290-9000: its middle lies beyond"),
    ],
)
def test_regions_outside_the_genome_are_refused(
    toy_bundle: Bundle, genome: Fasta, tmp_path: Path, region: Interval, message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        predict(toy_bundle, genome, tmp_path / "out", [Interval("chr1", 1, 3), region])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("occupied", ["directory", "file"])
def test_what_is_there_is_left_alone(toy_bundle: Bundle, genome: Fasta, tmp_path: Path, occupied: str) -> None:
    out = tmp_path / "out"
    if occupied == "directory":
        out.mkdir()
        (out / "mine").write_text("keep")
    else:
        out.write_text("keep")
    with pytest.raises(InputError, match=r"out: exists and is not an empty directory"):
        predict(toy_bundle, genome, out, [Interval("chr1", 1, 3)])
    assert [path.name for path in tmp_path.rglob("*")] == (["out", "mine"] if occupied == "directory" else ["out"])


def test_an_empty_directory_is_filled(toy_bundle: Bundle, genome: Fasta, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert predict(toy_bundle, genome, tmp_path / "out", [Interval("chr1", 1, 3)])


def test_a_failure_leaves_nothing(toy_bundle: Bundle, genome: Fasta, tmp_path: Path) -> None:
    def stop(done: int) -> None:
        if done == 2:
            raise BackendError("gone")

    with pytest.raises(BackendError):
        predict(toy_bundle, genome, tmp_path / "out", [Interval("chr1", 1, 3)] * 3, progress=stop)
    assert not list(tmp_path.iterdir())
