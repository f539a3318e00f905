"""``layout="alphagenome"``: a table as a notebook for AlphaGenome's client reads it, with pandas."""

from __future__ import annotations

import gzip
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
import worlds
from jobs import TEXT, Job, vcf_rows
from numpy.testing import assert_allclose, assert_array_equal

from borzoi_rt.errors import InputError
from borzoi_rt.model import open_model
from borzoi_rt.runs import calibrate as calibrations
from borzoi_rt.runs.calibrate import calibrate
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.results import ScoredVariant
from borzoi_rt.scoring.stream import score_variants

pandas = pytest.importorskip("pandas")

STATS = ("DIFF_LOG2_SUM@center:501", "LFC@gene_mask", "logSED@exons", "ACTIVE_SUM@window")
# In the order of the client's own table.
COLUMNS = [
    *("variant_id", "scored_interval", "gene_id", "gene_name", "gene_type", "gene_strand", "junction_Start"),
    *("junction_End", "output_type", "variant_scorer", "track_name", "track_strand", "Assay title", "ontology_curie"),
    *("biosample_name", "biosample_type", "biosample_life_stage", "gtex_tissue", "data_source", "endedness"),
    *("genetically_modified", "transcription_factor", "histone_mark", "raw_score"),
]
LABELS = ["CAGE:line", "CAGE:line", "RNA:liver", "RNA:liver", "DNASE:K562", "CHIP:H3K27ac:HepG2"]


@pytest.fixture
def gtf(tmp_path: Path) -> Path:
    path = tmp_path / "g.gtf"
    genes = [("ENSG01.7", "PLUS", 1900, 2100, "+"), ("OTHER.1", "MINUS", 2150, 2300, "-")]
    lines = [
        f'chr1\tx\texon\t{start}\t{end}\t.\t{strand}\t.\tgene_id "{key}"; gene_name "{name}"; gene_type "lncRNA";\n'
        for key, name, start, end, strand in genes
    ]
    path.write_text("".join(lines))
    return path


@pytest.fixture
def labelled(job: Job) -> Job:
    """A model whose track table has descriptions as Borzoi's, and one column of AlphaGenome's."""
    from dataclasses import replace

    bundle = replace(job.bundle)
    ontology = tuple(f"EFO:{number}" for number in range(6))
    vars(bundle)["tracks"] = replace(
        job.bundle.tracks, description=tuple(LABELS), extra={"ontology_curie": ontology, "note": ontology}
    )
    job.bundle = bundle
    return job


def options(**choices: Any) -> ScoreOptions:
    return ScoreOptions.for_family("hound", **{"stats": STATS, **choices})


def read(path: Path) -> Any:
    return pandas.read_csv(path, sep="\t")


def own(job: Job, gtf: Path, chosen: ScoreOptions) -> list[ScoredVariant]:
    how: dict[str, Any] = {"bundle": job.bundle, "fasta": job.fasta, "session": job.session, "genes": gtf}
    return list(score_variants(job.vcf, options=chosen, **how))


def test_merged_strands(labelled: Job, gtf: Path) -> None:
    job, chosen = labelled, options()
    job.run(options=chosen, genes=gtf, layout="alphagenome")
    frame = read(job.folder / "out.tsv")
    assert list(frame.columns) == COLUMNS
    found = own(job, gtf, chosen)
    first = found[0]
    assert frame["variant_id"].nunique() == len(found)
    assert first.variant is not None
    name = f"chr1:{first.variant.pos}:{first.variant.ref}>{first.variant.alt}"
    rows = frame[frame["variant_id"] == name]
    assert list(rows["scored_interval"].unique()) == [f"chr1:{first.window_start}-{(first.window_start or 0) + 2048}:."]
    # As in the client's tutorial: one scorer, the strongest tracks.
    scorer = "CenterMaskScorer(requested_output=DNASE, width=501, aggregation_type=DIFF_LOG2_SUM)"
    (score,) = rows[rows["variant_scorer"] == scorer]["raw_score"]
    assert score == pytest.approx(float((first.scores or {})["DIFF_LOG2_SUM@center:501"][2]), rel=1e-6)
    lfc = rows[rows["variant_scorer"] == "GeneMaskLFCScorer(requested_output=RNA_SEQ)"]
    assert list(lfc["gene_id"]) == ["ENSG01", "OTHER.1"]
    assert list(lfc["gene_name"]) == ["PLUS", "MINUS"]
    assert list(lfc["gene_strand"]) == ["+", "-"]
    assert set(lfc["track_strand"]) == {"."}, "merged, as by the client's default"
    assert set(lfc["gene_type"]) == {"lncRNA"}
    assert set(lfc["biosample_name"]) == {"liver"}
    assert_allclose(
        lfc["raw_score"],
        [(first.scores or {})[f"LFC@gene_mask|{key}"][1] for key in ("ENSG01.7", "OTHER.1")],
        rtol=1e-6,
    )
    assert "logSED@exons" in set(rows["variant_scorer"])
    chip = rows[rows["output_type"] == "CHIP_HISTONE"]
    assert set(chip["histone_mark"]) == {"H3K27ac"}
    assert set(chip["ontology_curie"]) == {"EFO:5"}
    assert set(chip["Assay title"]) == {"Histone ChIP-seq"}
    assert chip["transcription_factor"].isna().all()
    assert rows["junction_Start"].isna().all()
    center = rows[rows["variant_scorer"].str.startswith("CenterMask")]
    assert center["gene_id"].isna().all()
    assert set(center["track_strand"]) == {"."}
    assert len(rows) == 4 * (2 + 2 * 2)


def test_stranded_form_has_no_tracks_of_the_other_strand(labelled: Job, gtf: Path) -> None:
    job, chosen = labelled, options(merge_strands=False)
    job.run(options=chosen, genes=gtf, layout="alphagenome")
    frame = read(job.folder / "out.tsv")
    scores = own(job, gtf, chosen)[0].scores or {}
    pos = frame["variant_id"].iloc[0]
    rows = frame[(frame["variant_id"] == pos) & (frame["variant_scorer"] == "logSED@exons")]
    plus, minus = (rows[rows["gene_strand"] == strand] for strand in "+-")
    assert list(plus["track_strand"]) == ["+", "+", ".", "."]
    assert list(minus["track_strand"]) == ["-", "-", ".", "."]
    assert_allclose(plus["raw_score"], scores["logSED@exons|ENSG01.7"][[0, 3, 4, 5]], rtol=1e-6)
    assert_allclose(minus["raw_score"], scores["logSED@exons|OTHER.1"][[1, 2, 4, 5]], rtol=1e-6)
    window = frame[(frame["variant_id"] == pos) & frame["gene_id"].isna()]
    assert list(window["track_strand"])[:6] == ["+", "-", "-", "+", ".", "."]


@pytest.mark.parametrize("suffix", [".tsv.gz", ".parquet"])
def test_files_and_frames_agree(labelled: Job, gtf: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    job = labelled
    job.run(f"out{suffix}", options=options(), genes=gtf, layout="alphagenome")
    path = job.folder / f"out{suffix}"
    if suffix == ".parquet":
        frame = parquet.read_table(path).to_pandas()
    else:
        with gzip.open(path, "rt") as handle:
            frame = pandas.read_csv(handle, sep="\t")
    monkeypatch.setattr("borzoi_rt.model.opened.open_engine", lambda *_, **__: job.session)
    with open_model(job.bundle, fasta=job.fasta) as model:
        result = model.score(job.vcf, options=options(), genes=gtf)
    here, part = result.to_pandas("alphagenome"), result[:2].to_pandas("alphagenome")
    assert list(here.columns) == list(frame.columns) == COLUMNS
    for name in ("variant_id", "variant_scorer", "track_name"):
        assert list(here[name]) == list(frame[name])
    assert_array_equal(here["raw_score"].to_numpy(np.float32), frame["raw_score"].to_numpy(np.float32))
    assert part.equals(here.head(len(part)))
    with pytest.raises(InputError, match="layout 'tidy' is unknown; allowed: long, wide, alphagenome"):
        result.to_arrow("tidy")


def test_quantiles(labelled: Job, gtf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies beyond the null has AlphaGenome's own limit and the exceedance beside it."""
    job, chosen = labelled, options(stats=("DIFF_SUM@center:101", "ACTIVE_SUM@center:101"))
    monkeypatch.setattr(calibrations, "job_size", lambda *_: 64)
    null = worlds.write_vcf(job.folder / "null.vcf", vcf_rows(first=1800, count=40))
    given: dict[str, Any] = {"bundle": job.bundle, "fasta": job.fasta, "options": chosen, "min_count": 20}
    calibrate(job.folder / "NULL", variants=null, **given)
    far = [f"chr1 2400 far {TEXT[2399:2499]} {base * 100}" for base in "AT"]
    worlds.write_vcf(job.vcf, [*vcf_rows(count=4), *far])
    job.run(options=chosen, layout="alphagenome", calibration=job.folder / "NULL")
    frame = read(job.folder / "out.tsv")
    assert list(frame.columns) == [*COLUMNS[:-1], "phred", "vs_null_max", "raw_score", "quantile_score"]
    beyond = frame[frame["vs_null_max"] > 1]
    assert len(beyond) > 0
    signed = beyond["variant_scorer"].str.contains("DIFF_SUM")
    assert_allclose(beyond[signed]["quantile_score"], np.sign(beyond[signed]["raw_score"]) * 0.99999, rtol=1e-6)
    assert_allclose(beyond[~signed]["quantile_score"], 0.99999, rtol=1e-6)
    inside = frame[frame["vs_null_max"] <= 1]
    assert inside["quantile_score"].abs().max() < 0.99999
    assert beyond["phred"].isna().all()


def test_alleles_without_scores_have_no_row(labelled: Job, gtf: Path, caplog: pytest.LogCaptureFixture) -> None:
    job = labelled
    wrong = "ACGT"["CGTA".index(TEXT[2099])]
    worlds.write_vcf(job.vcf, [*vcf_rows(count=3), f"chr1 2100 bad {wrong} {TEXT[2099]}", "chr1 2200 sv N <DEL>"])
    with caplog.at_level(logging.WARNING, logger="borzoi_rt"):
        job.run(options=options(), genes=gtf, layout="alphagenome")
    assert "2 of 5 alleles have no scores, and no row in this layout" in caplog.text
    assert read(job.folder / "out.tsv")["variant_id"].nunique() == 3
    worlds.write_vcf(job.vcf, [])
    job.run(options=options(), genes=gtf, layout="alphagenome")
    empty = read(job.folder / "out.tsv")
    assert (list(empty.columns), len(empty)) == (COLUMNS, 0)


def test_other_forms_have_no_such_columns(labelled: Job, gtf: Path) -> None:
    for suffix in (".h5", ".vcf.gz"):
        with pytest.raises(InputError, match="has one layout; 'alphagenome' is for"):
            labelled.run(f"out{suffix}", options=options(), genes=gtf, layout="alphagenome")
