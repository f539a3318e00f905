"""``borzoi-rt data make``: masks, gaps, splits, what is shown, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from borzoi_rt.cli import main
from borzoi_rt.errors import BorzoiError

from .bigwigs import (
    BIN,
    BINS,
    CONTIGS,
    all_splits,
    change,
    coverage,
    make,
    write_bigwig,
    write_sources,
)


def target_of(folder: Path, *more: object) -> np.ndarray:
    return next(make(folder, *more, squash="none").split("train").in_order()).target[0].astype("f8")


def one_window(folder: Path, values: np.ndarray) -> np.ndarray:
    """Write one ``sum`` track with the values at c1:2000-2640 and nothing elsewhere; return the plain sums."""
    write_sources(folder, ("sum",))
    track = np.full(CONTIGS["c1"], np.nan)
    track[2000:2640] = values
    write_bigwig(folder / "bw" / "0.bw", {"c1": track})
    (folder / "train.bed").write_text("c1\t2000\t2640\n")
    return np.nan_to_num(values).reshape(BINS, BIN).sum(axis=1)


def test_blacklisted_bases_are_clipped_to_the_median(tmp_path: Path) -> None:
    """Of 640 bases 320 have 1, 320 have 3: the median is 2. The list covers 10 bases, and 20 more on each side."""
    values = np.where(np.arange(640) % 2, 3.0, 1.0)
    values[96:146] = 9.0  # of these the list reaches [100, 150)
    plain = one_window(tmp_path, values)
    (tmp_path / "black.bed").write_text("c1\t2120\t2130\n")
    median = np.median(values)
    got = target_of(tmp_path, "--blacklist", tmp_path / "black.bed")
    clipped = values.copy()
    clipped[100:150] = np.minimum(clipped[100:150], median)
    np.testing.assert_allclose(got, clipped.reshape(BINS, BIN).sum(axis=1), rtol=5e-4)
    assert not np.allclose(got, plain)
    low = np.percentile(values, 10)
    values[100:150] = np.minimum(values[100:150], low)
    (tmp_path / "data").rename(tmp_path / "first")
    got = target_of(tmp_path, "--blacklist", tmp_path / "black.bed", "--blacklist-percentile", 10)
    np.testing.assert_allclose(got, values.reshape(BINS, BIN).sum(axis=1), rtol=5e-4)


def test_unmappable_bins_are_clipped_to_a_percentile_of_bins(tmp_path: Path) -> None:
    """Bin 3 wholly, bin 5 by 17 of 32 bases, bin 7 by 16: the third is not more than half."""
    sums = one_window(tmp_path, np.repeat(np.arange(1.0, BINS + 1), BIN))
    spans = [(3 * BIN, 4 * BIN), (5 * BIN, 5 * BIN + 17), (7 * BIN, 7 * BIN + 16), (15 * BIN, 17 * BIN)]
    (tmp_path / "umap.bed").write_text("".join(f"c1\t{2000 + a}\t{2000 + b}\n" for a, b in spans))
    got = target_of(tmp_path, "--unmappable", tmp_path / "umap.bed", "--umap-percentile", 25)
    limit = np.percentile(sums, 25)
    expected = sums.copy()
    for index in (3, 5, 15, 16):
        expected[index] = min(expected[index], limit)
    np.testing.assert_allclose(got, expected, rtol=5e-4)


def test_gaps_are_zero_or_lines(tmp_path: Path) -> None:
    values = np.full(640, 2.0)
    values[64:96] = np.nan
    values[96:] = 4.0
    plain = one_window(tmp_path, values)
    np.testing.assert_allclose(target_of(tmp_path), plain)
    (tmp_path / "data").rename(tmp_path / "first")
    line = np.interp(np.arange(64, 96), [63, 96], [2.0, 4.0]).sum()
    assert target_of(tmp_path, "--interpolate")[2] == pytest.approx(line, rel=5e-4)


def test_decimals(tmp_path: Path) -> None:
    one_window(tmp_path, np.full(640, 0.0123))
    assert target_of(tmp_path, "--decimals", 2)[0] == pytest.approx(0.39, rel=5e-4)  # 32 x 0.0123 = 0.3936


@pytest.mark.parametrize(
    ("names", "counts"),
    [
        (("--valid-chroms", "c2"), {"train": 4, "valid": 2, "test": 0}),
        (("--valid-folds", "f1", "--test-folds", "f2,f3"), {"train": 3, "valid": 1, "test": 2}),
        (("--test-folds", "f0"), {"train": 3, "valid": 0, "test": 3}),
    ],
)
def test_splits_by_name(tmp_path: Path, names: tuple[str, ...], counts: dict[str, int]) -> None:
    write_sources(tmp_path, ("sum",))
    regions = ["c1 500 f0", "c1 1500 f1", "c1 2500 f2", "c1 3500 f0", "c2 700 f3", "c2 2000 f0"]
    rows = [region.split() for region in regions]
    lines = [f"{chrom}\t{start}\t{int(start) + 10}\t{fold}\n" for chrom, start, fold in rows]
    (tmp_path / "train.bed").write_text("".join(lines))
    data = make(tmp_path, *names)
    assert data.info.windows == counts
    regions = data.regions("test") or []
    assert all(region.end - region.start == BINS * BIN for region in regions)


def test_overlapping_splits_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sources(tmp_path, ("sum",))
    (tmp_path / "valid.bed").write_text("c1\t1500\t1600\n")
    data = make(tmp_path, "--valid", tmp_path / "valid.bed")
    assert data.info.provenance["overlaps"] == {"train-valid": 1}
    assert "1 train windows overlap valid windows" in capsys.readouterr().err


def test_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sources(tmp_path)
    data = make(tmp_path, *all_splits(tmp_path), squash="old")
    capsys.readouterr()
    main.main(["data", "show", str(data.path)], standalone_mode=False)
    shown = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "1,024 bp -> 20 bins of 32 bp" in shown["window"]
    assert "5, 2 stranded" in shown["tracks"]
    assert shown["squash"].endswith("old")
    largest = max(float(window.target.max()) for window in data.split("train").in_order())
    assert f"to {largest:.4g}" in shown["train"]
    main.main(["data", "show", str(data.path), "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out) == data.info.to_json()


def missing_bigwig(folder: Path) -> None:
    os.unlink(folder / "bw" / "1.bw")


def no_bigwig(folder: Path) -> None:
    (folder / "bw" / "1.bw").write_bytes(b"not a bigWig" * 100)


def other_lengths(folder: Path) -> None:
    write_bigwig(folder / "bw" / "1.bw", {"c1": np.ones(7000), "c2": np.ones(3000)}, {"c1": 7000, "c2": 3000})


def other_names(folder: Path) -> None:
    write_bigwig(folder / "bw" / "1.bw", {"chrc1": np.ones(6000)}, {"chrc1": 6000})


def no_such_contig(folder: Path) -> None:
    (folder / "train.bed").write_text("chrc1\t2000\t2100\n")


def beyond_the_end(folder: Path) -> None:
    (folder / "train.bed").write_text("c1\t5900\t5990\n")


def negative_reads(folder: Path) -> None:
    write_bigwig(folder / "bw" / "1.bw", {name: -values - 1 for name, values in coverage(1).items()})


def unknown_statistic(folder: Path) -> None:
    change(folder, sum_stat=("sum", "median"))


def no_files(folder: Path) -> None:
    change(folder, extra={})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (missing_bigwig, r"1.bw: no such bigWig file"),
        (no_bigwig, r"1.bw: cannot be read as bigWig"),
        (other_lengths, r"1.bw: c1 has 7000 bp, in g.fa 6000; they are of different assemblies"),
        (other_names, r"1.bw: no contig 'c1'; it has chrc1.*empty_contigs"),
        (no_such_contig, r"g.fa has no contig 'chrc1'; did you mean 'c1'\?"),
        (beyond_the_end, r"its target region c1:5625-6265 leaves the contig of 6000 bp"),
        (negative_reads, r"track 't1-' is not finite in c1:180-820 after the squash 'old'"),
        (unknown_statistic, r"track 't1-': sum_stat 'median' cannot be made"),
        (no_files, r"no column 'file'"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, damage: object, message: str) -> None:
    write_sources(tmp_path, ("sum", "sum_sqrt"))
    damage(tmp_path)  # type: ignore[operator]
    with pytest.raises(BorzoiError, match=message):
        make(tmp_path, squash="old")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--length", 1000, "--crop", 192), "is no number of bins"),
        (("--valid-chroms", "c9"), "no region of chrom 'c9'; it has c1"),
        (("--valid-chroms", "c1", "--test-chroms", "c1"), "chrom 'c1' is in two splits"),
        (("--valid-chroms", "c1", "--test-folds", "f1"), "by chromosomes and by folds"),
        (("--umap-percentile", 101), "umap_percentile is 101"),
    ],
)
def test_bad_options_are_named(tmp_path: Path, more: tuple[object, ...], message: str) -> None:
    write_sources(tmp_path, ("sum",))
    with pytest.raises(BorzoiError, match=message):
        make(tmp_path, *more)


def test_contigs_without_reads_may_be_allowed(tmp_path: Path) -> None:
    write_sources(tmp_path, ("sum", "sum"))
    write_bigwig(tmp_path / "bw" / "1.bw", {"c1": np.ones(6000)})
    (tmp_path / "train.bed").write_text("c1\t2000\t2100\nc2\t1000\t1100\n")
    first, second = make(tmp_path, "--empty-contigs", squash="none").split("train").in_order()
    assert (first.target[1] == BIN).all()
    assert (second.target[1] == 0).all()


def test_an_existing_directory_is_kept(tmp_path: Path) -> None:
    write_sources(tmp_path, ("sum",))
    make(tmp_path)
    with pytest.raises(BorzoiError, match="exists; choose another name"):
        make(tmp_path)
