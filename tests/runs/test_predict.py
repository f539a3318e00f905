"""Coverage of regions: what each base of a bigWig comes from, the archive, all or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pybigtools
import pytest
import worlds
from jobs import file_limit
from numpy.testing import assert_array_equal

from borzoi_rt.backends.array import ArraySession
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.engine.sessions import EngineOptions
from borzoi_rt.errors import BackendError, InputError
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.runs import predict as run
from borzoi_rt.runs.predict import CoverageOptions
from borzoi_rt.runs.settings import RunSettings
from borzoi_rt.squash import KINDS

TEXT = worlds.random_dna(6000, seed=4)
OUTPUT, BIN = 1024, 32  # the toy bundle gives 32 bins of 32 bp


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Fasta:
    contigs = {"chr2": TEXT, "chr1": TEXT[::-1], "chrS": TEXT[:300]}
    return Fasta(worlds.write_fasta(tmp_path_factory.mktemp("genome") / "toy.fa", contigs))


@pytest.fixture(autouse=True)
def session(toy_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> ArraySession:
    """The session of every run in this process: its bins are sums of ``worlds.WEIGHTS``."""
    opened = worlds.counting_session(toy_bundle)
    monkeypatch.setattr(run, "open_session", lambda *_, **__: opened)
    return opened


def predict(bundle: Bundle, genome: Fasta, out: Path, regions: Sequence[Interval], **choices: Any) -> list[Path]:
    """Predict with a bundle whose coverage is not squashed, so that it can be counted."""
    return run.predict_regions(regions, out, bundle=worlds.unsquashed(bundle), fasta=genome.path, **choices)


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
        "predictions.json",
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
    settings = RunSettings(progress=seen.append)
    predict(toy_bundle, genome, tmp_path / "out", regions, settings=settings)
    with np.load(tmp_path / "out" / "predictions.npz", allow_pickle=False) as archive:
        assert (archive["coverage"].shape, archive["coverage"].dtype) == ((2, 6, 32), np.float32)
        assert archive["chrom"].tolist() == ["chr2", "chr1"]
        assert archive["start"].tolist() == [3001 - 512, 11 - 512]
        assert archive["end"].tolist() == [3001 + 512, 11 + 512]
        assert archive["track_id"].tolist() == list(toy_bundle.tracks.identifier)
        assert int(archive["bin_size_bp"]) == BIN
        assert_array_equal(archive["coverage"][0, 2], counted(TEXT, 3001 - 512, 2))
        assert_array_equal(archive["coverage"][1, 2], counted(TEXT[::-1], 11 - 512, 2))
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("squashed", [False, True])
def test_coverage_is_unsquashed_unless_asked_for(
    toy_bundle: Bundle, genome: Fasta, tmp_path: Path, squashed: bool
) -> None:
    squash = toy_bundle.squash()
    region, out = Interval("chr1", 2000, 2100), tmp_path / "out"
    options = CoverageOptions(squashed=squashed)
    run.predict_regions([region], out, bundle=toy_bundle, fasta=genome.path, options=options)
    raw = np.array([counted(TEXT[::-1], 2050 - 512, track) for track in range(6)], dtype=np.float32)
    expected = raw.copy() if squashed else squash.inverse(raw.copy())
    assert squashed or not np.allclose(expected, raw)
    with np.load(out / "predictions.npz") as archive:
        assert_array_equal(archive["coverage"][0], expected)


def test_odd_names_of_tracks_make_plain_file_names(toy_bundle: Bundle, genome: Fasta, tmp_path: Path) -> None:
    model = worlds.unsquashed(toy_bundle)
    tracks = replace(model.tracks, identifier=("../a b", *model.tracks.identifier[1:]))
    odd, out = replace(model), tmp_path / "out"
    vars(odd)["tracks"] = tracks  # where the bundle keeps the table it has read
    written = run.predict_regions([Interval("chr1", 1, 3)], out, bundle=odd, fasta=genome.path)
    assert written[0].name == "0_.._a_b.bw"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("region", "message"),
    [
        (Interval("chr9", 0, 9), r"region chr9:1-9: toy.fa has no contig 'chr9'"),
        (Interval("chrS", 300, 400), r"region chrS:301-400: its middle lies beyond the end of chrS \(300 bp\)"),
        (Interval("chrS", 290, 9000), r"region chrS:291-9000: its middle lies beyond"),
        (Interval("chrS", -500, -100), r"region chrS:-499--100: its middle lies beyond the start of chrS"),
    ],
)
def test_regions_outside_the_genome_are_refused(
    toy_bundle: Bundle, genome: Fasta, tmp_path: Path, region: Interval, message: str
) -> None:
    with pytest.raises(InputError, match=message):
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


def test_a_long_region_is_covered_by_adjacent_windows(toy_bundle: Bundle, genome: Fasta, tmp_path: Path) -> None:
    """2,500 bp need three windows of 1,024; they stand around the middle 3250, from 3250 - 1536 on."""
    regions = [Interval("chr2", 2000, 4500), Interval("chr2", 200, 1224)]
    predict(toy_bundle, genome, tmp_path / "out", regions)
    starts = [1714, 2738, 3762, 200]
    with np.load(tmp_path / "out" / "predictions.npz", allow_pickle=False) as archive:
        assert archive["start"].tolist() == starts
        assert archive["end"].tolist() == [start + OUTPUT for start in starts]
        assert archive["region"].tolist() == [0, 0, 0, 1]
        for number, start in enumerate(starts):
            for track in range(6):
                assert_array_equal(archive["coverage"][number, track], counted(TEXT, start, track))
    found = bases(tmp_path / "out" / "4_dnase.bw", "chr2", 1714, 1714 + 3 * OUTPUT)
    assert_array_equal(found, np.repeat([value for start in starts[:3] for value in counted(TEXT, start, 4)], BIN))


@pytest.mark.parametrize("length", [1024, 1025, 2048, 2049])
def test_as_few_windows_as_cover_a_region(toy_bundle: Bundle, genome: Fasta, length: int) -> None:
    numbers, windows = run.windows_of([Interval("chr2", 1000, 1000 + length)], genome, toy_bundle.geometry)
    assert set(numbers) == {0}
    assert len(windows) == -(-length // OUTPUT)
    assert windows[0].start <= 1000
    assert windows[-1].end >= 1000 + length
    assert all(left.end == right.start for left, right in pairwise(windows))


@pytest.mark.parametrize("policy", ["zero", "uniform"])
def test_unknown_bases_are_coded_as_the_bundle_says(
    toy_bundle: Bundle, genome: Fasta, tmp_path: Path, policy: str
) -> None:
    """Of the window around 50 the 462 bases before the contig are unknown: 0, or the mean weight of a track each."""
    bundle = replace(toy_bundle, info=replace(toy_bundle.info, n_policy=policy))
    predict(bundle, genome, tmp_path / "out", [Interval("chr2", 49, 51)])
    with np.load(tmp_path / "out" / "predictions.npz") as archive:
        total = archive["coverage"][0].sum(axis=1, dtype="f8")
    inner = TEXT[:562]
    known = worlds.WEIGHTS @ np.array([inner.count(base) for base in "ACGT"])
    assert_array_equal(total, known + (462 * worlds.WEIGHTS.mean(axis=1) if policy == "uniform" else 0))
    said = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert said["options"]["prediction"]["n_code"] == policy


@pytest.mark.parametrize("kind", KINDS)
def test_another_squash_is_undone_on_purpose(toy_bundle: Bundle, genome: Fasta, tmp_path: Path, kind: str) -> None:
    spec = replace(toy_bundle.info.squash, kind=kind)
    of_that_kind = replace(toy_bundle, info=replace(toy_bundle.info, squash=spec))
    found = []
    for name, bundle, options in (
        ("one", toy_bundle, CoverageOptions(squash=kind)),
        ("two", of_that_kind, CoverageOptions()),
    ):
        run.predict_regions(
            [Interval("chr1", 2000, 2100)], tmp_path / name, bundle=bundle, fasta=genome.path, options=options
        )
        with np.load(tmp_path / name / "predictions.npz") as archive:
            found.append(archive["coverage"])
    assert_array_equal(found[0], found[1])


@pytest.mark.parametrize("choice", [{"squash": "old"}, {"unscale": True}, {"unclip": False}])
def test_the_squashed_scale_is_not_undone_too(choice: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="leave out squash, unscale and unclip"):
        CoverageOptions(squashed=True, **choice)


def test_options_of_the_engine_are_refused(toy_bundle: Bundle, genome: Fasta, tmp_path: Path) -> None:
    settings = RunSettings(engine=EngineOptions())
    with pytest.raises(InputError, match="whole passes: leave out engine"):
        predict(toy_bundle, genome, tmp_path / "out", [Interval("chr1", 1, 3)], settings=settings)


REGIONS = [Interval("chr1", start, start + 2) for start in (1000, 2000, 3000, 4000)]


def stop_at(number: int, fault: BaseException) -> Callable[[int], None]:
    def progress(done: int) -> None:
        if done == number:
            raise fault

    return progress


@pytest.mark.parametrize("fault", [BackendError("gone"), KeyboardInterrupt()], ids=repr)
def test_a_broken_run_is_resumed_to_the_same_bytes(
    toy_bundle: Bundle, genome: Fasta, tmp_path: Path, session: ArraySession, fault: BaseException
) -> None:
    predict(toy_bundle, genome, tmp_path / "whole", REGIONS)
    kept = RunSettings(progress=stop_at(3, fault))
    with pytest.raises(type(fault)):
        predict(toy_bundle, genome, tmp_path / "out", REGIONS, settings=kept)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.partial", "whole"]
    session.runs = 0
    with pytest.raises(InputError, match="kept by a run with another list of regions"):
        predict(toy_bundle, genome, tmp_path / "out", REGIONS[:3], settings=RunSettings(resume=True))
    predict(toy_bundle, genome, tmp_path / "out", REGIONS, settings=RunSettings(resume=True))
    assert session.runs == 2, "two windows of four were kept"
    assert not (tmp_path / "out.partial").exists()
    with np.load(tmp_path / "out" / "predictions.npz") as one, np.load(tmp_path / "whole" / "predictions.npz") as two:
        assert set(one) == set(two)
        for name in one:
            assert_array_equal(one[name], two[name])
    for path in (tmp_path / "whole").glob("*.bw"):
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


def test_a_run_that_did_nothing_leaves_nothing(toy_bundle: Bundle, genome: Fasta, tmp_path: Path) -> None:
    settings = RunSettings(progress=stop_at(1, BackendError("gone")))
    with pytest.raises(BackendError):
        predict(toy_bundle, genome, tmp_path / "out", REGIONS, settings=settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("limit", [2000, 3500])
def test_a_full_disk_costs_no_prediction(
    toy_bundle: Bundle, genome: Fasta, tmp_path: Path, session: ArraySession, limit: int
) -> None:
    """A window is kept in some 1.6 kB; the archive of four has more than 3.5 kB."""
    with file_limit(limit), pytest.raises(OSError, match=r"File too large|No space left"):
        predict(toy_bundle, genome, tmp_path / "out", REGIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["out.partial"]
    assert not list((tmp_path / "out.partial").glob("final-*")), "the next try needs the space"
    session.runs = 0
    predict(toy_bundle, genome, tmp_path / "out", REGIONS, settings=RunSettings(resume=True))
    assert session.runs == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
