"""Experiments from the command line: every line of the table from windows made by hand."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import worlds
from command_line import check_error
from numpy.testing import assert_allclose, assert_array_equal

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import InputError
from borzoi_rt.explain.experiment_run import (
    COLUMNS,
    EXPERIMENTS,
    AblateOptions,
    MarginalizeOptions,
    SpaceOptions,
    motifs_from,
    read_experiment,
)
from borzoi_rt.explain.explainer import Explainer, ExplainOptions
from borzoi_rt.explain.rows import region_rows
from borzoi_rt.explain.shuffles import shuffled
from borzoi_rt.explain.target import TargetSpec
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.intervals import read_bed
from borzoi_rt.sequence import encode

TEXT = worlds.random_dna(6000, seed=41)
SPEC = TargetSpec.parse("log SUM", tracks="cage")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("experiments")
    bed = folder / "two.bed"
    bed.write_text("chr1\t3000\t3041\tone\nchr1\t3100\t3141\ttwo\n")
    return SimpleNamespace(folder=folder, bed=bed, fasta=worlds.write_fasta(folder / "toy.fa", {"chr1": TEXT}))


@pytest.fixture(scope="module")
def world(toy_bundle: Bundle, desk: SimpleNamespace) -> Iterator[SimpleNamespace]:
    """Rows of the BED file, their windows, and a target of any window."""
    with Fasta(desk.fasta) as genome, Explainer(toy_bundle, genome) as explainer:
        rows = region_rows(read_bed(desk.bed), genome, toy_bundle.geometry)
        options = ExplainOptions(method="ism", rc=True)

        def value(row: int, window: np.ndarray) -> float:
            return float(explainer.objective(rows[row], SPEC, options).values(window[None])[0])

        windows = [row.window(genome, toy_bundle.geometry) for row in rows]
        yield SimpleNamespace(rows=rows, windows=windows, value=value)


def run(call, desk, bundle: Bundle, *words: object) -> tuple[list[dict[str, str]], dict]:
    out = desk.folder / "out.tsv"
    given = ["--bed", desk.bed, "--target", "log SUM", "--tracks", "cage", "--rc"]
    ended = call("explain", *given, "--bundle", bundle.path, "--fasta", desk.fasta, "--out", out, *words)
    assert ended[0] == 0, ended
    lines = list(csv.DictReader(out.read_text().splitlines(), delimiter="\t"))
    assert tuple(lines[0]) == COLUMNS
    return lines, json.loads(Path(f"{out}.meta.json").read_text())


def test_marginalize(call, desk, toy_bundle, world):
    words = ["--method", "marginalize", "--motif", "gattaca", "--motif", "ACNGT", "--backgrounds", 2, "--seed", 4]
    lines, meta = run(call, desk, toy_bundle, *words)
    assert [(line["row"], line["motif"], line["sample"]) for line in lines] == [
        (row, motif, sample) for row in "01" for motif in ("GATTACA", "ACNGT") for sample in "01"
    ]
    for line in lines:
        row = int(line["row"])
        low, high = world.rows[row].columns
        before = shuffled(world.windows[row], low, high, np.random.default_rng([4, int(line["sample"])]))
        after, motif = before.copy(), line["sequence"]
        first = low + 41 // 2 - len(motif) // 2
        for column, letter in enumerate(motif):
            if letter != "N":
                after[:, first + column] = encode(letter)[:, 0]
        assert_allclose(float(line["before"]), world.value(row, before), rtol=1e-12)
        assert_allclose(float(line["after"]), world.value(row, after), rtol=1e-12)
        assert_allclose(float(line["change"]), float(line["after"]) - float(line["before"]), rtol=1e-12, atol=1e-15)
        assert (line["name"], line["chrom"]) == (("one", "two")[row], "chr1")
        assert int(line["start"]) - int(line["window_start"]) == low
    assert meta["about"]["method"] == "marginalize"
    assert meta["about"]["options"] == {
        "motif": [["GATTACA", "GATTACA"], ["ACNGT", "ACNGT"]],
        "backgrounds": 2,
        "bin_bp": 1024,
        "seed": 4,
    }
    assert meta["about"]["target"]["target"] == "log SUM"
    # Of each row two backgrounds, asked once, and two motifs in each; on both strands.
    assert meta["about"]["passes"] == 2 * 2 * (2 + 4)
    changes = [float(line["change"]) for line in lines[:2]]
    first = meta["summary"][0]
    assert (first["row"], first["motif"], first["samples"]) == (0, "GATTACA", 2)
    assert_allclose(first["change"], np.mean(changes), rtol=1e-12)
    assert_allclose(first["change_se"], abs(changes[0] - changes[1]) / 2, rtol=1e-9)  # sd over root 2, of two values


def test_a_motif_into_the_bases_as_they_are(call, desk, toy_bundle, world):
    here = TEXT[3020 - 3 : 3020 + 4]  # 7 bases from 3000 + 41 // 2 - 7 // 2 on
    lines, _ = run(call, desk, toy_bundle, "--method", "marginalize", "--motif", here, "--backgrounds", 0)
    assert [line["sample"] for line in lines] == ["0", "0"]
    assert lines[0]["change"] == "0.0"
    assert lines[1]["change"] != "0.0"
    assert_allclose(float(lines[0]["before"]), world.value(0, world.windows[0]), rtol=1e-12)


def test_space(call, desk, toy_bundle, world):
    words = ["--method", "space", "--motif", "GATTACA", "--motif", "ACGT", "--spacing", "0,6", "--backgrounds", 1]
    lines, _ = run(call, desk, toy_bundle, *words)
    assert [(line["row"], line["spacing"]) for line in lines] == [("0", "0"), ("0", "6"), ("1", "0"), ("1", "6")]
    for line in lines:
        row, gap = int(line["row"]), int(line["spacing"])
        low, high = world.rows[row].columns
        after = shuffled(world.windows[row], low, high, np.random.default_rng([0, 0]))
        first = low + 41 // 2 - (11 + gap) // 2
        after[:, first : first + 7] = encode("GATTACA")
        after[:, first + 7 + gap : first + 11 + gap] = encode("ACGT")
        assert_allclose(float(line["after"]), world.value(row, after), rtol=1e-12)


def test_ablate(call, desk, toy_bundle, world):
    lines, meta = run(call, desk, toy_bundle, "--method", "ablate", "--samples", 3, "--seed", 2)
    assert len(lines) == 6
    for line in lines:
        row = int(line["row"])
        after = shuffled(world.windows[row], *world.rows[row].columns, np.random.default_rng([2, int(line["sample"])]))
        assert_allclose(float(line["before"]), world.value(row, world.windows[row]), rtol=1e-12)
        assert_allclose(float(line["after"]), world.value(row, after), rtol=1e-12)
    assert [part["samples"] for part in meta["summary"]] == [3, 3]


def test_motifs_of_a_file_are_their_likeliest_sequences(tmp_path):
    path = tmp_path / "m.meme"
    rows = ["0.7 0.1 0.1 0.1", "0.2 0.2 0.2 0.4", "0.1 0.6 0.2 0.1"]
    path.write_text(
        "MEME version 4\n\nALPHABET= ACGT\n\nMOTIF M1 NAME\n"
        "letter-probability matrix: alength= 4 w= 3 nsites= 20 E= 0\n" + "\n".join(rows) + "\n"
    )
    assert motifs_from(["acg", f"@{path}"]) == (("ACG", "ACG"), ("M1_NAME", "ATC"))


def test_a_motif_that_comes_twice_counts_once(call, desk, toy_bundle):
    words = ["explain", "--bundle", toy_bundle.path, "--fasta", desk.fasta, "--bed", desk.bed, "--target", "SUM"]
    words += ["--method", "marginalize", "--motif", "ACG", "--motif", "acg", "--backgrounds", 2]
    out = desk.folder / "twice.tsv"
    assert call(*words, "--out", out)[0] == 0
    summary = json.loads(out.with_name("twice.tsv.meta.json").read_text())["summary"]
    assert [line["samples"] for line in summary] == [2] * len(summary)


def test_motifs_and_names_of_tracks_are_not_written_over(call, desk, toy_bundle):
    given = ["explain", "--bundle", toy_bundle.path, "--fasta", desk.fasta, "--bed", desk.bed, "--target", "SUM"]
    motifs, tracks = desk.folder / "motifs.tsv", desk.folder / "tracks.tsv"
    motifs.write_text(">M1\nA [ 9 0 ]\nC [ 0 0 ]\nG [ 0 0 ]\nT [ 0 9 ]\n")
    tracks.write_text(f"{toy_bundle.tracks.identifier[0]}\n")
    for words, path in (
        (["--method", "marginalize", "--motif", f"@{motifs}"], motifs),
        (["--method", "ablate", "--samples", 1, "--tracks", f"@{tracks}"], tracks),
        (["--method", "ablate", "--samples", 1, "--tracks", f"@{tracks}", "--against", f"@{motifs}"], motifs),
    ):
        letters = path.read_bytes()
        check_error(call(*given, *words, "--out", path), f"{path.name}: is an input, which is never written over")
        assert path.read_bytes() == letters


def test_what_is_no_experiment_is_refused(call, desk, toy_bundle):
    motif = (("A", "A"),)
    for make, message in (
        (lambda: MarginalizeOptions(), "no motif to put in"),
        (lambda: MarginalizeOptions(motif=motif, backgrounds=-1), "backgrounds is -1"),
        (lambda: SpaceOptions(motif=motif, spacing=(1,)), "there is A alone"),
        (lambda: SpaceOptions(motif=motif * 2), "spacing is"),
        (lambda: SpaceOptions(motif=motif * 2, spacing=(3, -1)), "spacing is"),
        (lambda: SpaceOptions(motif=motif * 2, spacing=(3, 3)), "give each number of bases once"),
        (lambda: AblateOptions(samples=0), "samples is 0"),
        (lambda: read_experiment("ablate", {"motif": motif}), "method 'ablate' has no option 'motif'"),
    ):
        with pytest.raises(InputError, match=message):
            make()
    given = ["--bundle", toy_bundle.path, "--fasta", desk.fasta, "--bed", desk.bed, "--target", "SUM"]
    for words, message in (
        (["--method", "ablate", "--out", desk.folder / "wrong.h5"], "experiments are written as .tsv"),
        (["--method", "ablate", "--plot", "p.png", "--out", desk.folder / "wrong.tsv"], "leave --plot out"),
        (["--method", "ablate", "--fold", "b", "--out", desk.folder / "wrong.tsv"], "leave --fold out"),
        (["--method", "ism", "--motif", "ACG", "--out", desk.folder / "wrong.h5"], "has no option 'motif'"),
        (
            ["--method", "marginalize", "--motif", "ACRG", "--out", desk.folder / "wrong.tsv"],
            "'ACRG' is not made",
        ),
        (
            ["--method", "marginalize", "--motif", "A" * 42, "--out", desk.folder / "wrong.tsv"],
            "there is room for 41",
        ),
    ):
        check_error(call("explain", *given, *words), message)
    assert not [path for path in desk.folder.rglob("*") if "wrong" in path.name]
    assert_array_equal(sorted(EXPERIMENTS), ["ablate", "marginalize", "space"])
