"""Evaluation of a promoter run: figures by NumPy's own correlation, site by site, from the files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from borzoi_export.models.promoter import build
from borzoi_export.promoter.data import SMOOTHING_BP, PromoterData, load_data, read_tss_table
from borzoi_export.promoter.evaluate import evaluate, pearson
from borzoi_export.promoter.inputs import inputs_of
from borzoi_export.promoter.options import TrainOptions
from borzoi_export.promoter.runs import load_run
from borzoi_export.promoter.train import train
from borzoi_export.training.session import RunOptions
from command_line import Cli, check_error
from promoter_toys import small_config

SIZES = {"sequence_length_bp": 400, "crop_bp": 80, "tss_bp": 240}


@pytest.fixture(scope="module", params=[1, 3])
def run(request, data: PromoterData, tmp_path_factory) -> Path:
    """A few steps on c1, validated on c2; c3 is left."""
    torch.manual_seed(0)
    model = build(small_config(request.param, **SIZES, effect_width=81, strides=(5, 2), channels=4))
    rest, _ = data.split(["c3"])
    out = tmp_path_factory.mktemp("runs") / f"stage{request.param}"
    options = TrainOptions(steps=4, batch=8, rate=3e-3, validate_every=4)
    train(model, *rest.split(["c2"]), out, options=options, run=RunOptions(accelerator="cpu", threads=1))
    return out


def words(files: Path, run: Path, out: Path, chroms: str, *more: str) -> list[object]:
    named = {"fasta": "genome.fa", "plus": "plus.bw", "minus": "minus.bw", "tss": "tss.bed"}
    paths = [part for name, file in named.items() for part in (f"--{name}", files / file)]
    return ["promoter", "evaluate", run, *paths, "--chroms", chroms, "--out", out, *more]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def test_tables_are_the_correlations(files: Path, run: Path, tmp_path: Path, cli: Cli) -> None:
    out, each = tmp_path / "strands.tsv", tmp_path / "sites.tsv"
    code, said, err = cli(*words(files, run, out, "c3", "--sites", str(each), "--assay", "CAGE"))
    assert (code, said) == (0, ""), err
    model, _ = load_run(run)
    smoothing = SMOOTHING_BP if model.config.stage == 3 else 1
    sites = [site for site in read_tss_table(files / "tss.bed") if site.chrom == "c3"]
    paths = {"fasta": files / "genome.fa", "plus": files / "plus.bw", "minus": files / "minus.bw"}
    data = load_data(model.config, sites, **paths, smoothing_bp=smoothing)
    with torch.inference_mode():
        p = model(inputs_of(torch.from_numpy(data.codes))).numpy().astype(float)
    t = data.target.astype(float)
    per_site = rows(each)
    assert [row["chrom"] for row in per_site] == ["c3"] * len(data)
    for row, one, other, site in zip(per_site, p, t, data.sites, strict=True):
        assert int(row["pos"]) == site.pos0 + 1
        for name, a, b in (("sense", one[0], other[0]), ("antisense", one[1], other[1]), ("both", one, other)):
            if np.ptp(b):
                want = np.corrcoef(a.ravel(), b.ravel())[0, 1]
                assert float(row[f"pearson_{name}"]) == pytest.approx(want, abs=2e-5)
            else:
                assert row[f"pearson_{name}"] == ""
        assert float(row["observed_sense"]) == pytest.approx(other[0].sum(), rel=1e-4)
    for part, row in enumerate(rows(out)):
        assert row["assay"] == "CAGE"
        assert row["strand"] == ("sense", "antisense", "both")[part]
        column = [float(item[f"pearson_{row['strand']}"]) for item in per_site if item[f"pearson_{row['strand']}"]]
        assert int(row["correlated"]) == len(column)
        assert float(row["mean_pearson"]) == pytest.approx(np.mean(column), abs=1e-4)
        chosen = slice(part, part + 1) if part < 2 else slice(0, 2)
        want = np.corrcoef(p[:, chosen].ravel(), t[:, chosen].ravel())[0, 1]
        assert float(row["bin_pearson"]) == pytest.approx(want, abs=2e-5)
        sums = np.corrcoef(p[:, chosen].sum(axis=(1, 2)), t[:, chosen].sum(axis=(1, 2)))[0, 1]
        assert float(row["sum_pearson"]) == pytest.approx(sums, abs=2e-5)
    assert f"{len(data)} sites, CAGE: mean Pearson of sites sense" in err


def test_the_validation_of_the_run_is_reproduced(data: PromoterData, run: Path) -> None:
    model, about = load_run(run)
    _, valid = data.split(["c2"])
    result = evaluate(model, valid)
    assert np.nanmean(result.pearson[:, 2]) == pytest.approx(about["validation"]["pearson"], abs=1e-5)


def test_what_was_trained_on_is_not_held_out(files: Path, run: Path, tmp_path: Path, cli: Cli) -> None:
    check_error(cli(*words(files, run, tmp_path / "x", "c1,c3")), "c1: the run was trained on it")
    check_error(cli(*words(files, run, tmp_path / "x", "c9")), "lies on c9; tss.bed has c1, c2, c3")
    assert not (tmp_path / "x").exists()
    assert cli(*words(files, run, tmp_path / "x", "c1", "--seen"))[0] == 0


def test_a_constant_has_no_correlation() -> None:
    assert np.isnan(pearson(np.ones(4), np.arange(4.0)))
    assert pearson(np.arange(4.0), -np.arange(4.0)) == pytest.approx(-1)
