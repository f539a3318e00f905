"""Files that this package wrote, given back damaged: they are read, or refused in one line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import worlds
from hypothesis import given
from hypothesis import strategies as st

from attacks.fuzzing import fuzz, read_or_refuse, spoilt
from borzoi_rt.demo.packaged import packaged_bundle
from borzoi_rt.errors import BorzoiError, FormatError, InputError
from borzoi_rt.explain.attr_file import read_attributions, read_projected
from borzoi_rt.explain.rating import read_ratings
from borzoi_rt.genome.annotation import read_genes
from borzoi_rt.inside.tables import read_table
from borzoi_rt.model import open_model
from borzoi_rt.reading import read_json
from borzoi_rt.tables.dft_reading import is_curves, is_profiles, read_curves

KEY: dict[str, Any] = {
    "format": "borzoi-rt-rating-key",
    "version": 1,
    "page": "p",
    "question": "?",
    "files": [{"file": "a.h5", "title": "a"}, {"file": "b.h5", "title": "b"}],
    "pairs": [{"id": "p1", "row": "r", "left": "b.h5", "right": "a.h5"}],
}
CHOICES: dict[str, Any] = {
    "format": "borzoi-rt-ratings",
    "version": 1,
    "page": "p",
    "rater": "ada",
    "choices": {"p1": "left"},
    "seconds": {"p1": 3.5},
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Small files as they are written: attributions, embeddings."""
    from borzoi_rt.cli import run

    folder = tmp_path_factory.mktemp("written")
    worlds.write_fasta(folder / "toy.fa", {"chr1": worlds.random_dna(20_000, seed=2)})
    shared = ["--region", "chr1:9001-9010", "--bundle", str(packaged_bundle("bundle").path)]
    shared += ["--fasta", str(folder / "toy.fa")]
    with pytest.MonkeyPatch.context() as patch:
        for words, name in ((["explain", "--method", "saliency"], "attr.h5"), (["embed"], "embedded.h5")):
            patch.setattr("sys.argv", ["borzoi-rt", *words, *shared, "--out", str(folder / name)])
            run()
    return {name: (folder / name).read_bytes() for name in ("attr.h5", "embedded.h5")}


@fuzz
@given(data=st.data())
def test_spoilt_attributions(tmp_path: Path, written: dict[str, bytes], data: st.DataObject) -> None:
    (tmp_path / "attr.h5").write_bytes(data.draw(spoilt((written["attr.h5"],))))
    read_or_refuse(read_attributions, tmp_path / "attr.h5")
    read_or_refuse(read_projected, tmp_path / "attr.h5")
    read_or_refuse(is_curves, tmp_path / "attr.h5")


@fuzz
@given(data=st.data())
def test_spoilt_embeddings(tmp_path: Path, written: dict[str, bytes], data: st.DataObject) -> None:
    (tmp_path / "e.h5").write_bytes(data.draw(spoilt((written["embedded.h5"],))))
    read_or_refuse(lambda path: read_table(path, "embeddings"), tmp_path / "e.h5")


@fuzz
@given(key=spoilt((json.dumps(KEY).encode(),)), choices=spoilt((json.dumps(CHOICES).encode(),)), which=st.booleans())
def test_spoilt_ratings(tmp_path: Path, key: bytes, choices: bytes, which: bool) -> None:
    (tmp_path / "key.json").write_bytes(key if which else json.dumps(KEY).encode())
    (tmp_path / "ada.json").write_bytes(json.dumps(CHOICES).encode() if which else choices)
    read_or_refuse(lambda path: read_ratings([tmp_path / "ada.json"], path), tmp_path / "key.json")


ABOUT: dict[str, Any] = {
    "nothing": {},
    "no object": [],
    "no method": {"target": {"target": "SUM"}},
    "a target that is text": {"target": "SUM", "method": "ism"},
    "a target without a name": {"target": {}, "method": "ism"},
    "models without names": {"target": {"target": "SUM"}, "method": "ism", "models": [{}]},
    "a genome that is text": {"target": {"target": "SUM"}, "method": "ism", "genome": "hg38"},
}


@pytest.mark.parametrize("title", ABOUT)
def test_attributions_that_say_something_else(tmp_path: Path, written: dict[str, bytes], title: str) -> None:
    path = tmp_path / "attr.h5"
    path.write_bytes(written["attr.h5"])
    with h5py.File(path, "a") as file:
        file.attrs["about"] = json.dumps(ABOUT[title])
    with pytest.raises(FormatError, match=r"attr\.h5: cannot be read as attributions \("):
        read_attributions(path)


def test_data_sets_of_other_lengths(tmp_path: Path, written: dict[str, bytes]) -> None:
    path = tmp_path / "attr.h5"
    path.write_bytes(written["attr.h5"])
    with h5py.File(path, "a") as file:
        del file["start"]
        file["start"] = np.zeros(3, dtype=np.int64)
    with pytest.raises(FormatError, match="different numbers of rows"):
        read_attributions(path)


READERS: dict[str, Any] = {
    "attributions": read_attributions,
    "embeddings": lambda path: read_table(path, "embeddings"),
    "curves": read_curves,
    "ratings": lambda path: read_ratings([path], path),
    "JSON": read_json,
}


@pytest.mark.parametrize("title", READERS)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "text", "empty"])
def test_what_is_no_such_file(tmp_path: Path, title: str, kind: str) -> None:
    """A pipe has no writer, and the device no end."""
    path = tmp_path / "given"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_text("text" if kind == "text" else "")
    assert not is_profiles(path)
    with pytest.raises(ValueError) as found:  # noqa: PT011 -- every one of ours is; of JSON it may be the reader's
        READERS[title](path)
    assert title == "JSON" or isinstance(found.value, BorzoiError)
    assert title == "JSON" or "given" in str(found.value)


def test_json_without_end(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 200_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(tmp_path / "deep.json")
    with pytest.raises(FormatError, match="at most 100 are allowed"):
        read_json(tmp_path / "deep.json", 100)


@pytest.mark.parametrize(
    "kind", [b"A" * 5000, b"\x1b[2J", b"\xff\xfe", "\u2028".encode()], ids=["long", "escape", "raw", "line"]
)
def test_kinds_of_features_are_shown_short_and_printable(tmp_path: Path, kind: bytes) -> None:
    """A message with five thousand letters, or one that clears the terminal, came out of a GTF."""
    (tmp_path / "genes.gtf").write_bytes(b"chr1\tx\t" + kind + b'\t1\t5\t.\t+\t.\tgene_id "G";\n')
    with pytest.raises(FormatError) as found:
        read_genes(tmp_path / "genes.gtf")
    assert str(found.value).isprintable()
    assert len(str(found.value)) < 400


def test_every_error_is_a_line_of_bounded_length(tmp_path: Path) -> None:
    long = str(InputError(f"contig {'x' * 100_000} is unknown; choose another"))
    assert len(long) < 2100
    assert long.startswith("contig xxx")
    assert long.endswith("is unknown; choose another")
    assert str(FormatError("one\n  two\r\nthree \x1b[2J \udcff \u00e9")) == "one two three \\x1b[2J \\udcff \u00e9"
    worlds.write_fasta(tmp_path / "toy.fa", {"chr1": worlds.random_dna(20_000, seed=2)})
    with open_model(packaged_bundle("bundle"), fasta=tmp_path / "toy.fa", threads=1) as model:
        for wrong in ("c" * 100_000 + ":1-5", "\n".join("chr1:1-5" for _ in range(500))):
            with pytest.raises(BorzoiError) as found:
                model.predict(wrong)
            assert len(str(found.value)) < 2100
            assert str(found.value).isprintable()
