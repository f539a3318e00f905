"""Predictions of windows and alleles: strands, shifts, spaces, edges, cache."""

from __future__ import annotations

import numpy as np
import pytest
import worlds
from numpy.testing import assert_allclose, assert_array_equal

from borzoi_rt.backends.array import ArraySession
from borzoi_rt.backends.onnx import OnnxSession
from borzoi_rt.backends.opening import open_session
from borzoi_rt.bundle.manifest import Geometry
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.engine.options import PredictionOptions
from borzoi_rt.engine.prediction import Predictor
from borzoi_rt.errors import InputError
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.variants import Variant
from borzoi_rt.sequence import encode
from borzoi_rt.squash import Squash
from borzoi_rt.tracks import TrackTable

LENGTH = 2048  # window of the toy bundle
TEXT = worlds.random_dna(6000, seed=3)
PAIRS = np.array([1, 0, 3, 2, 4, 5])  # toys.tracks(): cage and rna are stranded


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Fasta:
    window = TEXT[:LENGTH]
    contigs = {
        "chr1": TEXT,
        "window": window,
        "turned": worlds.reverse_complement(window),
        "same": "A" * 6000,
        "short": TEXT[:500],
        "hole": TEXT[:2900] + "N" * 200 + TEXT[3100:],
    }
    return Fasta(worlds.write_fasta(tmp_path_factory.mktemp("genome") / "toy.fa", contigs))


@pytest.fixture(scope="module")
def network(toy_bundle: Bundle) -> OnnxSession:
    session = open_session(toy_bundle, threads=1)
    assert isinstance(session, OnnxSession)
    return session


def predictor(session: object, bundle: Bundle, *, positions: np.ndarray | None = None, **options: object) -> Predictor:
    chosen = PredictionOptions(**options)  # type: ignore[arg-type]
    return Predictor(session, bundle.tracks, bundle.squash(positions), positions=positions, options=chosen)  # type: ignore[arg-type]


def test_reverse_complement_ensemble_is_the_same_from_both_strands(
    network: OnnxSession, toy_bundle: Bundle, genome: Fasta
) -> None:
    """The other strand of a window gives the same coverage with bins turned round and strands swapped, bit for bit."""
    model = predictor(network, toy_bundle, rc=True)
    turned = model.window(genome, "turned", 0)
    assert_array_equal(model.window(genome, "window", 0), turned[PAIRS][:, ::-1])
    single = predictor(network, toy_bundle).window(genome, "window", 0)
    assert np.abs(single - single.mean()).max() > 0
    assert not np.allclose(single, turned[PAIRS][:, ::-1], rtol=1e-3), "the network must tell strands apart"


def test_reverse_complement_is_averaged_in_squashed_space(
    network: OnnxSession, toy_bundle: Bundle, genome: Fasta
) -> None:
    forward = network.run(encode(TEXT[:LENGTH])[None])[0]
    reverse = network.run(encode(worlds.reverse_complement(TEXT[:LENGTH]))[None])[0]
    mean = (forward.astype("f8") + reverse[PAIRS][:, ::-1]) / 2
    model = predictor(network, toy_bundle, rc=True)
    assert_allclose(model.window(genome, "window", 0), mean, rtol=2.0**-23)  # one float32 rounding
    pos = LENGTH // 2  # the window of this position is the contig
    null = model.variant(genome, Variant("window", pos, TEXT[pos - 1], TEXT[pos - 1]))
    expected = toy_bundle.squash().inverse(mean.astype(np.float32))
    assert_allclose(null.ref[0], expected, rtol=1e-5)  # the inverse squares: a rounding of the mean counts twice


def test_a_strand_can_be_predicted_without_its_partner(network: OnnxSession, toy_bundle: Bundle, genome: Fasta) -> None:
    whole = predictor(network, toy_bundle, rc=True).window(genome, "chr1", 100)
    part = np.array([4, 2])
    got = predictor(network, toy_bundle, positions=part, rc=True).window(genome, "chr1", 100)
    assert_allclose(got, whole[part], rtol=1e-5)  # a head with other columns may sum in another order


def test_alleles_stand_in_the_middle_of_the_window(toy_bundle: Bundle, genome: Fasta) -> None:
    """POS is base L/2 - 1, so an SNV changes bin B/2 - 1 alone, by the weights of its bases."""
    bundle, pos = worlds.unsquashed(toy_bundle), 3000
    ref, alt = TEXT[pos - 1], "ACGT"["CGTA".index(TEXT[pos - 1])]
    result = predictor(worlds.counting_session(bundle), bundle).variant(genome, Variant("chr1", pos, ref, alt))
    change = result.alt[0] - result.ref[0]
    middle = bundle.geometry.bins // 2 - 1
    assert result.window_start == pos - LENGTH // 2
    assert_array_equal(change[:, middle], worlds.WEIGHTS[:, "ACGT".index(alt)] - worlds.WEIGHTS[:, "ACGT".index(ref)])
    assert_array_equal(np.delete(change, middle, axis=1), 0)
    shifted = predictor(worlds.counting_session(bundle), bundle, shifts=(1,)).variant(
        genome, Variant("chr1", pos, ref, alt)
    )
    moved = shifted.alt[0] - shifted.ref[0]
    assert_array_equal(moved[:, middle + 1], change[:, middle])  # one base to the right is the next bin


def test_shifts_of_a_uniform_genome_change_nothing(network: OnnxSession, toy_bundle: Bundle, genome: Fasta) -> None:
    """Bases that enter come from the chromosome, so every shifted window of a homopolymer is the same window."""
    single = predictor(network, toy_bundle).window(genome, "same", 2000)
    shifted = predictor(network, toy_bundle, shifts=(-7, 0, 40)).window(genome, "same", 2000)
    assert_allclose(shifted, single, rtol=2.0**-22)
    padded = predictor(network, toy_bundle, shifts=(400,), edge_fill="pad").window(genome, "same", 2000)
    assert not np.allclose(padded, single, rtol=1e-3)


@pytest.mark.parametrize("space", ["squashed", "unsquashed"])
def test_shifts_keep_their_pairs_or_are_averaged_before_the_inverse(
    network: OnnxSession, toy_bundle: Bundle, genome: Fasta, space: str
) -> None:
    variant = Variant("chr1", 3000, TEXT[2999], "A" if TEXT[2999] != "A" else "C")
    model = predictor(network, toy_bundle, shifts=(0, 3), shift_space=space)
    result = model.variant(genome, variant)
    squashed = [network.run(encode(TEXT[3000 - LENGTH // 2 - s : 3000 + LENGTH // 2 - s])[None])[0] for s in (0, 3)]
    squash = toy_bundle.squash()
    if space == "squashed":
        expected = squash.inverse(np.mean(squashed, axis=0, dtype=np.float32)[None])
    else:
        expected = squash.inverse(np.stack(squashed))
    assert result.ref.shape == expected.shape
    assert_allclose(result.ref, expected, rtol=1e-5)


@pytest.mark.parametrize("n_code", ["zero", "uniform"])
def test_unknown_bases_are_coded_as_asked(toy_bundle: Bundle, genome: Fasta, n_code: str) -> None:
    """Around the hole 200 of 2,048 bases are N; with 0.25 each adds the mean weight of a track."""
    bundle = worlds.unsquashed(toy_bundle)
    session = worlds.counting_session(bundle)
    result = predictor(session, bundle, n_code=n_code).variant(genome, Variant("hole", 2800, TEXT[2799], "A"))
    assert result.n_fraction == pytest.approx(200 / LENGTH)
    start = 2800 - LENGTH // 2 + bundle.geometry.crop_bp
    inner = (TEXT[:2900] + "N" * 200 + TEXT[3100:])[start : start + 1024]
    assert inner.count("N") == 200
    counts = np.array([inner.count(base) for base in "ACGT"])
    expected = worlds.WEIGHTS @ counts + (200 * worlds.WEIGHTS.mean(axis=1) if n_code == "uniform" else 0)
    assert_allclose(result.ref[0].sum(axis=1, dtype="f8"), expected, rtol=1e-6)


def test_a_chromosome_shorter_than_the_window_is_padded_on_both_sides(toy_bundle: Bundle, genome: Fasta) -> None:
    bundle = worlds.unsquashed(toy_bundle)
    result = predictor(worlds.counting_session(bundle), bundle).variant(genome, Variant("short", 1, TEXT[0], TEXT[0]))
    assert result.window_start == 1 - LENGTH // 2
    assert result.n_fraction == pytest.approx(1 - 500 / LENGTH)
    expected = worlds.WEIGHTS @ np.array([TEXT[:500].count(base) for base in "ACGT"])
    assert_array_equal(result.ref[0].sum(axis=1), expected)


@pytest.mark.parametrize(
    ("ref", "alt", "indel", "seam"),
    [("T", "TGA", "stitch", 16), ("T", "A", "stitch", None), ("T", "TGA", "average", None)],
)
def test_the_stitch_bin_is_reported_where_something_was_joined(
    toy_bundle: Bundle, genome: Fasta, ref: str, alt: str, indel: str, seam: int | None
) -> None:
    pos = 2501 + TEXT[2500:].index("T")
    result = predictor(worlds.counting_session(toy_bundle), toy_bundle, indel=indel).variant(
        genome, Variant("chr1", pos, ref, alt)
    )
    assert result.stitch_bin == seam  # B / 2 of 32 bins


def test_equal_windows_are_predicted_once(toy_bundle: Bundle, genome: Fasta) -> None:
    session = worlds.counting_session(toy_bundle)
    model = predictor(session, toy_bundle)
    ref, *others = dict.fromkeys([TEXT[2999], *"ACGT"])
    results = [model.variant(genome, Variant("chr1", 3000, ref, alt)) for alt in others]
    assert session.runs == 1 + len(others)
    assert all(np.array_equal(result.ref, results[0].ref) for result in results)
    results[0].ref[:] = -1  # what a caller does with a result must not reach the next
    assert model.variant(genome, Variant("chr1", 3000, ref, others[0])).ref.min() >= 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shifts": ()}, "shifts is empty"),
        ({"shift_space": "log"}, "allowed: unsquashed, squashed"),
        ({"indel": "center"}, "allowed: stitch, average, centre_trim, none"),
        ({"edge_fill": "N"}, "allowed: genome, pad"),
        ({"n_code": "quarter"}, "allowed: zero, uniform"),
    ],
)
def test_unknown_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PredictionOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("shift", [LENGTH // 2, -5000])
def test_a_shift_out_of_the_window_is_refused(toy_bundle: Bundle, shift: int) -> None:
    with pytest.raises(InputError, match=f"{shift}.*2048"):
        predictor(worlds.counting_session(toy_bundle), toy_bundle, shifts=(0, shift))


def test_missing_partners_are_named(toy_bundle: Bundle) -> None:
    """A table that lacks the opposite strand cannot be reverse-complemented."""
    table: TrackTable = toy_bundle.tracks.take([0, 4])
    session = ArraySession(Geometry(sequence_length_bp=64, bin_size_bp=32, bins=2), worlds.WEIGHTS[[0, 4]])
    squash = Squash.from_tracks(table, kind="none")
    Predictor(session, table, squash)
    with pytest.raises(InputError, match=r"tracks \[1\] are not in the table"):
        Predictor(session, table, squash, options=PredictionOptions(rc=True))
