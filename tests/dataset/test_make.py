"""``borzoi-rt data make``: bigWigs of the tests against float64 formulas, for every squash kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from oracles import coverage as oracle

from borzoi_rt.dataset import open_data
from borzoi_rt.dataset.window import codes_of
from borzoi_rt.errors import BorzoiError
from borzoi_rt.squash import KINDS
from borzoi_rt.tracks import TrackTable

from .bigwigs import BIN, BINS, CONTIGS, CROP, all_splits, change, make, write_bigwig, write_sources


def want(values: np.ndarray, kind: str, track: int, tracks: TrackTable) -> np.ndarray:
    y = oracle.binned(values, BIN, tracks.sum_stat[track])
    numbers = (float(getattr(tracks, name)[track]) for name in ("scale", "clip_soft", "clip"))
    return oracle.squash(y, kind, tracks.sum_stat[track], *numbers)


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip_of_every_kind(tmp_path: Path, kind: str) -> None:
    sequences, tracks = write_sources(tmp_path)
    data = make(tmp_path, *all_splits(tmp_path), squash=kind)
    assert data.info.windows == {"train": 4, "valid": 1, "test": 2}
    assert (data.info.squash, data.info.geometry.bins, data.info.tracks) == (kind, BINS, 5)
    assert data.tracks is not None
    above = 0
    for split in ("train", "valid", "test"):
        regions = data.regions(split)
        assert regions is not None
        for region, window in zip(regions, data.split(split).in_order(), strict=True):
            start, end = region.start - CROP, region.end + CROP
            text = sequences[region.chrom][max(start, 0) : end]
            padded = "N" * max(-start, 0) + text + "N" * (end - max(start, 0) - len(text))
            np.testing.assert_array_equal(window.codes, codes_of(padded))
            for track, values in enumerate(tracks):
                truth = want(values[region.chrom][region.start : region.end], kind, track, data.tracks)
                above += int((oracle.binned(values[region.chrom][region.start : region.end], BIN, "sum") > 400).sum())
                # 5e-4: half of the last bit of float16, and a little for float32 before it.
                np.testing.assert_allclose(window.target[track].astype("f8"), truth, rtol=6e-4, atol=1e-6)
    assert above > 50  # 400^0.75 is 89: the knee at 40 was passed


GOLDEN = {  # sum of a bin -> stored value, by the reference's own program; float16, so 5e-4
    ("old", "sum_sqrt", 384, 768, 0.01): {1: 0.01, 100: 0.3162, 1e4: 4.090, 1e6: 5.609, 3e6: 6.180},
    ("old", "sum", 384, 768, 1.0): {10: 10, 1000: 408.75, 1e5: 699.5, 1e6: 768},
    ("old", "mean", 32, 128, 2.0): {1: 0.0625, 100: 6.25, 1e4: 97.5, 1e6: 256},
    ("new", "sum_sqrt", 64, 384, 0.3): {1: 0.1401, 100: 4.566, 1e4: 53.78, 1e6: 85.0, 3e6: 90.0},
    ("new", "mean", 32, 128, 2.0): {10: 0.625, 1000: 36.63, 1e5: 109.9, 3e6: 128},
    ("new", "sum_exp75", 64, 384, 0.3): {1: 0.2174, 1000: 65.88, 1e5: 110.1, 3e6: 212.3},
    ("new", "sum", 64, 384, 1.0): {100: 69.06, 1e4: 162.6, 1e5: 379.3, 1e6: 384},
}


@pytest.mark.parametrize(("settings", "values"), GOLDEN.items(), ids=lambda item: "-".join(map(str, item))[:24])
def test_values_of_the_reference(tmp_path: Path, settings: tuple, values: dict[float, float]) -> None:
    kind, stat, knee, clip, scale = settings
    write_sources(tmp_path, (stat,))
    change(tmp_path, clip_soft=np.array([knee]), clip=np.array([clip]), scale=np.array([scale], dtype="f4"))
    track = {name: np.zeros(length) for name, length in CONTIGS.items()}
    for index, total in enumerate(values):
        track["c1"][2000 + index * BIN : 2000 + (index + 1) * BIN] = min(total / BIN, 65504 if total > 2e6 else 1e9)
    write_bigwig(tmp_path / "bw" / "0.bw", track)
    (tmp_path / "train.bed").write_text("c1\t2000\t2640\n")
    window = next(make(tmp_path, squash=kind).split("train").in_order())
    np.testing.assert_allclose(window.target[0, : len(values)].astype("f8"), list(values.values()), rtol=8e-4)


def test_any_number_of_workers_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sources(tmp_path)
    monkeypatch.setattr("borzoi_rt.dataset.make._WINDOWS_PER_SHARD", 1)
    one, two = (make(tmp_path, *all_splits(tmp_path), "--workers", n, out=f"data{n}") for n in (1, 2))
    files = sorted(path.relative_to(one.path) for path in one.path.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(two.path) for path in two.path.rglob("*") if path.is_file())
    assert sum(path.suffix == ".arrow" for path in files) == 7
    assert all((one.path / path).read_bytes() == (two.path / path).read_bytes() for path in files)


def test_an_interrupted_call_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sources(tmp_path)
    monkeypatch.setattr("borzoi_rt.dataset.make._WINDOWS_PER_SHARD", 1)
    whole = make(tmp_path, *all_splits(tmp_path), out="whole")
    from borzoi_rt.dataset import make as module

    made: list[str] = []
    make_shard = module._make_shard

    def stop_at_third(plan: object, staging: Path, split: str, number: int) -> None:
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(f"{split}-{number}")
        make_shard(plan, staging, split, number)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_make_shard", stop_at_third)
    with pytest.raises(BaseException):  # noqa: B017, PT011  click turns an interrupt into Abort
        make(tmp_path, *all_splits(tmp_path))
    assert not (tmp_path / "data").exists()
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "data.partial" / "shards").iterdir()}
    assert len(kept) == 3
    monkeypatch.setattr(module, "_make_shard", make_shard)
    with pytest.raises(BorzoiError, match="left by a call with other files or options"):
        make(tmp_path, *all_splits(tmp_path), "--interpolate")
    again = make(tmp_path, *all_splits(tmp_path))
    for path in (again.path / "shards").iterdir():
        assert path.read_bytes() == (whole.path / "shards" / path.name).read_bytes()
        assert kept.get(path.name, path.stat().st_mtime_ns) == path.stat().st_mtime_ns
    assert not (tmp_path / "data.partial").exists()


class Killed(BaseException):
    """Where a process was killed."""


@pytest.mark.parametrize(
    "where",
    ["before the plan", "in the plan", "before the tables", "before the rename", "after the rename"],
)
def test_a_call_that_is_killed_anywhere_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The same bytes as without, and nothing is left beside them."""
    write_sources(tmp_path)
    whole = make(tmp_path, *all_splits(tmp_path), out="whole")

    def killed(original: object, wanted: str) -> object:
        def call(path: Path, *values: object, **options: object) -> object:
            if path.name == wanted:
                raise Killed
            return original(path, *values, **options)  # type: ignore[operator]

        return call

    with monkeypatch.context() as patched:
        if where == "in the plan":
            patched.setattr(Path, "replace", killed(Path.replace, "plan.json.partial"))
        elif where == "after the rename":
            patched.setattr(Path, "unlink", killed(Path.unlink, "plan.json"))
        elif where == "before the rename":
            patched.setattr(Path, "rename", killed(Path.rename, "data.partial"))
        else:
            patched.setattr(
                Path,
                "write_text",
                killed(Path.write_text, "plan.json.partial" if where == "before the plan" else "sequences.bed"),
            )
        with pytest.raises(Killed):
            make(tmp_path, *all_splits(tmp_path))
    if where == "after the rename":
        again = open_data(tmp_path / "data")  # finished work is never refused
        (tmp_path / "data" / "plan.json").unlink()
    else:
        again = make(tmp_path, *all_splits(tmp_path))
    files = sorted(path.relative_to(whole.path) for path in whole.path.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again.path) for path in again.path.rglob("*") if path.is_file())
    assert all((again.path / path).read_bytes() == (whole.path / path).read_bytes() for path in files)
    assert not (tmp_path / "data.partial").exists()


@pytest.mark.parametrize("content", [b"", b"ARROW1\0\0", None], ids=["empty", "cut", "of other data"])
def test_a_shard_that_is_not_whole_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    write_sources(tmp_path)
    monkeypatch.setattr("borzoi_rt.dataset.make._WINDOWS_PER_SHARD", 2)
    whole = make(tmp_path, *all_splits(tmp_path), out="whole")
    with monkeypatch.context() as patched:
        patched.setattr("borzoi_rt.dataset.make._finish", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            make(tmp_path, *all_splits(tmp_path))
    first, *_, last = sorted((tmp_path / "data.partial" / "shards").iterdir())
    last.write_bytes(first.read_bytes()[:-40] if content is None else content)
    again = make(tmp_path, *all_splits(tmp_path))
    for path in (again.path / "shards").iterdir():
        assert path.read_bytes() == (whole.path / "shards" / path.name).read_bytes()
