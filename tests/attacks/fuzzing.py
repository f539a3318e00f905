"""How files are spoilt at random: bytes cut out, repeated, replaced by what readers trip over."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from borzoi_rt.errors import BorzoiError

# Examples of one fuzzer: a minute for all of them in CI; `make fuzz` sets more, and then every run draws others.
EXAMPLES = int(os.environ.get("BORZOI_RT_FUZZ", "120"))
fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="BORZOI_RT_FUZZ" not in os.environ,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

_TOKENS = st.sampled_from(
    [
        *(
            b"",
            b"\0",
            b"\t",
            b"\n",
            b"\r\n",
            b" ",
            b"-1",
            b"0",
            b"1e309",
            b"nan",
            b"9223372036854775808",
            b"#",
            b">",
            b".",
        ),
        *(
            b"\xff\xfe",
            b"\xef\xbb\xbf",
            b"\xc3",
            b"\x1f\x8b",
            b"*",
            b"<DEL>",
            b"N[chr1:1[",
            b'"',
            b"\\",
            b"\x1b[2J",
            b"A" * 5000,
        ),
    ]
)


@st.composite
def spoilt(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """Return one of the seeds after up to six changes."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 12))
        kind = draw(st.integers(0, 3))
        if kind == 0:
            del data[at : at + length]
        elif kind == 1:
            data[at:at] = data[at : at + length] * draw(st.integers(1, 50))
        elif kind == 2:
            data[at : at + length] = draw(_TOKENS)
        else:
            data[at : at + 1] = draw(st.binary(max_size=4))
    return bytes(data)


def read_or_refuse(read: Callable[[Path], Any], path: Path) -> None:
    """Read a file: it is accepted, or refused with one line; anything else is a finding."""
    try:
        read(path)
    except BorzoiError as error:
        text = str(error)
        if not 0 < len(text) < 4000 or "\n" in text:
            pytest.fail(f"not one line: {text[:200]!r}")
