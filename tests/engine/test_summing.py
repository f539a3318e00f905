"""Sums over bins made inside the graph: against float64 oracles, and against scores made of coverage."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
import worlds
from numpy.testing import assert_allclose
from oracles import squash as squash_oracle
from oracles import statistics as oracle

from borzoi_rt.backends.onnx import OnnxParts
from borzoi_rt.backends.opening import open_parts
from borzoi_rt.backends.protocols import BinSums, Views
from borzoi_rt.backends.resident import open_resident
from borzoi_rt.bundle.manifest import SquashSpec
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.engine.cache import Cache
from borzoi_rt.engine.prediction import Predictor
from borzoi_rt.engine.resident import ResidentSummingSession
from borzoi_rt.engine.sessions import EngineOptions, open_engine
from borzoi_rt.engine.summing import Rows, SummingSession
from borzoi_rt.errors import InputError
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.variants import Variant, VariantRecord
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.scoring.pipeline import Scorer
from borzoi_rt.scoring.results import ScoredVariant
from borzoi_rt.scoring.statistics import STATISTICS, are_sums, score_sums
from borzoi_rt.scoring.stream import score_variants

torch = pytest.importorskip("torch", reason="export needs torch")

BINS = 32
SUMMED = tuple(name for name, statistic in STATISTICS["hound"].items() if are_sums({name: statistic}))
FUSED = EngineOptions(fused=True)


def export(out: Path, kind: str) -> tuple[Any, Bundle]:
    from borzoi_export.graphs import export_bundle

    torch.manual_seed(4)
    model = toys.model()
    with torch.no_grad():
        model.head.bias.fill_(1.5)  # above the knee of 2 in some bins, below in others
    return model, export_bundle(model, toys.tracks(), out, squash=SquashSpec(kind=kind), name="toy")


@pytest.mark.parametrize("kind", ["old", "new", "bp_old", "bp_new", "none"])
@pytest.mark.parametrize(("unscale", "unclip"), [(False, True), (True, False)])
def test_sums_are_those_of_a_float64_computation(tmp_path: Path, kind: str, unscale: bool, unclip: bool) -> None:
    model, bundle = export(tmp_path / "b", kind)
    unscale = unscale and kind != "none"
    generator = np.random.default_rng(7)
    embeddings = generator.standard_normal((2, 2, BINS, model.config.embedding_channels)).astype(np.float32)
    share = np.stack([np.arange(BINS) < 11, np.arange(BINS) >= 11]).astype(np.float32)  # halves of an indel
    half = np.full((2, BINS), 0.5, dtype=np.float32)  # two strands
    forward = np.arange(toys.TRACKS)
    tracks = np.stack([forward, toys.tracks().strand_pair])
    ref, alt = Views(embeddings[0], share, np.stack([forward, forward])), Views(embeddings[1], half, tracks)
    terms = bundle.squash(unscale=unscale, unclip=unclip).inverse_terms()
    sums = open_parts(bundle).sums(ref, alt, terms, np.ones((toys.TRACKS, 1)))

    weight, bias = (part.detach().double().numpy() for part in (model.head.weight, model.head.bias))
    coverage = []
    for views in (ref, alt):
        seen = [
            np.logaddexp(0.0, weight[index] @ item.T.astype(np.float64) + bias[index][:, None]) * part
            for item, part, index in zip(views.embedding, views.share, views.tracks, strict=True)
        ]
        squashed = sum(seen)
        table = toys.tracks()
        coverage.append(
            squashed
            if kind == "none"
            else np.stack(
                [
                    squash_oracle.inverse(
                        kind, row, scale=scale, clip_soft=soft, sum_stat=stat, unscale=unscale, unclip=unclip
                    )
                    for row, scale, soft, stat in zip(
                        squashed, table.scale.astype(float), table.clip_soft, table.sum_stat, strict=True
                    )
                ]
            )
        )
    names = find(SUMMED)
    found = score_sums([sums], statistics=names)
    for name in SUMMED:
        want = oracle.score(name, "hound", coverage[0][None], coverage[1][None], None)
        assert np.abs(want).max() > 0.1
        assert_allclose(found[name], want, rtol=2e-4, atol=2e-5)  # float32 up to the coverage, whose sums cancel


def find(names: tuple[str, ...]) -> Any:
    return {name: STATISTICS["hound"][name] for name in names}


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Fasta:
    contigs = {"chr1": worlds.random_dna(9000, seed=5)}
    return Fasta(worlds.write_fasta(tmp_path_factory.mktemp("genome") / "toy.fa", contigs))


def scored(bundle: Bundle, genome: Fasta, variants: list[Variant], fused: bool, **choices: Any) -> list[ScoredVariant]:
    options = ScoreOptions.for_family(**choices)
    engine = EngineOptions(fused=fused)
    return list(score_variants(variants, bundle=bundle, fasta=genome, options=options, engine=engine))


def variants_of(genome: Fasta) -> list[Variant]:
    at = {pos: genome.fetch("chr1", pos - 1, pos + 5) for pos in (3000, 3200, 3500, 4000, 4200)}
    other = {base: "ACGT"["ACGT".index(base) - 1] for base in "ACGT"}
    return [
        Variant("chr1", 3000, at[3000][0], other[at[3000][0]]),
        Variant("chr1", 3200, at[3200][:3], "".join(other[base] for base in at[3200][:3])),
        Variant("chr1", 3500, at[3500][0], at[3500][0] + "ACGTACG"),
        Variant("chr1", 4000, at[4000][:5], at[4000][0]),
        Variant("chr1", 4200, other[at[4200][0]], at[4200][0]),  # the genome holds ALT
    ]


CHOICES: dict[str, dict[str, Any]] = {
    "plain": {},
    "strands, shifts, region": {"rc": True, "shifts": (0, -3, 5), "region": "span:640"},
    "narrow region": {"region": "center:64"},
    "averaged indels": {"rc": True, "indel": "average"},
    "strands kept": {"merge_strands": False},
    "some tracks": {"tracks": "2,3,5"},
    "flip": {"ref_policy": "flip"},
    "edit": {"ref_policy": "edit"},
}


@pytest.mark.parametrize("family", ["hound", "sad"])
@pytest.mark.parametrize("choices", CHOICES.values(), ids=CHOICES)
def test_scores_are_those_of_coverage(
    toy_bundle: Bundle, genome: Fasta, family: str, choices: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    variants, how = variants_of(genome), {"family": family, "stats": SUMMED, **choices}
    want = scored(toy_bundle, genome, variants, fused=False, **how)
    # No array of bins x tracks is handed over: neither head nor network may be asked.
    monkeypatch.setattr(OnnxParts, "head", None)
    got = scored(toy_bundle, genome, variants, fused=True, **how)
    for found, other in zip(got, want, strict=True):
        assert (found.status, found.window_start, found.stitch_bin) == (
            other.status,
            other.window_start,
            other.stitch_bin,
        )
        if other.scores is None or found.scores is None:
            assert found.scores is other.scores
            continue
        assert found.scores.keys() == other.scores.keys()
        for name in other.scores:
            # Two orders of float32 additions: 2^-24 of the coverage in each of 32 bins; effects are far above.
            assert_allclose(found.scores[name], other.scores[name], rtol=2e-3, atol=3e-6, err_msg=name)
    (d1,) = (spec.name for spec in ScoreOptions.for_family(**how).specs if spec.stat == "D1")
    assert any(item.scores is not None and np.abs(item.scores[d1]).max() > 1e-3 for item in want)


def test_trained_model(tiny_bundle: Bundle, shared: Path) -> None:
    """Where effects are real: every statistic of real variants, within 1e-5 of the largest of its track."""
    with Fasta(next((shared / "data" / "hg38_1m").glob("*.fa.gz"))) as fasta:
        chrom = next(iter(fasta.contigs))
        text = fasta.fetch(chrom, 619_999, 620_010)
        variants = [
            Variant(chrom, 620_000, text[0], "ACGT"["ACGT".index(text[0]) - 1]),
            Variant(chrom, 620_000, text, text[0]),
        ]
        runs = [scored(tiny_bundle, fasta, variants, fused, stats=SUMMED, rc=True) for fused in (True, False)]
    for name in SUMMED:
        got, want = (np.stack([item.scores[name] for item in run if item.scores is not None]) for run in runs)
        assert (np.abs(got - want).max(axis=1) <= 1e-5 * np.abs(want).max(axis=1)).all(), name


@pytest.mark.parametrize(("rc", "indel"), product([False, True], ["stitch", "average"]))
def test_a_null_variant_is_exactly_zero(toy_bundle: Bundle, genome: Fasta, rc: bool, indel: str) -> None:
    base = genome.fetch("chr1", 2999, 3000)
    (found,) = scored(
        toy_bundle, genome, [Variant("chr1", 3000, base, base)], fused=True, stats=SUMMED, rc=rc, indel=indel
    )
    assert found.scores is not None
    assert not any(values.any() for values in found.scores.values())


def test_blocks_of_rows_change_nothing(toy_bundle: Bundle, genome: Fasta, monkeypatch: pytest.MonkeyPatch) -> None:
    variants = variants_of(genome)[:1]
    (whole,) = scored(toy_bundle, genome, variants, fused=True, stats=("SUM", "SAX"))
    monkeypatch.setattr(SummingSession, "block_bytes", 1)  # one row a run
    (by_row,) = scored(toy_bundle, genome, variants, fused=True, stats=("SUM", "SAX"))
    assert whole.scores is not None
    assert by_row.scores is not None
    for name, values in whole.scores.items():
        assert_allclose(by_row.scores[name], values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("how", [{}, {"rc": True, "shifts": (0, -3)}, {"region": "center:64"}], ids=str)
def test_embeddings_that_stay_on_a_device_give_the_same_sums(
    toy_bundle: Bundle, genome: Fasta, how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    variants = variants_of(genome)
    want = scored(toy_bundle, genome, variants, fused=True, stats=SUMMED, **how)

    def on_a_device(bundle: Bundle, *_: object) -> ResidentSummingSession:
        parts = open_resident(bundle, "cpu:1", bank_bytes=0)
        return ResidentSummingSession(parts, model=bundle.sha256, cache=Cache())

    monkeypatch.setattr("borzoi_rt.engine.sessions._incremental", on_a_device)
    got = scored(toy_bundle, genome, variants, fused=True, stats=SUMMED, **how)
    for found, other in zip(got, want, strict=True):
        assert found.status == other.status
        if found.scores is None or other.scores is None:
            assert found.scores is other.scores
            continue
        for name, values in other.scores.items():
            assert_allclose(found.scores[name], values, rtol=2e-3, atol=3e-6, err_msg=name)


def test_js_is_made_of_coverage(toy_bundle: Bundle, genome: Fasta) -> None:
    variants, how = variants_of(genome)[:2], {"stats": ("JS", "SUM")}
    got, want = (scored(toy_bundle, genome, variants, fused, **how) for fused in (True, False))
    for found, other in zip(got, want, strict=True):
        assert found.scores is not None
        assert other.scores is not None
        assert np.array_equal(found.scores["JS"], other.scores["JS"])
    zeros = np.zeros((3, 1))
    with pytest.raises(InputError, match="JS cannot be made of sums"):
        score_sums([BinSums(zeros, zeros, zeros, zeros, zeros[0])], statistics=find(("JS",)))


def test_non_finite_coverage_is_an_error_of_the_row(toy_bundle: Bundle, genome: Fasta, monkeypatch: Any) -> None:
    sums = OnnxParts.sums

    def broken(self: OnnxParts, *given: Any) -> BinSums:
        found = sums(self, *given)
        found.alt[0, 0] = np.nan
        return found

    monkeypatch.setattr(OnnxParts, "sums", broken)
    (found,) = scored(toy_bundle, genome, variants_of(genome)[:1], fused=True)
    assert (found.status, found.scores) == ("error", None)
    assert "NaN" in found.detail


def test_who_sums(toy_bundle: Bundle, genome: Fasta) -> None:
    assert isinstance(open_engine(toy_bundle, options=FUSED), SummingSession)
    plain = open_engine(toy_bundle)
    assert not isinstance(plain, SummingSession)  # on a CPU nothing is gained
    rows = Rows(np.zeros((1, 1), dtype=np.int64), np.ones((1, 1)))
    predictor = Predictor(plain, toy_bundle.tracks, toy_bundle.squash())
    with pytest.raises(InputError, match="fused=True"):
        predictor.sums(genome, variants_of(genome)[0], rows)
    for other in ({"full": True}, {"verify_fraction": 0.5}):
        with pytest.raises(InputError, match="leave out"):
            EngineOptions(fused=True, **other)  # type: ignore[arg-type]


def test_coverage_and_sums_of_one_window_do_not_mix(toy_bundle: Bundle, genome: Fasta) -> None:
    """One scorer, asked for sums and then for the coverage of the same window, as the scorer on a server may be."""
    variant = variants_of(genome)[0]
    start = variant.pos - toy_bundle.geometry.sequence_length_bp // 2
    ref = genome.fetch("chr1", start, start + toy_bundle.geometry.sequence_length_bp)
    alt = ref[: variant.pos - 1 - start] + variant.alt + ref[variant.pos - start :]
    scorer = Scorer(toy_bundle, open_engine(toy_bundle, options=FUSED), genome, ScoreOptions(stats=("SUM", "D2")))
    by_record = scorer.score(VariantRecord(0, 0, variant)).scores
    by_windows = scorer.score_windows(ref, alt).scores
    assert by_record is not None
    assert by_windows is not None
    for name, values in by_windows.items():
        assert_allclose(by_record[name], values, rtol=2e-3, atol=3e-6)


def test_another_squash_than_the_bundles_is_undone_though_the_graph_knows_its_own(
    toy_bundle: Bundle, genome: Fasta
) -> None:
    """The graph has the bundle's kind in it: a score that undoes another must not come from it."""
    variants = variants_of(genome)[:1]
    (own,), (fused,), (plain,) = (
        scored(toy_bundle, genome, variants, with_graph, stats=("SUM",), squash=kind)
        for with_graph, kind in ((True, None), (True, "old"), (False, "old"))
    )
    assert fused.scores is not None
    assert plain.scores is not None
    assert own.scores is not None
    assert np.array_equal(fused.scores["SUM"], plain.scores["SUM"])
    assert not np.allclose(fused.scores["SUM"], own.scores["SUM"], rtol=1e-2)
