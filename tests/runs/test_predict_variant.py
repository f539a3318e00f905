"""Coverage around a variant: files of REF, ALT and difference, and where their bins lie in the genome."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pybigtools
import pytest
import worlds
from numpy.testing import assert_allclose, assert_array_equal

from borzoi_rt import model as facade
from borzoi_rt.backends.array import ArraySession
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.engine.options import PredictionOptions
from borzoi_rt.errors import InputError, ReferenceMismatchError
from borzoi_rt.model import opened
from borzoi_rt.report import style
from borzoi_rt.runs import predict_variant as module
from borzoi_rt.runs.predict import CoverageOptions
from borzoi_rt.runs.predict_variant import predict_variant

TEXT = worlds.random_dna(6000, seed=12)
POS = 3000
NAMES = ("cage+", "cage-", "rna-", "rna+", "dnase", "chip")


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    return worlds.write_fasta(tmp_path / "toy.fa", {"chr1": TEXT})


@pytest.fixture
def counting(toy_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """Coverage that can be counted: weights of the bases of each bin, not squashed."""
    bundle = worlds.unsquashed(toy_bundle)
    monkeypatch.setattr(module, "open_session", lambda *_, **__: ArraySession(bundle.geometry, worlds.WEIGHTS))
    return bundle


def read(path: Path) -> list[tuple[int, int, float]]:
    if path.suffix == ".bw":
        return [(start, end, value) for start, end, value in pybigtools.open(str(path)).records("chr1")]
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    assert {row[0] for row in rows} == {"chr1"}
    return [(int(start), int(end), float(value)) for _, start, end, value in rows]


def counted(text: str, start: int, end: int) -> np.ndarray:
    return worlds.WEIGHTS @ np.array([text[start:end].count(base) for base in "ACGT"], dtype=np.float64)


ALLELES = {
    "snv": (1, ""),
    "deletion": (71, ""),
    "short deletion": (4, ""),
    "insertion": (1, "ACGTTGCATT" * 5),
    "complex": (40, "GG"),
}


@pytest.mark.parametrize("form", ["bigwig", "bedgraph"])
@pytest.mark.parametrize("alleles", ALLELES.values(), ids=ALLELES)
def test_bins_hold_the_bases_that_lie_there(
    counting: Bundle, fasta: Path, tmp_path: Path, alleles: tuple[int, str], form: str
) -> None:
    """REF is the coverage of the genome at every interval that is written; ALT is too, away from the variant."""
    ref = TEXT[POS - 1 : POS - 1 + alleles[0]]
    alt = ref[0] + alleles[1] if alleles != (1, "") else "ACGT"[("ACGT".index(ref) + 1) % 4]
    out = tmp_path / "out"
    written = predict_variant(f"chr1:{POS}:{ref}:{alt}", out, bundle=counting, fasta=fasta, form=form)
    suffix = {"bigwig": "bw", "bedgraph": "bedgraph"}[form]
    sides = {
        side: [out / f"{n}_{name}.{side}.{suffix}" for n, name in enumerate(NAMES)] for side in ("ref", "alt", "diff")
    }
    assert {path.name for path in written} == {path.name for paths in sides.values() for path in paths} | {
        "predictions.npz",
        "predictions.json",
    }
    edited = TEXT[: POS - 1] + alt + TEXT[POS - 1 + len(ref) :]
    k, gone = len(alt) - len(ref), max(len(ref) - len(alt), 0)
    for track in range(6):
        ref_rows, alt_rows, difference = (read(sides[side][track]) for side in ("ref", "alt", "diff"))
        assert len(ref_rows) == 32
        covered = {base for start, end, _ in ref_rows for base in range(start, end)}
        assert len(covered) == 1024
        for (start, end, value), (*where, other), (*again, less) in zip(ref_rows, alt_rows, difference, strict=True):
            assert where == again == [start, end]
            assert value == pytest.approx(counted(TEXT, start, end)[track])
            assert less == pytest.approx(other - value, abs=1e-5)
            if end <= POS - 1:
                assert other == value
            elif start >= POS - 1 + len(ref) + max(k, 0) + 32:
                moved = start + k, end + k
                assert other == pytest.approx(counted(edited, *moved)[track])
                assert less == pytest.approx(0)
        first, last = ref_rows[0][0], ref_rows[-1][1]
        assert (first, last - gone) == (POS - 512, POS + 512)
    with np.load(out / "predictions.npz") as archive:
        assert archive["ref"].shape == archive["alt"].shape == (6, 32)
        assert_array_equal(archive["start"], [row[0] for row in ref_rows])
        assert_array_equal(archive["end"], [row[1] for row in ref_rows])
        assert_allclose(archive["ref"][5], [row[2] for row in ref_rows], rtol=1e-6)
    about = json.loads((out / "predictions.json").read_text())
    assert (about["variant"], about["contig"]) == (f"chr1:{POS} {ref}>{alt}", "chr1")
    assert (about["stitch_bin"] is None) == (k == 0)


@pytest.mark.parametrize("alleles", ALLELES.values(), ids=ALLELES)
def test_a_model_gives_both_alleles(
    counting: Bundle, fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alleles: tuple[int, str]
) -> None:
    """The numbers of the files; in the figure every bin lies over the bases that it counts, also behind a deletion."""
    ref = TEXT[POS - 1 : POS - 1 + alleles[0]]
    alt = ref[0] + alleles[1] if alleles != (1, "") else "ACGT"[("ACGT".index(ref) + 1) % 4]
    predict_variant(f"chr1:{POS}:{ref}:{alt}", tmp_path / "out", bundle=counting, fasta=fasta)
    monkeypatch.setattr(opened, "open_session", lambda *_, **__: ArraySession(counting.geometry, worlds.WEIGHTS))
    with facade.open_model(counting, fasta=fasta) as model:
        found = model.predict_variant(f"chr1:{POS}:{ref}:{alt}")
        part = model.predict_variant(f"1:{POS}:{ref}:{alt}", tracks="chip")
    with np.load(tmp_path / "out" / "predictions.npz") as archive:
        for name in ("ref", "alt", "start", "end"):
            assert_array_equal(getattr(found, name), archive[name])
    assert_array_equal(part.ref, found.ref[[5]])
    assert_array_equal(found["chip"], np.stack([found.ref[5], found.alt[5]]))
    sums = found.alt.sum(axis=1, dtype="f8"), found.ref.sum(axis=1, dtype="f8")
    assert_allclose(found.change(), np.log2((sums[0] + 1) / (sums[1] + 1)))
    table = found.to_pandas()
    assert list(table) == ["chrom", "start", "end", "track_id", "ref", "alt", "difference"]
    assert_allclose(table["difference"], table["alt"] - table["ref"], atol=1e-5)
    assert "log2 change" in found._repr_html_()
    drawn: list[Any] = []
    monkeypatch.setattr(style, "finish", lambda figure, path, title: drawn.append((figure, title)))
    assert part.plot("v.png", width_bp=9999) == ["chip"]
    ((figure, title),) = drawn
    assert title == (f"1:{POS} {ref}>{alt}" if len(ref + alt) < 13 else title)  # as it was given
    assert len(title) < 60
    stairs = figure.axes[0].patches[0].get_data()
    held = [
        (start, end, value)
        for start, end, value in zip(stairs.edges[:-1], stairs.edges[1:], stairs.values, strict=True)
        if np.isfinite(value)
    ]
    assert_allclose(held, np.stack([part.start, part.end, part.ref[0]], axis=1))
    for start, end, value in held:
        assert value == pytest.approx(counted(TEXT, int(start), int(end))[5])


def test_a_model_refuses_what_it_cannot_predict(counting: Bundle, fasta: Path) -> None:
    other = "ACGT"[("ACGT".index(TEXT[POS - 1]) + 1) % 4]
    with facade.open_model(counting, fasta=fasta) as model:
        with pytest.raises(ReferenceMismatchError):
            model.predict_variant(f"chr1:{POS}:{other}:{TEXT[POS - 1]}")
        options = CoverageOptions(prediction=PredictionOptions(indel="none"))
        with pytest.raises(InputError, match="coverage around a variant is made with 'stitch' alone"):
            model.predict_variant(f"chr1:{POS}:{TEXT[POS - 1]}:{other}", options=options)


def test_ends_of_the_contig_cut_bins(counting: Bundle, fasta: Path, tmp_path: Path) -> None:
    alt = "ACGT"[("ACGT".index(TEXT[99]) + 1) % 4]
    predict_variant(
        f"1:100:{TEXT[99]}:{alt}",
        tmp_path / "out",
        bundle=counting,
        fasta=fasta,
        options=CoverageOptions(tracks="dnase"),
    )
    rows = read(tmp_path / "out" / "4_dnase.ref.bw")
    assert rows[0][:2] == (0, 4)  # the output is [-412, 612)
    assert rows[-1][1] == 612
    with np.load(tmp_path / "out" / "predictions.npz") as archive:
        assert archive["start"][0] == -412


def test_options_reach_the_prediction(toy_bundle: Bundle, fasta: Path, tmp_path: Path) -> None:
    """On the network: shifts and strands are averaged in squashed scale, which ``squashed`` keeps."""
    variant = f"chr1:{POS}:{TEXT[POS - 1]}:{TEXT[POS - 1]}"
    found = {}
    for name, options in {
        "plain": CoverageOptions(),
        "squashed": CoverageOptions(squashed=True),
        "rc": CoverageOptions(prediction=PredictionOptions(rc=True, shifts=(0, 4))),
    }.items():
        predict_variant(variant, tmp_path / name, bundle=toy_bundle, fasta=fasta, options=options)
        with np.load(tmp_path / name / "predictions.npz") as archive:
            found[name] = archive["ref"]
            assert_array_equal(archive["ref"], archive["alt"])  # a null variant changes nothing, bit by bit
    squash = toy_bundle.squash(np.arange(6))
    assert_allclose(squash.inverse(found["squashed"].copy()[None])[0], found["plain"], rtol=1e-6)
    assert not np.allclose(found["rc"], found["plain"])


@pytest.mark.parametrize(
    ("variant", "how", "error", "message"),
    [
        ("chr1:3000:AAAAAAAAA:C", {}, ReferenceMismatchError, "ref_mismatch, REF 'AAAAAAAAA', the genome has"),
        ("chr9:3000:A:C", {}, InputError, "contig_missing, toy.fa has no contig 'chr9'"),
        ("chr1:3000:A:<DEL>", {}, InputError, "symbolic_alt"),
        ("chr1", {}, InputError, "variant 'chr1' cannot be read"),
        ("chr1:3000:A:C", {"form": "wig"}, InputError, "form 'wig' is unknown; allowed: bigwig, bedgraph"),
        (
            "chr1:3000:A:C",
            {"options": CoverageOptions(prediction=PredictionOptions(indel="none"))},
            InputError,
            "indel is 'none'; coverage around a variant is made with 'stitch' alone",
        ),
    ],
)
def test_what_cannot_be_predicted_is_said(
    counting: Bundle,
    fasta: Path,
    tmp_path: Path,
    variant: str,
    how: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        predict_variant(variant, tmp_path / "out", bundle=counting, fasta=fasta, **how)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("*.partial"))
