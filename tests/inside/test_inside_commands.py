"""Commands that look inside: what they write, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas
import pytest
import worlds
from command_line import Cli, caller, check_error

pytest.importorskip("torch")

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.inside.activations import Activations
from borzoi_rt.sequence import encode

TEXT = worlds.random_dna(9000, seed=21)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("commands")
    fasta = worlds.write_fasta(folder / "toy.fa", {"chr1": TEXT})
    gtf = folder / "genes.gtf"
    rows = [("4301", "4350"), ("4501", "4580")]
    gtf.write_text(
        "".join(
            f'chr1\ttoy\texon\t{start}\t{end}\t.\t+\t.\tgene_id "G1"; transcript_id "T1"; gene_name "ACTB";\n'
            for start, end in rows
        )
    )
    return SimpleNamespace(folder=folder, fasta=fasta, gtf=gtf)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    return caller(monkeypatch, capsys)


def test_activations_of_a_region(cli: Cli, inside_bundle: Bundle, desk: SimpleNamespace, tmp_path: Path) -> None:
    model = ("--bundle", inside_bundle.path, "--fasta", desk.fasta)
    where = ("--region", "chr1:4,400-4,500", "--layer", "tower_3", "--units", "2,0-1")
    code, _, err = cli("activations", *where, *model, "--out", tmp_path / "a.tsv")
    assert code == 0, err
    table = pandas.read_csv(tmp_path / "a.tsv", sep="\t")
    assert list(table.columns) == ["name", "chrom", "start", "end", "allele", "u2", "u0", "u1"]
    window_start = 4449 - 2048
    first, last = (4399 - window_start) // 8, -(-(4500 - window_start) // 8)
    assert table.start.tolist() == [window_start + 8 * position for position in range(first, last)]
    assert (table.end - table.start == 8).all()
    with Fasta(desk.fasta) as genome, Activations(inside_bundle) as inside:
        window = encode(genome.fetch("chr1", window_start, window_start + 4096))
        want = inside.of(window, "tower_3", units=[2, 0, 1], positions=(first, last)).values.T
    np.testing.assert_allclose(table[["u2", "u0", "u1"]].to_numpy(), want, rtol=1e-6)


def test_embed_writes_what_pandas_reads(cli: Cli, inside_bundle: Bundle, desk: SimpleNamespace, tmp_path: Path) -> None:
    model = ("--bundle", inside_bundle.path, "--fasta", desk.fasta)
    bed = tmp_path / "in.bed"
    bed.write_text("chr1\t4390\t4465\tone\nchr1\t4000\t4100\ttwo\n")
    assert cli("embed", "--bed", bed, *model, "--out", tmp_path / "e.parquet")[0] == 0
    table = pandas.read_parquet(tmp_path / "e.parquet")
    assert table.name.tolist() == ["one", "two"]
    assert table.status.tolist() == ["ok", "ok"]
    assert table.shape == (2, 9 + 32)
    genes = ("--gene", "ACTB", "--genes", desk.gtf)
    assert cli("embed", *genes, *model, "--layer", "layer_1", "--out", tmp_path / "g.tsv")[0] == 0
    told = pandas.read_json(tmp_path / "g.tsv.meta.json", typ="series")
    assert (told.region, told.layer) == ("exons", "layer_1")
    other = "A" if TEXT[4499] != "A" else "C"
    code, _, err = cli("embed", "--variant", f"chr1:4500:{other}:G", *model, "--out", tmp_path / "v.tsv")
    assert code == 0
    assert "note: 2 of 2 rows have no embedding; the first: " in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("activations", "--region", "chr1:1-9", "--variant", "chr1:4:G:A"), "give one of --region, --bed and"),
        (("activations", "--region", "chr1:4000-4009", "--layer", "tower_9"), "layer 'tower_9' is unknown"),
        (("activations", "--region", "chr1:4000-4009", "--units", "99"), "unit 99 is not there"),
        (("embed",), "give one of --region, --bed, --variant, --vcf and --gene"),
        (("embed", "--gene", "ACTB"), "--gene is looked up in --genes"),
        (("embed", "--region", "chr1:4000-4009", "--layer", "stem"), "layer 'stem' is not embedded"),
    ],
)
def test_what_does_not_go_together(
    cli: Cli, inside_bundle: Bundle, desk: SimpleNamespace, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    ended = cli(*words, "--bundle", inside_bundle.path, "--fasta", desk.fasta, "--out", tmp_path / "o.h5")
    check_error(ended, said)
    assert not (tmp_path / "o.h5").exists()


def test_an_older_bundle_is_told_to_be_exported_again(
    cli: Cli, gradient_bundle: Bundle, desk: SimpleNamespace, tmp_path: Path
) -> None:
    where = ("activations", "--region", "chr1:4000-4009", "--bundle", gradient_bundle.path, "--fasta", desk.fasta)
    check_error(cli(*where, "--out", tmp_path / "o.h5"), "export the model again")
