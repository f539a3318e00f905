"""The commands that make, judge, ask and measure a server, and the same work done here and there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import Cli, caller, check_error, options
from triton_servers import need_packages

from borzoi_rt.backends.opening import open_session
from borzoi_rt.backends.parity import replay_golden
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.cli.triton import devices_of
from borzoi_rt.serving.local.launcher import TritonServer


@pytest.fixture(autouse=True)
def packages() -> None:
    need_packages()


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    return caller(monkeypatch, capsys)


@pytest.fixture
def vcf(triton_genome: Path, tmp_path: Path) -> Path:
    bases = triton_genome.read_text().split(">chr2")[0].replace("\n", "").removeprefix(">chr1")
    rows = [f"chr1\t{pos}\t.\t{bases[pos - 1]}\t{'ACGT'.replace(bases[pos - 1], '')[0]}" for pos in (3000, 5000, 5001)]
    path = tmp_path / "in.vcf"
    path.write_text("##fileformat=VCFv4.2\n" + "\n".join([*rows, "chr7\t5\t.\tA\tC"]) + "\n")
    return path


def both(cli: Cli, words: list[object], server: TritonServer, out: Path) -> tuple[Path, Path]:
    """Run a command here and on the server and return both outputs."""
    here, there = out.with_name(f"here-{out.name}"), out.with_name(f"there-{out.name}")
    for path, more in ((here, []), (there, [f"--device=triton:grpc://{server.grpc}/borzoi"])):
        code, _, err = cli(*words, *options(out=path), *more)
        assert code == 0, err
    return here, there


def test_score_and_ism_write_the_same_tables(
    cli: Cli, triton_server: TritonServer, toy_bundle: Bundle, triton_genome: Path, vcf: Path, tmp_path: Path
) -> None:
    common = options(bundle=toy_bundle.path, fasta=triton_genome, stats="logSED,D2")
    for words in (["score", vcf, "--rc"], ["score", vcf, "--full"], ["ism", "chr1:4,001-4,004", "--span=300"]):
        here, there = both(cli, [*words, *common], triton_server, tmp_path / "scores.tsv")
        assert here.read_bytes() == there.read_bytes()
        assert here.read_text().count("\n") > 10


def test_predict_writes_the_same_coverage(
    cli: Cli, triton_server: TritonServer, toy_bundle: Bundle, triton_genome: Path, tmp_path: Path
) -> None:
    (tmp_path / "regions.bed").write_text("chr1\t3000\t3100\nchr2\t1000\t1001\n")
    words = ["predict", tmp_path / "regions.bed", *options(bundle=toy_bundle.path, fasta=triton_genome, tracks="rna")]
    here, there = both(cli, words, triton_server, tmp_path / "coverage")
    with np.load(here / "predictions.npz") as one, np.load(there / "predictions.npz") as other:
        assert one["coverage"].shape == (2, 2, 32)
        assert np.array_equal(one["coverage"], other["coverage"])


def test_a_server_takes_no_threads(
    cli: Cli, toy_bundle: Bundle, triton_genome: Path, vcf: Path, tmp_path: Path
) -> None:
    files = options(bundle=toy_bundle.path, fasta=triton_genome, out=tmp_path / "o.tsv")
    result = cli("score", vcf, *files, "--device=triton:grpc://127.0.0.1:1/borzoi", "--threads=2")
    check_error(result, "triton:grpc://127.0.0.1:1/borzoi computes on a server; leave threads out")


def without(table: Path, column: str) -> list[list[str]]:
    """Return the rows of a table but for one column, which a server of scores does not answer."""
    rows = [line.split("\t") for line in table.read_text().splitlines()]
    where = rows[0].index(column)
    return [row[:where] + row[where + 1 :] for row in rows]


@pytest.mark.parametrize("option", ["--tile-cache=tiles", "--verify-fraction=0.5", "--fused"])
def test_a_scorer_on_a_server_refuses_what_it_would_ignore(
    cli: Cli,
    triton_server: TritonServer,
    toy_bundle: Bundle,
    triton_genome: Path,
    vcf: Path,
    tmp_path: Path,
    option: str,
) -> None:
    files = options(bundle=toy_bundle.path, fasta=triton_genome, out=tmp_path / "o.tsv", stats="D2")
    result = cli("score", vcf, *files, f"--device=triton:grpc://{triton_server.grpc}/borzoi_scorer", option)
    check_error(result, "computes as its server was set up; leave out the options of the engine")


def test_a_scorer_on_a_server_writes_the_same_table(
    cli: Cli, triton_server: TritonServer, toy_bundle: Bundle, triton_genome: Path, vcf: Path, tmp_path: Path
) -> None:
    """Variants go there and scores come back; SUM and D2 take no logarithm, so that they have the same bits."""
    files = options(bundle=toy_bundle.path, fasta=triton_genome, stats="D2,SUM")
    here, there = tmp_path / "here.tsv", tmp_path / "there.tsv"
    scorer = f"--device=triton:grpc://{triton_server.grpc}/borzoi_scorer"
    for out, more in ((here, ["--threads=1"]), (there, [scorer]), (tmp_path / "two.tsv", [scorer, "--workers=2"])):
        code, _, err = cli("score", vcf, *files, *options(out=out), *more)
        assert code == 0, err
    kept = without(here, "stronger_strand")
    for path in (there, tmp_path / "two.tsv"):
        assert without(path, "stronger_strand") == kept
    assert len(kept) > 10
    check_error(
        cli("score", vcf, *options(bundle=toy_bundle.path, fasta=triton_genome, out=here, stats="JS"), scorer),
        "computes SUM, logSED, D2, not 'JS'",
    )
    check_error(cli("score", vcf, *files, *options(out=here), scorer, "--rc"), "scores with prediction")


def test_a_server_that_does_not_answer_is_one_line(
    cli: Cli, toy_bundle: Bundle, triton_genome: Path, vcf: Path, tmp_path: Path
) -> None:
    files = options(bundle=toy_bundle.path, fasta=triton_genome, out=tmp_path / "o.tsv")
    result = cli("score", vcf, *files, "--device=triton:grpc://127.0.0.1:1/borzoi?retry=0")
    check_error(result, "grpc://127.0.0.1:1/borzoi")
    assert not (tmp_path / "o.tsv").exists()


def test_repo_and_lint(cli: Cli, toy_bundle: Bundle, triton_genome: Path, tmp_path: Path) -> None:
    out = tmp_path / "models"
    words = ["triton", "repo", toy_bundle.path, *options(out=out, name="fold1", fasta=triton_genome, stats="D2")]
    code, _, err = cli(*words, "--queue-size=5", "--tensorrt")
    assert (code, "fold1_scorer" in err) == (0, True)
    assert "max_queue_size: 5" in (out / "fold1" / "config.pbtxt").read_text()
    assert cli("triton", "lint", out)[0] == 0
    check_error(cli(*words), "has a model 'fold1")
    config = out / "fold1" / "config.pbtxt"
    config.write_text(config.read_text().replace("TYPE_UINT8", "TYPE_FP32"))
    check_error(cli("triton", "lint", out), "'sequence' is TYPE_FP32, the graph has TYPE_UINT8")


def test_repo_with_genes(cli: Cli, toy_bundle: Bundle, triton_genome: Path, tmp_path: Path) -> None:
    """The annotation becomes part of the model; another makes another version."""
    versions = []
    for start in (4901, 4902):
        gtf, out = tmp_path / f"{start}.gtf", tmp_path / f"models-{start}"
        gtf.write_text(f'chr1\tx\texon\t{start}\t5100\t.\t+\t.\tgene_id "G";\n')
        words = ["triton", "repo", toy_bundle.path, "--out", out, "--fasta", triton_genome, "--genes", gtf]
        assert cli(*words, "--stats", "SUM@exons")[0] == 0
        (version,) = (path for path in (out / "borzoi_scorer").iterdir() if path.name.isdecimal())
        assert (version / "annotation").read_bytes() == gtf.read_bytes()
        assert cli("triton", "lint", out)[0] == 0
        versions.append(version.name)
    assert versions[0] != versions[1]
    check_error(
        cli(*words[:-2], "--stats", "SUM@exons"), "SUM@exons is a score of genes; give their annotation (genes)"
    )


def test_serve_prints_the_line_for_production(cli: Cli, triton_repository: Path, tmp_path: Path) -> None:
    check_error(cli("triton", "serve", tmp_path, "--docker"), "holds no model")
    code, out, err = cli("triton", "serve", triton_repository, "--docker")
    assert code == 0, err
    assert out.startswith("docker run --rm --gpus=all")
    assert out.count("\n") == 1  # a line to paste; what is to be done first stands beside it
    assert "docker build -f deploy/Dockerfile -t borzoi-rt-triton:latest ." in err


def test_addresses_to_paste(tmp_path: Path) -> None:
    for name in ("fold1", "fold1_body", "fold1_scorer"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.pbtxt").touch()
    scorer, graph = devices_of(tmp_path, "127.0.0.1:8001")
    assert scorer == "to use it: --device triton:grpc://127.0.0.1:8001/fold1_scorer (score)"
    assert graph.startswith("to use it: --device triton:grpc://127.0.0.1:8001/fold1 (")


def test_check_replays_the_golden_example(cli: Cli, triton_server: TritonServer, toy_bundle: Bundle) -> None:
    url = f"grpc://{triton_server.grpc}/borzoi"
    code, out, _ = cli("triton", "check", url, *options(bundle=toy_bundle.path, calls=5))
    assert code == 0
    golden, heads, row = out.splitlines()
    session = open_session(toy_bundle)
    assert golden == f"golden example: {replay_golden(session, toy_bundle)}"  # one onnxruntime on one machine
    session.close()
    found = dict(zip(heads.split("\t"), row.split("\t"), strict=True))
    assert (found["calls"], found["failed"]) == ("5", "0")
    assert 0 < float(found["p50_ms"]) <= float(found["p90_ms"]) <= float(found["p99_ms"])
    check_error(cli("triton", "check", f"{url}x", *options(bundle=toy_bundle.path)), "unknown model: 'borzoix'")


def test_bench_measures_both_sides(
    cli: Cli, triton_server: TritonServer, toy_bundle: Bundle, triton_genome: Path
) -> None:
    url = f"grpc://{triton_server.grpc}/borzoi_scorer"
    files = options(bundle=toy_bundle.path, fasta=triton_genome, url=url)
    code, out, err = cli("bench", "latency", *files, *options(calls=6, concurrency="1,3", rates="50"))
    assert code == 0, err
    rows = [line.split("\t")[:4] for line in out.splitlines()[1:]]
    loads = ("1 at once", "3 at once", "50 a second")
    assert rows == [[where, load, "6", "0"] for load in loads for where in ("in process", "triton")]
