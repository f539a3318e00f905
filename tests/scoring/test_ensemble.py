"""Ensembles: means, spread and agreement of members' scores, the laws that they keep, and what is no ensemble."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as parquet
import pytest
import toys
import twins
import worlds
from numpy.testing import assert_allclose, assert_array_equal
from oracles import ensemble as oracle

from borzoi_rt.backends.array import ArraySession
from borzoi_rt.bundle.opening import Bundle, open_bundle
from borzoi_rt.engine.sessions import EngineOptions
from borzoi_rt.errors import BackendError, InputError
from borzoi_rt.genome.annotation import read_genes
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.genes import Genes
from borzoi_rt.genome.variants import Variant, VariantRecord
from borzoi_rt.model import open_model
from borzoi_rt.runs import score as run
from borzoi_rt.runs import score_plan
from borzoi_rt.runs.settings import RunSettings
from borzoi_rt.scoring.ensemble import EnsembleScorer, member_engine, member_names, open_members
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.pipeline import Scorer
from borzoi_rt.scoring.results import ScoredVariant
from borzoi_rt.scoring.stream import score_variants
from borzoi_rt.tracks import TrackTable

POS = 3000
TEXT = worlds.random_dna(6000, seed=21)
SNV = Variant("chr1", POS, TEXT[POS - 1], "ACGT"["CGTA".index(TEXT[POS - 1])])
INSERTION = Variant("chr1", POS, TEXT[POS - 1], TEXT[POS - 1] + "GATTA")
MEMBERS = [worlds.WEIGHTS, worlds.WEIGHTS[:, ::-1] * 0.7, worlds.WEIGHTS[:, [2, 0, 3, 1]] * 1.3]
STATS = ("SUM", "logSED", "SAX", "D2", "JS@span:256", "DIFF_LOG2_SUM@center:101", "logSED@exons")
SIGNED = ("SUM", "logSED", "SAX", "DIFF_LOG2_SUM@center:101", "logSED@exons|G")


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Fasta:
    return Fasta(worlds.write_fasta(tmp_path_factory.mktemp("genome") / "toy.fa", {"chr1": TEXT}))


@pytest.fixture(scope="module")
def genes(tmp_path_factory: pytest.TempPathFactory) -> Genes:
    path = tmp_path_factory.mktemp("genes") / "toy.gtf"
    path.write_text('chr1\tx\texon\t2901\t3100\t.\t-\t.\tgene_id "G"; gene_name "NAME";\n')
    return read_genes(path)


@pytest.fixture(scope="module")
def bundle(toy_bundle: Bundle) -> Bundle:
    return worlds.unsquashed(toy_bundle)


@pytest.fixture(scope="module")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The network of the toy bundle with other weights: a replicate."""
    return toys.bundle(tmp_path_factory.mktemp("replicate") / "bundle", seed=12, name="replicate")


def scorers(
    bundle: Bundle, genome: Fasta, genes: Genes | None, weights: Sequence[np.ndarray] = MEMBERS, **choices: Any
) -> list[Scorer]:
    options = ScoreOptions.for_family(**choices)
    sessions = [ArraySession(bundle.geometry, item) for item in weights]
    return [Scorer(bundle, session, genome, options, genes if options.of_genes else None) for session in sessions]


def together(members: Sequence[Scorer]) -> EnsembleScorer:
    return EnsembleScorer(members, [f"fold {number}" for number in range(len(members))])


def record(variant: Variant) -> VariantRecord:
    return VariantRecord(0, 0, variant)


def beside(found: ScoredVariant, extra: str) -> dict[str, np.ndarray]:
    return {part.name_of(stat): values for part in found.regions for stat, values in part.extras[extra].items()}


@pytest.mark.parametrize("variant", [SNV, INSERTION], ids=["SNV", "insertion"])
@pytest.mark.parametrize("family", ["hound", "sad"])
@pytest.mark.parametrize("merge", [True, False])
def test_means_spread_and_agreement(
    bundle: Bundle, genome: Fasta, genes: Genes, family: str, variant: Variant, merge: bool
) -> None:
    members = scorers(
        bundle, genome, genes, family=family, stats=STATS, shifts=(0, 1), with_alleles=True, merge_strands=merge
    )
    found = together(members).score(record(variant))
    alone = [member.score(record(variant)) for member in members]
    assert found.status == "ok"
    assert found.scores is not None
    spread, agreement = beside(found, "score_sd"), beside(found, "sign_agreement")
    assert list(found.scores) == list(alone[0].scores or ())
    for name, values in found.scores.items():
        each = np.stack([item.scores[name] for item in alone if item.scores]).astype(float)
        want = np.array([oracle.of_members(column.tolist()) for column in each.T])
        assert_allclose(values, want[:, 0], rtol=1e-6, err_msg=name)
        assert_allclose(spread[name], want[:, 1], rtol=1e-5, atol=1e-9, err_msg=name)
        assert_array_equal(agreement[name], want[:, 2].astype(np.float32), err_msg=name)
    if variant is SNV:
        assert min(values.min() for values in agreement.values()) < 1, "members that disagree are among these"
    for number, part in enumerate(found.regions):
        for side in (0, 1):
            sums = np.mean([item.regions[number].coverage[side] for item in alone], axis=0)  # type: ignore[index]
            assert part.coverage is not None
            assert_allclose(part.coverage[side], sums, rtol=1e-6)


def test_an_ensemble_of_one_is_its_member(bundle: Bundle, genome: Fasta, genes: Genes) -> None:
    (member,) = scorers(bundle, genome, genes, MEMBERS[:1], stats=STATS)
    one, alone = together([member]).score(record(SNV)), member.score(record(SNV))
    assert one.scores is not None
    assert one.scores.keys() == (alone.scores or {}).keys()
    for name, values in one.scores.items():
        assert_array_equal(values, (alone.scores or {})[name])
    assert all(not part.extras for part in one.regions)


@pytest.mark.parametrize("average", ["mean_scores", "mean_predictions"])
def test_laws(bundle: Bundle, genome: Fasta, genes: Genes, average: str) -> None:
    """Swapped alleles negate signed means and leave the spread; no change is 0 with spread 0; tracks commute."""
    how: dict[str, Any] = {"stats": STATS, "ref_policy": "flip", "ensemble": average}
    both = together(scorers(bundle, genome, genes, **how))
    straight, turned = both.score(record(SNV)), both.score(record(Variant("chr1", POS, SNV.alt, SNV.ref)))
    assert (straight.status, turned.status) == ("ok", "flipped")
    for name in SIGNED:
        assert_allclose((straight.scores or {})[name], -(turned.scores or {})[name], rtol=1e-6, err_msg=name)
        for extra in ("score_sd", "sign_agreement"):
            assert_allclose(beside(straight, extra)[name], beside(turned, extra)[name], rtol=1e-6)
    null = both.score(record(Variant("chr1", POS, SNV.ref, SNV.ref)))
    for name, values in (null.scores or {}).items():
        assert not values.any(), name
        assert not beside(null, "score_sd")[name].any()
        assert (beside(null, "sign_agreement")[name] == 1).all()
    some = together(scorers(bundle, genome, genes, tracks="chip,cage+", **how))
    part = some.score(record(SNV))
    where = [both.rows.identifier.index(name) for name in some.rows.identifier]
    for name, values in (part.scores or {}).items():
        assert_array_equal(values, (straight.scores or {})[name][where])
        assert_array_equal(beside(part, "score_sd")[name], beside(straight, "score_sd")[name][where])


def test_means_of_predictions_are_scored_once(bundle: Bundle, genome: Fasta, genes: Genes) -> None:
    """The session is linear: the mean of members is the session of their mean weights."""
    how: dict[str, Any] = {"stats": STATS}
    mean = together(scorers(bundle, genome, genes, ensemble="mean_predictions", **how)).score(record(SNV))
    (whole,) = scorers(bundle, genome, genes, [np.mean(MEMBERS, axis=0)], **how)
    members = scorers(bundle, genome, genes, **how)
    scores = together(scorers(bundle, genome, genes, **how)).score(record(SNV))
    differs = 0
    for name, values in (mean.scores or {}).items():
        assert_allclose(values, (whole.score(record(SNV)).scores or {})[name], rtol=2e-4, atol=1e-4, err_msg=name)
        assert_array_equal(beside(mean, "score_sd")[name], beside(scores, "score_sd")[name])
        each = np.stack([(one.score(record(SNV)).scores or {})[name] for one in members])
        share = (np.sign(each) == np.sign(values)).mean(axis=0)  # of the score that is reported, not of their mean
        assert_allclose(beside(mean, "sign_agreement")[name], share, rtol=1e-6, err_msg=name)
        differs += not np.allclose(values, (scores.scores or {})[name], rtol=1e-3)
    assert differs >= 4, "only sums of coverage are linear"


def test_a_member_that_fails_is_named(bundle: Bundle, genome: Fasta) -> None:
    broken = together(scorers(bundle, genome, None, [MEMBERS[0], MEMBERS[1] * np.nan], stats=("SUM",)))
    found = broken.score(record(SNV))
    assert (found.status, found.detail, found.scores) == (
        "error",
        "fold 1: the model gave NaN or infinite coverage",
        None,
    )
    wrong = broken.score(record(Variant("chr1", POS, SNV.alt, SNV.ref)))
    assert wrong.status == "ref_mismatch"
    assert wrong.detail.startswith("REF "), "what all members say is said once"


def test_a_score_that_one_member_has_not_is_undefined(bundle: Bundle, genome: Fasta) -> None:
    """The root of negative coverage."""
    members = scorers(bundle, genome, None, [MEMBERS[0], -MEMBERS[1]], stats=("sqrtSUM", "SUM"))
    found = together(members).score(record(SNV))
    assert found.status == "undefined"
    assert found.detail.startswith("fold 1: sqrtSUM@window is not defined for 4 of 4 tracks")
    assert np.isnan(beside(found, "score_sd")["sqrtSUM"]).all()
    assert np.isnan(beside(found, "sign_agreement")["sqrtSUM"]).all()
    assert np.isfinite(beside(found, "score_sd")["SUM"]).all()


def renamed(bundle: Bundle, folder: Path) -> Bundle:
    """Copy a bundle under another name, with weights that count as others."""
    return open_bundle(twins.write_twin(bundle.path, folder))


def test_what_is_no_ensemble(toy_bundle: Bundle, tmp_path: Path) -> None:
    twin = renamed(toy_bundle, tmp_path / "twin")
    assert open_members([toy_bundle, twin.path]) == (toy_bundle, twin)
    assert open_members(twin) == (twin,)

    def with_tracks(tracks: TrackTable) -> Bundle:
        found = replace(twin)
        vars(found)["tracks"] = tracks
        return found

    tracks = replace(twin.tracks, identifier=("cage+", "cage-", "x-", "x+", "dnase", "chip"))
    cases = {
        r"hold the same model; a member that counts twice": toy_bundle,
        r"\S+/same and \S+ hold the same model": open_bundle(twins.write_renamed(toy_bundle.path, tmp_path / "same")),
        r"are no ensemble: identifier of track 2 \S+ and x-; members have the same tracks": with_tracks(tracks),
        r"are no ensemble: number of tracks 6 and 4": with_tracks(twin.tracks.take([0, 1, 2, 3])),
        r"are no ensemble: bins 32 and 16": replace(
            twin, info=replace(twin.info, geometry=replace(twin.geometry, bins=16))
        ),
        r"are no ensemble: precision \S+ and fp16": replace(twin, info=replace(twin.info, precision="fp16")),
        r"are no ensemble: squash kind new and none": worlds.unsquashed(twin),
    }
    for message, other in cases.items():
        with pytest.raises(InputError, match=message):
            open_members([toy_bundle, other])
    with pytest.raises(InputError, match="no bundle is given"):
        open_members([])
    with pytest.raises(InputError, match="is one model; an ensemble runs on cpu, cuda or tensorrt"):
        open_model([toy_bundle, twin], device="triton:grpc://127.0.0.1:1/m")


def test_names_and_memory_of_members(toy_bundle: Bundle, tmp_path: Path) -> None:
    twin = replace(renamed(toy_bundle, tmp_path / "twin"), info=toy_bundle.info)
    assert member_names([toy_bundle, twin]) == ("bundle", "twin")
    assert member_names([twin, twin]) == ("member 1", "member 2")
    assert member_engine(None, 1) is None
    engine = member_engine(EngineOptions(memory_bytes=900, verify_fraction=0.5), 3)
    assert engine == EngineOptions(memory_bytes=300, verify_fraction=0.5)


class Desk:
    """A genome, a VCF of twelve SNVs, and runs over it in jobs of four alleles."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.fasta = worlds.write_fasta(folder / "toy.fa", {"chr1": TEXT})
        rows = [f"chr1 {pos} . {TEXT[pos - 1]} {'ACGT'['CGTA'.index(TEXT[pos - 1])]}" for pos in range(2500, 2980, 40)]
        self.vcf = worlds.write_vcf(folder / "in.vcf", rows)
        monkeypatch.setattr(run, "job_size", lambda *_: 4)

    def score(self, out: str, bundle: Any, *, engine: EngineOptions | None = None, **how: Any) -> bytes:
        settings = RunSettings(threads=1, engine=engine, workers=how.pop("workers", 1), resume=how.pop("resume", False))
        options = ScoreOptions(stats=("SUM", "logSED@span:256"))
        target = self.folder / out
        run.score_file(
            self.vcf, target, bundle=bundle, fasta=self.fasta, **{"options": options, "settings": settings, **how}
        )
        meta = target.with_name(f"{out}.meta.json")
        return target.read_bytes() + (meta.read_bytes() if meta.exists() else b"")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


@pytest.mark.parametrize("suffix", ["tsv", "parquet", "h5", "vcf.gz"])
def test_a_table_of_one_bundle_in_a_list_has_the_bytes_of_the_bundle(
    desk: Desk, toy_bundle: Bundle, suffix: str
) -> None:
    assert desk.score(f"a.{suffix}", [toy_bundle.path]) == desk.score(f"a.{suffix}", toy_bundle)


def test_tables_of_an_ensemble(desk: Desk, toy_bundle: Bundle, other_bundle: Bundle) -> None:
    """Long, wide, HDF5 and frames agree with the members' own runs."""
    members = [toy_bundle, other_bundle]
    alone = []
    for number, bundle in enumerate(members):
        desk.score(f"{number}.tsv", bundle)
        with (desk.folder / f"{number}.tsv").open() as handle:
            alone.append([float(row["score"]) for row in csv.DictReader(handle, delimiter="\t")])
    desk.score("both.tsv", members)
    with (desk.folder / "both.tsv").open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    want = np.array([oracle.of_members(values) for values in zip(*alone, strict=True)])
    got = np.array([[float(row[name]) for name in ("score", "score_sd", "sign_agreement")] for row in rows])
    assert_allclose(got, want, rtol=2e-6, atol=1e-9)
    about = json.loads((desk.folder / "both.tsv.meta.json").read_text())
    assert about["ensemble"]["members"] == [
        {"model": "toy", "bundle": toy_bundle.sha256},
        {"model": "replicate", "bundle": other_bundle.sha256},
    ]
    assert about["ensemble"]["average"] == "mean_scores"
    assert "n - 1" in about["ensemble"]["score_sd"]
    assert about["model"] == "toy + replicate"
    desk.score("turned.tsv", members[::-1])
    turned = json.loads((desk.folder / "turned.tsv.meta.json").read_text())
    assert turned["score_ids"] == about["score_ids"], "members have no order"
    desk.score("mean.tsv", members, options=ScoreOptions(stats=("SUM",), ensemble="mean_predictions"))
    mean = json.loads((desk.folder / "mean.tsv.meta.json").read_text())
    assert mean["score_ids"]["SUM"] != about["score_ids"]["SUM"]
    desk.score("both.h5", members)
    with h5py.File(desk.folder / "both.h5") as file:
        spread = file["SUM.score_sd"][:]
        assert file["logSED@span:256.sign_agreement"].shape == spread.shape == (12, 4)
    sums = [row for row in rows if row["stat"] == "SUM"]
    assert_array_equal(spread.ravel(), np.array([row["score_sd"] for row in sums], dtype=np.float32))
    with open_model(members, fasta=desk.fasta, threads=1) as model:
        result = model.score(desk.vcf, stats="SUM,logSED@span:256")
        assert repr(model).startswith("<Model toy + replicate: ")
        wide, long = result.to_arrow("wide"), result[3:5].to_arrow()
        with pytest.raises(InputError, match="predict gives the coverage of one model, and 2 are open"):
            model.predict("chr1:2,001-2,100")
    assert_array_equal(wide["SUM.score_sd|chip"].to_numpy(), spread[:, 3])
    assert {"score_sd", "sign_agreement"} <= set(long.column_names)


def test_streams_of_an_ensemble(desk: Desk, toy_bundle: Bundle, other_bundle: Bundle) -> None:
    how: dict[str, Any] = {"fasta": desk.fasta, "options": ScoreOptions(stats=("SUM",))}
    members = [toy_bundle, other_bundle.path]
    both = list(score_variants(desk.vcf, bundle=members, threads=1, **how))
    alone = [list(score_variants(desk.vcf, bundle=item, threads=1, **how)) for item in members]
    for found, *each in zip(both, *alone, strict=True):
        stack = np.stack([item.scores["SUM"] for item in each if item.scores]).astype(float)
        assert found.scores is not None
        assert_allclose(found.scores["SUM"], stack.mean(axis=0), rtol=1e-6)
        assert_allclose(beside(found, "score_sd")["SUM"], stack.std(axis=0, ddof=1), rtol=1e-5, atol=1e-9)
    session = ArraySession(toy_bundle.geometry, worlds.WEIGHTS)
    with pytest.raises(InputError, match="a session is one model, and several bundles are given; leave session out"):
        list(score_variants(desk.vcf, bundle=members, session=session, **how))


@pytest.mark.parametrize("average", ["mean_scores", "mean_predictions"])
def test_sums_made_inside_the_graph_are_averaged_too(
    desk: Desk, toy_bundle: Bundle, other_bundle: Bundle, average: str
) -> None:
    """A mean of coverage cannot be made of sums: the members then hand coverage over."""
    how: dict[str, Any] = {"options": ScoreOptions(stats=("SUM", "logSED@span:256"), ensemble=average)}
    members = [toy_bundle, other_bundle]
    desk.score("plain.parquet", members, **how)
    desk.score("fused.parquet", members, engine=EngineOptions(fused=True), **how)
    plain, fused = (parquet.read_table(desk.folder / f"{name}.parquet") for name in ("plain", "fused"))
    for name in ("score", "score_sd"):
        assert_allclose(fused[name].to_numpy(), plain[name].to_numpy(), rtol=1e-3, atol=1e-5)


def test_runs_of_an_ensemble_do_not_depend_on_how_they_are_made(
    desk: Desk, toy_bundle: Bundle, other_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes, tiles that two members keep in one folder, and a run that was broken and resumed."""
    members = [toy_bundle, other_bundle]
    whole = desk.score("out.tsv", members)
    shards = [desk.folder / f"out.tsv.shard-{number}-of-2" for number in (1, 2)]
    for number in (1, 2):
        desk.score("out.tsv", members, settings=RunSettings(threads=1, shard=f"{number}/2"))
    (desk.folder / "out.tsv").unlink()
    assert desk.score("out.tsv", members, settings=RunSettings(threads=1, adopt=shards)) == whole
    tiles = EngineOptions(tile_cache=desk.folder / "tiles")
    for how in ({"engine": tiles}, {"engine": tiles}, {"workers": 2}):
        assert desk.score("out.tsv", members, **how) == whole
    opened = score_plan.open_engine

    def failing(bundle: Bundle, *given: Any, **named: Any) -> Any:
        session = opened(bundle, *given, **named)
        if bundle is other_bundle:
            runs, predict = [0], session.run

            def counted(*some: Any, **more: Any) -> Any:
                runs[0] += 1
                if runs[0] > 9:  # two windows an allele: in the second job
                    raise BackendError("the device is gone")
                return predict(*some, **more)

            monkeypatch.setattr(session, "run", counted)
        return session

    with monkeypatch.context() as patch:
        patch.setattr(score_plan, "open_engine", failing)
        with pytest.raises(BackendError, match="the device is gone"):
            desk.score("out.tsv", members)
    assert len(list((desk.folder / "out.tsv.partial").glob("shard-*.arrow"))) == 1
    with pytest.raises(InputError, match="kept by a run with another model"):
        desk.score("out.tsv", toy_bundle, resume=True)
    assert desk.score("out.tsv", members, resume=True) == whole
