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
