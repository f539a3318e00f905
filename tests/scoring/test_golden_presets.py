"""Whole presets on the trained test model against runs of the reference programs: sums over variants, genes and tracks.

The model is of squash kind new, so that ``-u`` (kind old) is asked for by hand; the arithmetic is what is compared. The
numbers are sums of sizes of the reference's float16 files (specification, 14.1 to 14.3): 2e-3 is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.cli._scoring import read_options
from borzoi_rt.genome.gene_index import open_genes
from borzoi_rt.genome.genes import Genes
from borzoi_rt.model import Model, open_model
from borzoi_rt.scoring.presets import PRESETS, check_preset

Sums = Callable[..., dict[str, float]]


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "data" / "golden_genes"


@pytest.fixture(scope="module")
def genes(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Genes:
    return open_genes(folder / "genes.gtf", cache=tmp_path_factory.mktemp("index"))


@pytest.fixture(scope="module")
def sites(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Genes:
    path = tmp_path_factory.mktemp("sites")
    lines = ["chrom\tposition_hg38\tstrand\tgene\tsite_num\tsite_type"]
    for gene, strand, positions in (("GPLUS", "+", (71000, 71700, 72340)), ("GMINUS", "-", (85900, 85020))):
        lines += [f"chr1\t{at}\t{strand}\t{gene}\t{number}\t3' most exon" for number, at in enumerate(positions, 1)]
    (path / "pas.tsv").write_text("\n".join(lines) + "\n")
    return open_genes(folder / "genes.gtf", pas=path / "pas.tsv", cache=path / "index")


@pytest.fixture(scope="module")
def rna(folder: Path) -> str:
    """The tracks of the reference's runs over genes."""
    with h5py.File(folder / "sed_sed.h5") as file:
        return ",".join(name.decode() for name in file["target_ids"][:])


@pytest.fixture(scope="module")
def model(tiny_bundle: Bundle, shared: Path) -> Iterator[Model]:
    with open_model(tiny_bundle, fasta=shared / "data" / "hg38_1m" / "hg38_1m.fa.gz") as opened:
        yield opened


@pytest.fixture(scope="module")
def sums(model: Model, shared: Path) -> Sums:
    """Score eqtl.vcf by a preset, as the command line reads it, and add up the sizes of each score."""

    def run(preset: str, genes: Genes | None = None, **choices: Any) -> dict[str, float]:
        of_prediction = {"rc": choices.pop("rc")} if "rc" in choices else {}
        of_sites = {name: choices.pop(name) for name in ("site_pseudo", "site_min_coverage") if name in choices}
        options = read_options(preset=preset, stats=None, no_merge=False, **choices)
        assert options.stats == PRESETS[preset].stats
        options = replace(options, prediction=replace(options.prediction, **of_prediction), **of_sites)
        found = model.score(shared / "data" / "variants" / "eqtl.vcf", options=options, genes=genes)
        totals: dict[str, float] = {}
        for item in found:
            for name, values in item.scores.items():
                stat = name.partition("|")[0]
                totals[stat] = totals.get(stat, 0.0) + float(np.abs(values.array).sum(dtype=np.float64))
        return totals

    return run


def close(found: dict[str, float], wanted: dict[str, float], rtol: float = 2e-3) -> None:
    assert list(found) == list(wanted)
    for name, total in wanted.items():
        assert found[name] == pytest.approx(total, rel=rtol), name


def test_windows_of_hound(sums: Sums) -> None:
    close(sums("hound-default"), {"logSUM": 94.5859})


def test_windows_of_sad(sums: Sums) -> None:
    wanted = {"SAD": 11064.4, "logSAD": 41.9288, "D2": 1871.32, "logD2": 5.94615, "SADlog": 1.01248}
    for preset, names in (
        ("paper-eqtl-sad", ("SAD", "logSAD", "D2", "logD2")),
        ("paper-satmut-sad", ("SAD", "logSAD", "SADlog")),
    ):
        close(sums(preset, squash="old"), {name: wanted[name] for name in names})


def test_exons_of_sed(sums: Sums, genes: Genes, rna: str) -> None:
    wanted = {"SED@exons": 0.193989, "logSED@exons": 0.177234, "D2@exons": 0.046104, "logD2@exons": 0.064038}
    eqtl = ("SED@exons", "logSED@exons")
    close(sums("eqtl-sed", genes, squash="old", tracks=rna), {name: wanted[name] for name in eqtl})
    close(sums("paper-satmut-sed", genes, squash="old", tracks=rna), wanted)


def test_spans_of_sed(sums: Sums, genes: Genes, rna: str) -> None:
    """The run of the reference was without reverse complement; the preset has it, and that changes the sum."""
    close(sums("sqtl", genes, tracks=rna, rc=False), {"nDi@span": 0.160730})
    assert sums("sqtl", genes, tracks=rna)["nDi@span"] != pytest.approx(0.160730, rel=1e-2)


def test_polyadenylation(sums: Sums, sites: Genes, rna: str) -> None:
    """The file holds float16 below its smallest normal number: 250 values with steps of 6e-8."""
    for preset in ("paqtl", "ipaqtl"):
        close(sums(preset, sites, tracks=rna, squash="new"), {"COVR@pas": 0.0037180}, rtol=4e-3)
        low = {"site_pseudo": 1.0, "site_min_coverage": 1.0}
        close(sums(preset, sites, tracks=rna, squash="old", **low), {"COVR@pas": 0.0421827})


def test_what_a_preset_says_of_this_model(tiny_bundle: Bundle) -> None:
    notes = {name: check_preset(name, tiny_bundle.info, "old") for name in ("eqtl-sed", "paper-satmut-sed", "paqtl")}
    assert [note[0].split("output of ")[1].split()[0] for note in notes.values()] == ["6144", "14336", "16352"]
