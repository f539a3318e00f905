"""The soak's own eyes: an answer that differs in one bit is seen."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
from triton_servers import OPTIONS

from borzoi_rt.backends.opening import open_session
from borzoi_rt.bundle.opening import Bundle
from soak.client import VARIANTS, WINDOWS, _same
from soak.driver import known_answers


def test_one_bit_is_seen(toy_bundle: Bundle, triton_genome: Path) -> None:
    known = known_answers(toy_bundle, triton_genome, OPTIONS)
    assert known["whole"].shape == known["tiled"].shape == (WINDOWS, 6, 32)
    assert {len(known[stat]) for stat in ("SUM", "logSED", "D2")} == {VARIANTS}
    with closing(open_session(toy_bundle)) as session:
        ask = _same(session, known, "whole")
        assert ask(3)
        known["whole"][3, 2, 7] = np.nextafter(known["whole"][3, 2, 7], np.float32(9))
        assert not ask(3)
        assert ask(4)
