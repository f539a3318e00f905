"""``borzoi-rt predict``: what the options become, and the line at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from borzoi_rt.backends.opening import open_session
from borzoi_rt.bundle.opening import open_bundle
from borzoi_rt.engine.options import PredictionOptions
from borzoi_rt.engine.prediction import Predictor
from borzoi_rt.genome.fasta import Fasta

if TYPE_CHECKING:
    from conftest import Cli, Desk  # type: ignore[attr-defined]

STARTS = [3050 - 1024, 250 - 1024]  # input windows of 2,048 bp around the regions of the desk


def expected(
    desk: Desk, positions: list[int], *, squashed: bool, unscale: bool | None, **options: object
) -> np.ndarray:
    bundle = open_bundle(desk.bundle)
    session = open_session(bundle, threads=1)
    where = np.array(positions)
    squash = bundle.squash(where, unscale=unscale)
    chosen = PredictionOptions(**options)  # type: ignore[arg-type]
    predictor = Predictor(session, bundle.tracks, squash, positions=where, options=chosen)
    with Fasta(desk.fasta) as genome:
        values = np.stack([predictor.window(genome, "chr1", start) for start in STARTS])
    session.close()
    return values if squashed else squash.inverse(values)


@pytest.mark.parametrize(
    ("arguments", "positions", "squashed", "unscale", "options"),
    [
        ([], range(6), False, None, {}),
        (["--tracks", "dnase,cage+"], [4, 0], False, None, {}),
        (["--squashed"], range(6), True, None, {}),
        (["--unscale"], range(6), False, True, {}),
        (["--rc", "--shifts", "0,5"], range(6), False, None, {"rc": True, "shifts": (0, 5)}),
    ],
)
def test_options_reach_the_prediction(
    cli: Cli,
    desk: Desk,
    arguments: list[str],
    positions: list[int],
    squashed: bool,
    unscale: bool | None,
    options: dict[str, object],
) -> None:
    ended = cli(*desk.predict(*arguments))
    assert (ended.code, ended.out) == (0, "")
    count = len(list(positions))
    folder = desk.folder / "coverage"
    assert ended.err == f"2 regions: {count + 2} files -> {folder}\n"
    with np.load(folder / "predictions.npz") as archive:
        want = expected(desk, list(positions), squashed=squashed, unscale=unscale, **options)
        assert_array_equal(archive["coverage"], want)


def test_an_existing_prediction_is_not_replaced(cli: Cli, desk: Desk) -> None:
    assert cli(*desk.predict()).code == 0
    ended = cli(*desk.predict("--squashed"))
    assert ended.code == 1
    assert (
        ended.err == f"error: {desk.folder / 'coverage'}: exists and is not an empty directory; choose another name\n"
    )


def test_a_variant(cli: Cli, desk: Desk) -> None:
    text = "".join(desk.fasta.read_text().splitlines()[1:])
    variant = f"chr1:3000:{text[2999]}:{'ACGT'[('ACGT'.index(text[2999]) + 1) % 4]}"
    out = desk.folder / "around"
    words = ["predict", "--variant", variant, *desk.model(), "--tracks", "dnase", "--out", out, "--format", "bedgraph"]
    ended = cli(*words)
    assert (ended.code, ended.out, ended.err) == (0, "", f"1 variant: 5 files -> {out}\n")
    names = {path.name for path in out.iterdir()}
    assert names == {f"4_dnase.{side}.bedgraph" for side in ("ref", "alt", "diff")} | {
        "predictions.npz",
        "predictions.json",
    }


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--variant", "chr1:3000:A:C", "--resume"], 1, "--resume is for regions; a variant is one job"),
        (["--variant", "chr1:3000:A:C", "--workers", "2"], 1, "--workers is for regions; a variant is one job"),
        (["REGIONS", "--format", "bigwig"], 1, "--format is for --variant; regions are written as bigWig"),
        (["REGIONS", "--variant", "chr1:3000:A:C"], 2, "give REGIONS, or a variant with --variant, and not both"),
        ([], 2, "give REGIONS, or a variant with --variant, and not both"),
    ],
)
def test_what_is_for_regions_alone_is_refused(cli: Cli, desk: Desk, words: list[str], code: int, message: str) -> None:
    given = [desk.bed if word == "REGIONS" else word for word in words]
    ended = cli("predict", *given, *desk.model(), "--out", desk.folder / "coverage")
    assert ended.code == code
    assert message in ended.err
    assert not (desk.folder / "coverage").exists()
