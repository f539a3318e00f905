"""`ism` and `explain --method ism`: one number of explain is the mean over tracks of the same score of `ism`."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import worlds
from command_line import caller
from numpy.testing import assert_allclose

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.explain.attr_file import read_attributions

TEXT = worlds.random_dna(9000, seed=51)
TEXT = TEXT[:4404] + "N" + TEXT[4405:]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    fasta = worlds.write_fasta(tmp_path / "g.fa", {"chr1": TEXT})
    (tmp_path / "in.bed").write_text("chr1\t4400\t4406\tone\nchr1\t4450\t4456\ttwo\t0\t-\n")
    (tmp_path / "genes.gtf").write_text(
        'chr1\ttoy\texon\t4301\t4350\t.\t-\t.\tgene_id "G1"; transcript_id "T1"; gene_name "ACTB";\n'
        'chr1\ttoy\texon\t4501\t4580\t.\t-\t.\tgene_id "G1"; transcript_id "T1"; gene_name "ACTB";\n'
    )
    return {"fasta": fasta, "bed": tmp_path / "in.bed", "genes": tmp_path / "genes.gtf"}


@pytest.mark.parametrize(
    ("score", "more"), [("logSED", ()), ("SUM@span:300", ("--rc",)), ("LFC@exons", ("--gene", "ACTB"))]
)
def test_the_two_commands_give_the_same_numbers(
    files, gradient_bundle: Bundle, tmp_path, monkeypatch, capsys, score, more
):
    call = caller(monkeypatch, capsys)
    more = [*more, "--genes", files["genes"]] if "--gene" in more else [*more]
    shared = [
        "--bundle",
        gradient_bundle.path,
        "--fasta",
        files["fasta"],
        "--bed",
        files["bed"],
        "--tracks",
        "dnase,chip",
    ]
    scores, found = tmp_path / "ism.h5", tmp_path / "attr.h5"
    code, _, err = call("ism", *shared, *more, "--stats", score, "--out", scores)
    assert code == 0, err
    code, _, err = call("explain", *shared, *more, "--method", "ism", "--target", score, "--out", found)
    assert code == 0, err
    held = read_attributions(found).arrays
    with h5py.File(scores) as file:
        want = file[score][:].mean(axis=-1, dtype=np.float64).transpose(0, 2, 1)
        assert file["window_start"][:].tolist() == held["window_start"].tolist()
        known = np.isfinite(want)
        assert (~known).sum() == 4, "an unknown base has no score, and effects of all four"
        assert file["sequence"].asstr()[1] == "".join("ACGTN"[code] for code in held["sequence"][1])
    size = np.abs(want[known]).max()
    assert size > 0
    assert_allclose(held["effects"][known], want[known], atol=2e-5 * size + 2e-7)

    # Every convention follows from the effects that are kept.
    effects, onehot = held["effects"].astype(np.float64), held["sequence"][:, None] == np.arange(4)[:, None]
    tolerance = 1e-6 * np.abs(effects).max()
    assert_allclose(held["hypothetical"], effects - effects.mean(axis=1, keepdims=True), atol=tolerance)
    code, _, err = call(
        "explain", *shared, *more, "--method", "ism", "--convention", "mean3", "--target", score, "--out", found
    )
    assert code == 0, err
    three = read_attributions(found).arrays["hypothetical"]
    count = np.where(onehot.any(axis=1, keepdims=True), 3.0, 4.0)
    assert_allclose(three, effects - effects.sum(axis=1, keepdims=True) / count, atol=tolerance)
