"""Explanations by a served scorer: those of this process, bounded, and an answer to every wrong request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import worlds
from command_line import caller, check_error
from numpy.testing import assert_allclose, assert_array_equal
from triton_servers import OPTIONS, need_packages, server_environment

from borzoi_rt.backends.triton import Address, Connection
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import InputError
from borzoi_rt.explain.answer import Answer
from borzoi_rt.explain.attr_file import read_attributions
from borzoi_rt.explain.explainer import Explainer, ExplainOptions
from borzoi_rt.explain.remote import RemoteExplainer
from borzoi_rt.explain.rows import gene_row, region_rows, variant_rows
from borzoi_rt.explain.target import TargetSpec
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.genes import Gene
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.genome.variants import Variant
from borzoi_rt.model import open_model
from borzoi_rt.serving.config import Limits
from borzoi_rt.serving.local.launcher import TritonServer
from borzoi_rt.serving.repository import write_repository

TEXT = worlds.random_dna(9000, seed=41)
TEXT = TEXT[:6000] + "N" * 40 + TEXT[6040:]
EXONS = np.array([[4300, 4350], [4500, 4580]])
GENE = Gene("G1", "ACTB", "", "chr1", "-", EXONS, (EXONS[1:], EXONS))


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return worlds.write_fasta(tmp_path_factory.mktemp("genome") / "g.fa", {"chr1": TEXT})


@pytest.fixture(scope="module")
def genome(fasta: Path) -> Iterator[Fasta]:
    with Fasta(fasta) as opened:
        yield opened


@pytest.fixture(scope="module")
def server(gradient_bundle: Bundle, toy_bundle: Bundle, fasta: Path, tmp_path_factory: Any) -> Iterator[TritonServer]:
    """A server of two scorers: one whose bundle has gradient graphs, and ``plain``, whose bundle has none."""
    need_packages()
    out = tmp_path_factory.mktemp("served") / "models"
    limits = Limits(explain_passes=300)
    names = write_repository(gradient_bundle, out, fasta=fasta, options=OPTIONS, limits=limits)
    assert not [name for name in names if "gradient" in name], "gradient graphs are no models of their own"
    write_repository(toy_bundle, out, name="plain", fasta=fasta, options=OPTIONS)
    with TritonServer(out, environment=server_environment()) as running:
        yield running


def url(server: TritonServer, model: str = "borzoi_scorer", scheme: str = "grpc") -> str:
    return f"{scheme}://{server.grpc if scheme == 'grpc' else server.http}/{model}"


@pytest.fixture
def remote(server: TritonServer, gradient_bundle: Bundle, genome: Fasta) -> Iterator[RemoteExplainer]:
    opened = RemoteExplainer(url(server), bundle=gradient_bundle, fasta=genome)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def local(gradient_bundle: Bundle, genome: Fasta) -> Iterator[Explainer]:
    with Explainer(gradient_bundle, genome) as opened:
        yield opened


REGION = Interval("chr1", 4400, 4430)
CASES = [
    ("saliency", "log SUM", {}),
    ("ixg", "logSED@span:400", {}),
    ("ism", "SUM", {"convention": "mean3"}),
    ("ig", "log SUM@exons", {"steps": 3, "references": 2, "seed": 4}),
    ("smoothgrad", "MEAN@center:100", {"samples": 2}),
    ("expected-gradients", "SUM@tss:60", {"samples": 3}),
]


@pytest.mark.parametrize(("method", "target", "options"), CASES)
def test_explanations_are_those_of_this_process(remote, local, genome, method, target, options):
    """Bit by bit as float32 holds them, but for logarithms, whose last bit is another in the server's NumPy."""
    spec = TargetSpec.parse(target, tracks="cage,rna", against="dnase" if method == "saliency" else None)
    gene = GENE if spec.of_genes else None
    (row,) = region_rows([REGION], genome, local.bundle.geometry, gene=gene)
    chosen = ExplainOptions(method=method, options=options, rc=method == "saliency")
    got, want = remote.explain(row, spec, chosen), local.explain(row, spec, chosen)
    same = (
        assert_array_equal if target == "SUM" else lambda one, other: assert_allclose(one, other, rtol=2e-5, atol=1e-9)
    )
    same(got.hypothetical, want.hypothetical.astype(np.float32))
    assert_allclose(got.value, want.value, rtol=1e-12)
    assert (got.codes == want.codes).all()
    assert (got.about, got.projected_only, got.interval) == (want.about, want.projected_only, want.interval)
    assert set(got.attribution.arrays) == set(want.attribution.arrays)
    assert set(got.facts) == set(want.facts)
    assert remote.counters.bytes_received < 4 * 4 * 30 * 3 + 2000, "kilobytes"


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("alt", ["T", "ACGTACG"])
def test_both_haplotypes_of_a_variant(remote, local, genome, index, alt):
    ref = TEXT[4429]
    variant = Variant("chr1", 4430, ref, alt if alt != ref else "G")
    row = variant_rows(variant, genome, local.bundle.geometry, width_bp=24)[index]
    spec, chosen = TargetSpec.parse("SUM@span:300", tracks="cage"), ExplainOptions(method="ism")
    got, want = remote.explain(row, spec, chosen), local.explain(row, spec, chosen)
    assert_array_equal(got.attribution.arrays["effects"], want.attribution.arrays["effects"].astype(np.float32))
    assert got.sequence == want.sequence


def test_a_part_of_a_row_keeps_its_window(remote, local, genome):
    """Also one in which every base is unknown."""
    (row,) = region_rows([Interval("chr1", 5990, 6010)], genome, local.bundle.geometry)
    spec, chosen = TargetSpec.parse("SUM@span:300", tracks="cage"), ExplainOptions(method="ism")
    whole = local.explain(row, spec, chosen)
    for low, high in ((0, 4), (12, 16)):
        got = remote.explain(row.part(low, high), spec, chosen)
        want = whole.attribution.arrays["effects"][:, low:high].astype(np.float32)
        assert_array_equal(got.attribution.arrays["effects"], want)


def test_a_whole_gene(remote, local, genome):
    row = gene_row(GENE, genome, local.bundle.geometry)
    spec, chosen = TargetSpec.parse("log SUM@exons", tracks="cage,rna"), ExplainOptions()
    got, want = remote.explain(row, spec, chosen), local.explain(row, spec, chosen)
    assert_allclose(got.hypothetical, want.hypothetical, rtol=1e-4, atol=1e-7)
    assert got.about["target"]["tracks_count"] == [2]  # those of the strand of the gene


def test_from_python_and_the_command_line(server, gradient_bundle, fasta, tmp_path, monkeypatch, capsys):
    device = f"triton:{url(server)}"
    with (
        open_model(gradient_bundle, fasta=fasta, device=device) as model,
        open_model(gradient_bundle, fasta=fasta) as own,
    ):
        for method in ("saliency", "ism"):
            got, want = (
                opened.explain("SUM", "chr1:4,401-4,410", tracks="cage", method=method) for opened in (model, own)
            )
            assert_array_equal(got.scores, want.scores.astype(np.float32))
        with pytest.raises(InputError, match="method 'shap' is not served; a scorer explains by saliency"):
            model.explain("SUM", "chr1:4,401-4,410", method="shap")
    call, bed = caller(monkeypatch, capsys), tmp_path / "in.bed"
    bed.write_text("chr1\t4400\t4440\nchr1\t6010\t6050\nchr1\t5981\t6021\n")
    words = ["explain", "--bundle", gradient_bundle.path, "--fasta", fasta, "--bed", bed, "--target", "SUM"]
    for name, more in (
        ("here.h5", ()),
        ("there.h5", ("--device", device)),
        ("two.h5", ("--device", device, "--workers", 2)),
    ):
        code, _, err = call(*words, "--method", "ism", "--out", tmp_path / name, *more)
        assert code == 0, err
    held = [read_attributions(tmp_path / name) for name in ("here.h5", "there.h5", "two.h5")]
    for name, values in held[0].arrays.items():
        assert_array_equal(held[1].arrays[name], values, err_msg=name)
    assert held[1].about["device"] == device
    assert (tmp_path / "there.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    out = ["--out", tmp_path / "wrong.h5", "--device", device]
    check_error(call(*words, "--method", "lime", *out), "method 'lime' is not served")
    check_error(call(*words, "--tile-bp", 3, "--method", "occlusion", *out), "is not served")
    assert not (tmp_path / "wrong.h5").exists()


def test_a_bundle_without_gradient_graphs_says_so(server, toy_bundle, genome):
    opened = RemoteExplainer(url(server, "plain_scorer"), bundle=toy_bundle, fasta=genome)
    (row,) = region_rows([Interval("chr1", 4400, 4403)], genome, toy_bundle.geometry)
    spec = TargetSpec.parse("SUM", tracks="cage")
    with pytest.raises(InputError, match="no gradient graphs, which 'saliency' needs; serve one that was exported"):
        opened.explain(row, spec, ExplainOptions())
    assert opened.explain(row, spec, ExplainOptions(method="ism")).scores.shape == (4, 3)
    opened.close()
    document = json.dumps({"chrom": "chr1", "start": 4400, "end": 4403})
    with pytest.raises(InputError, match="has no gradient graphs; export the model again"):
        ask(server, document, model="plain_scorer")
    with pytest.raises(InputError, match="is no scorer"):
        RemoteExplainer(url(server, "borzoi"), bundle=toy_bundle, fasta=genome)


def ask(server: TritonServer, *documents: str, model: str = "borzoi_scorer", scheme: str = "grpc") -> list[Any]:
    connection = Connection(Address.parse(url(server, model, scheme)))
    try:
        inputs = {"explain": np.array([[text.encode()] for text in documents], dtype=np.object_)}
        names = ("status", "detail", "explanation")
        found = connection.infer(model, inputs, {name: (len(documents), 1) for name in names})
        return [tuple(found[name][row, 0].decode() for name in names) for row in range(len(documents))]
    finally:
        connection.close()


GOOD = {"method": "ism", "target": "SUM", "tracks": [0], "chrom": "chr1", "start": 4400, "end": 4402}


def document(**more: Any) -> str:
    return json.dumps({**GOOD, **more})


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_what_is_wrong_with_a_row_is_its_status(server, local, genome, scheme):
    rows = ask(
        server,
        document(chrom="chr9"),
        document(),
        document(start=8999, end=9001),
        document(target="SUM@exons", gene={"chrom": "chr2", "strand": "+", "exons": [[1, 2]]}),
        document(target="SUM@exons", gene={"chrom": "chr1", "strand": "+", "exons": [[1, 2]]}, window_start=4000),
        document(window_start=0),
        scheme=scheme,
    )
    expected = ["contig_missing", "ok", "out_of_bounds", "no_target", "no_target", "out_of_window"]
    assert [status for status, _, _ in rows] == expected
    assert all(bool(detail) == (status != "ok") for status, detail, _ in rows)
    good = Answer.from_text(rows[1][2], 2)
    (row,) = region_rows([Interval("chr1", 4400, 4402)], genome, local.bundle.geometry)
    want = local.explain(row, TargetSpec.parse("SUM", tracks="0"), ExplainOptions(method="ism"))
    assert_array_equal(good.arrays["effects"], want.attribution.arrays["effects"].astype(np.float32))


EXON = {"chrom": "chr1", "strand": "+", "exons": [[4400, 4500]]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense", "explain is no JSON"),
        ("[" * 100_000, "explain is no JSON"),
        ("[]", "explain is a list; an object is needed"),
        ('{"start": NaN}', "NaN is no number"),
        (document(method="magic"), "method 'magic' is unknown; a scorer explains by saliency, ixg"),
        (document(method="shap"), "method 'shap' is not served"),
        (document(options={"steps": 4}), "method 'ism' has no option 'steps'"),
        (document(other=1), "explain has the unknown field 'other'"),
        (document(start="4400"), "start of explain is '4400', which is of the wrong kind"),
        (document(start=True), "start of explain is True"),
        (document(end=4400), "explain is of 0 bases; 1 to 4096 are allowed"),
        (document(end=2**62), "end lies outside every contig"),
        (document(end=4400 + 5000), "explain is of 5000 bases; 1 to 4096 are allowed"),
        (document(end=4500), "explain costs 401 passes of the network; 300 are allowed"),
        (document(method="ig", options={"steps": 10**30}), "passes of the network; 300 are allowed"),
        (document(method="smoothgrad", options={"kept": "x"}), "kept"),
        (document(tracks=[0, 6]), "tracks holds 6; whole numbers from 0 to 5"),
        (document(tracks=[]), "tracks holds 0 numbers; 1 to 6"),
        (document(tracks="cage"), "tracks of explain is 'cage', which is of the wrong kind"),
        (document(target={"stat": "SUM", "tracks": "(a+)+$"}), "tracks of a target are numbers beside it"),
        (document(target={"stat": 5}), "stat of target is 5, which is of the wrong kind"),
        (document(target={"stat": "D2"}), "target 'D2' is unknown"),
        (document(target="SUM@exons"), "target SUM@exons is of a gene; give one"),
        (document(target={"stat": "SUM", "pseudo": 1e300, "log": True}), "pseudo of target"),
        (document(gene={**EXON, "exons": [[5, 2]]}), "gene has the exon"),
        (document(gene={**EXON, "exons": [[5, 10**30]]}), "gene has the exon"),
        (document(gene={**EXON, "exons": []}), "gene has no exon"),
        (document(gene={**EXON, "strand": "x"}), "strand of gene is 'x'"),
        (document(gene={**EXON, "isoforms": [3]}), "isoforms of gene hold something else"),
        (document(variant="chr1:4430"), "cannot be read"),
        (document(allele="alt"), "allele is of a variant"),
        (document(variant=f"chr1:4430:{TEXT[4429]}:G", window_start=1), "leave out window_start"),
        (document(n_code="maybe"), "n_code 'maybe' is unknown"),
        (document(chrom="c" * 300), "1 to 256 ASCII letters are needed"),
        ("{" + " " * 2**20 + "}", "1048576 are allowed"),
    ],
)
def test_a_wrong_request_is_refused_and_the_next_is_served(server, text, said):
    with pytest.raises(InputError) as told:
        ask(server, text)
    assert said in str(told.value)
    assert ask(server, document())[0][0] == "ok"


def test_passes_of_all_rows_of_a_request_count(server):
    assert len(ask(server, *[document(end=4410)] * 7)) == 7
    with pytest.raises(InputError, match="explain costs 328 passes of the network; 300 are allowed"):
        ask(server, *[document(end=4410)] * 8)


def test_scores_are_served_beside(server):
    """One model: the same genome, the same tiles; and the two kinds of request are not mixed."""
    connection = Connection(Address.parse(url(server)))
    variant = {"chrom": b"chr1", "ref": TEXT[4999].encode(), "alt": b"N"}
    inputs = {name: np.array([[text]], dtype=np.object_) for name, text in variant.items()}
    inputs["pos"] = np.array([[5000]])
    assert connection.infer("borzoi_scorer", inputs, {"status": (1, 1)})["status"][0, 0] in (b"ok", b"invalid_allele")
    inputs["explain"] = np.array([[document().encode()]], dtype=np.object_)
    with pytest.raises(InputError, match="chrom, pos, ref and alt are needed, or ref_sequence and alt_sequence, or"):
        connection.infer("borzoi_scorer", inputs, {"status": None})
    connection.close()


def test_the_example_of_the_page_runs(server, capsys):
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
    (code,) = (block for block in page.split("```") if "tritonclient.http" in block)
    exec(code.removeprefix("python").replace("127.0.0.1:8000", server.http), {})
    assert np.isfinite(float(capsys.readouterr().out))
