"""The served scorer: the scores of this process for every kind of variant, and an answer to every wrong request."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import worlds
from triton_servers import OPTIONS

from borzoi_rt.backends.triton import Address, Connection
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.demo.run import embedded_bundle
from borzoi_rt.engine.sessions import open_engine
from borzoi_rt.errors import BackendError, InputError
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.variants import Variant, VariantRecord
from borzoi_rt.scoring.pipeline import Scorer
from borzoi_rt.scoring.remote import RemoteScorer
from borzoi_rt.scoring.results import ScoredVariant
from borzoi_rt.serving.bench import random_substitutions
from borzoi_rt.serving.local.launcher import TritonServer


@pytest.fixture(scope="module")
def fasta(triton_genome: Path) -> Iterator[Fasta]:
    with Fasta(triton_genome) as opened:
        yield opened


@pytest.fixture(scope="module")
def local(toy_bundle: Bundle, fasta: Fasta) -> Scorer:
    return Scorer(toy_bundle, open_engine(toy_bundle), fasta, OPTIONS)


@pytest.fixture(scope="module")
def variants(fasta: Fasta) -> list[Variant]:
    """Substitutions, an insertion, a deletion and a block, all with the REF of the genome."""
    chosen = random_substitutions(fasta, 12, seed=1)
    for start, length, alt in ((5000, 1, "ACGTACG"), (6000, 9, "A"), (7000, 3, "TTGCA"), (3, 1, "GG")):
        chosen.append(Variant("chr1", start + 1, fasta.fetch("chr1", start, start + length), alt))
    return chosen


def url(server: TritonServer, scheme: str = "grpc") -> str:
    host = server.grpc if scheme == "grpc" else server.http
    return f"{scheme}://{host}/borzoi_scorer"


@pytest.fixture
def remote(triton_server: TritonServer, toy_bundle: Bundle, fasta: Fasta) -> Iterator[RemoteScorer]:
    with RemoteScorer(url(triton_server), bundle=toy_bundle, fasta=fasta) as scorer:
        yield scorer


def same(got: ScoredVariant, want: ScoredVariant) -> bool:
    """Compare all but the number of the record; scores bit by bit, but where a logarithm is taken.

    The server has NumPy 1, whose log2 may differ from NumPy 2's in the last bit of float64, hence here in the last of
    float32.
    """
    sides = [(item.variant, item.status, item.detail, item.window_start, item.stitch_bin) for item in (got, want)]
    if sides[0] != sides[1] or (got.scores is None) != (want.scores is None):
        return False
    if got.scores is None or want.scores is None:
        return True
    pairs = {name: (got.scores[name], want.scores[name]) for name in OPTIONS.stats}
    if not np.allclose(*pairs.pop("logSED"), rtol=1e-6, atol=1e-9):
        return False
    return all(np.array_equal(*pair) for pair in pairs.values())


def score_locally(local: Scorer, variants: Sequence[Variant]) -> list[ScoredVariant]:
    return [local.score(VariantRecord(0, 0, variant)) for variant in variants]


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_scores_are_those_of_this_process(
    triton_server: TritonServer, local: Scorer, variants: list[Variant], scheme: str
) -> None:
    with RemoteScorer(url(triton_server, scheme)) as scorer:
        assert scorer.rows == ("cage+/-", "rna+/-", "dnase", "chip")
        got = scorer.score(variants)
        spent = scorer.counters.bytes_received
    want = score_locally(local, variants)
    assert all(map(same, got, want))
    assert {item.status for item in got} == {"ok"}
    assert any(item.stitch_bin is not None for item in got)
    # three statistics and four rows in float32, beside less than 50 bytes of status: never the coverage
    assert spent < len(variants) * (3 * 4 * 4 + 50)


def test_one_variant_that_cannot_be_scored_spoils_no_other(
    remote: RemoteScorer, local: Scorer, variants: list[Variant]
) -> None:
    bad = [
        Variant("chr9", 100, "A", "C"),
        Variant("chr1", 100, "ACGTTACGT", "C"),
        Variant("chr1", 99_999, "A", "C"),
        Variant("chr1", 500, local.fasta.fetch("chr1", 499, 500), "C" * 600),
    ]
    mixed = [variants[0], *bad, variants[1]]
    got = remote.score(mixed)
    assert [item.status for item in got[1:-1]] == ["contig_missing", "ref_mismatch", "out_of_bounds", "invalid_allele"]
    assert all(item.scores is None and item.detail for item in got[1:-1])
    assert all(map(same, got, score_locally(local, mixed)))


def test_symbolic_alleles_have_a_status(remote: RemoteScorer) -> None:
    got = remote.score([Variant("chr1", 100, "A", alt) for alt in ("<DEL>", "*", "ACXT")])
    assert [item.status for item in got] == ["symbolic_alt", "symbolic_alt", "invalid_allele"]


@pytest.mark.parametrize("pos", [-3, 2**31, 2**63 - 1])
def test_a_position_that_no_contig_has_is_a_status(triton_server: TritonServer, pos: int) -> None:
    """The good one beside it is answered."""
    with closing(Connection(Address.parse(url(triton_server)))) as connection:
        both = {name: np.concatenate([values, values]) for name, values in GOOD.items()}
        both["pos"] = np.array([[pos], [5]])
        (bad,), (good,) = connection.infer("borzoi_scorer", both, {"status": (2, 1)})["status"]
    assert bad == b"out_of_bounds"
    assert good in (b"ok", b"ref_mismatch")


def test_only_the_statistics_asked_for_come_back(remote: RemoteScorer, variants: list[Variant]) -> None:
    (got,) = remote.score(variants[:1], stats=["D2"])
    assert set(got.scores or {}) == {"D2"}
    with pytest.raises(InputError, match="computes SUM, logSED, D2, not 'JS'"):
        remote.score(variants[:1], stats=["JS"])


def test_windows_given_as_bases(remote: RemoteScorer, local: Scorer, fasta: Fasta) -> None:
    """The windows of a substitution give the scores of the substitution."""
    variant = random_substitutions(fasta, 1, seed=4)[0]
    (whole,) = score_locally(local, [variant])
    assert whole.window_start is not None
    ref = fasta.fetch(variant.chrom, whole.window_start, whole.window_start + 2048)
    offset = variant.pos - 1 - whole.window_start
    alt = ref[:offset] + variant.alt + ref[offset + 1 :]
    got, null = remote.score_windows([(ref, alt), (ref.lower(), ref)])
    assert all(np.allclose((got.scores or {})[name], (whole.scores or {})[name], rtol=1e-6) for name in OPTIONS.stats)
    assert all((values == 0).all() for values in (null.scores or {}).values())


def test_many_variants_in_order(remote: RemoteScorer, local: Scorer, fasta: Fasta) -> None:
    many = random_substitutions(fasta, 40, seed=7)
    got = list(remote.score_all(iter(many), batch=3))
    assert all(map(same, got, score_locally(local, many)))


def strings(*texts: bytes) -> np.ndarray:
    return np.array([[text] for text in texts], dtype=np.object_)


GOOD = {"chrom": strings(b"chr1"), "pos": np.array([[5]]), "ref": strings(b"A"), "alt": strings(b"C")}
HUGE = b"A" * 10_000_000


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({**GOOD, "pos": np.array([[5.0]])}, "(?i)data-?type|type"),
        ({**GOOD, "pos": np.array([5])}, "shape"),
        ({**GOOD, "chrom": strings(HUGE)}, "chrom of variant 0 has 10000000 letters; 1 to 256 are allowed"),
        ({**GOOD, "alt": strings(HUGE)}, "alt of variant 0 has 10000000 letters; 1 to 2048 are allowed"),
        ({**GOOD, "ref": strings(b"")}, "ref of variant 0 has 0 letters"),
        ({**GOOD, "ref": strings(b"\xff\xfe")}, "other bytes than ASCII"),
        ({name: GOOD[name] for name in ("chrom", "pos")}, "inputs chrom, pos; chrom, pos, ref and alt are needed"),
        ({**GOOD, "ref_sequence": strings(b"A")}, "chrom, pos, ref and alt are needed, or ref_sequence"),
        ({"ref_sequence": strings(HUGE), "alt_sequence": strings(b"A")}, "window of the model has 2048"),
        ({**GOOD, "other": strings(b"A")}, "other"),
        ({name: np.concatenate([values] * 65) for name, values in GOOD.items()}, "batch-size must be <= 64"),
    ],
)
def test_a_wrong_request_is_refused_and_the_next_is_served(
    triton_server: TritonServer, inputs: dict[str, np.ndarray], expected: str
) -> None:
    connection = Connection(Address.parse(url(triton_server)))
    with pytest.raises(InputError, match=expected):
        connection.infer("borzoi_scorer", inputs, {"status": None})
    assert connection.counters.retries == 0
    assert connection.infer("borzoi_scorer", GOOD, {"status": (1, 1)})["status"][0, 0] in (b"ok", b"ref_mismatch")
    connection.close()


def test_eight_clients_at_once_get_their_own_answers(
    triton_server: TritonServer, local: Scorer, fasta: Fasta, variants: list[Variant]
) -> None:
    """Requests of 1 to 4 variants, good and bad, over both protocols; each answer is compared with this process."""
    pool = [
        *random_substitutions(fasta, 60, seed=9),
        *variants,
        Variant("chr9", 1, "A", "C"),
        Variant("chr1", 1, "N", "C"),
    ]
    want = dict(zip(pool, score_locally(local, pool), strict=True))

    def client(number: int) -> int:
        random, right = np.random.default_rng(number), 0
        with RemoteScorer(url(triton_server, ("grpc", "http")[number % 2])) as scorer:
            for _ in range(40):
                chosen = [pool[number] for number in random.integers(0, len(pool), random.integers(1, 5))]
                right += all(same(item, want[item.variant]) for item in scorer.score(chosen))
        return right

    with ThreadPoolExecutor(8) as executor:
        assert list(executor.map(client, range(8))) == [40] * 8


def test_another_bundle_or_genome_is_refused(triton_server: TritonServer, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="serve this bundle"):
        RemoteScorer(url(triton_server), bundle=embedded_bundle())
    other = worlds.write_fasta(tmp_path / "other.fa", {"chr1": worlds.random_dna(500)})
    with Fasta(other) as genome, pytest.raises(BackendError, match=r"another genome than other\.fa"):
        RemoteScorer(url(triton_server), fasta=genome)


def test_the_plain_model_is_no_scorer(triton_server: TritonServer) -> None:
    with pytest.raises(InputError, match="is no scorer"):
        RemoteScorer(f"grpc://{triton_server.grpc}/borzoi")


def test_the_metrics_that_are_watched_exist(triton_server: TritonServer, remote: RemoteScorer, fasta: Fasta) -> None:
    remote.score(random_substitutions(fasta, 1))
    text = urllib.request.urlopen(f"http://{triton_server.metrics}/metrics", timeout=10).read().decode()
    for name in (
        "nv_inference_request_success",
        "nv_inference_queue_duration_us",
        "nv_inference_pending_request_count",
    ):
        assert f'{name}{{model="borzoi_scorer"' in text
