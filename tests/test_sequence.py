"""One-hot DNA: letters in and out, the other strand, alleles, substitutions edited in place."""

from __future__ import annotations

import string
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from oracles import onehot as oracle

from borzoi_rt.errors import InputError
from borzoi_rt.sequence import apply_variant, decode, encode, reverse_complement, substitutions

few = settings(deadline=None, max_examples=60)
dna = st.text("ACGTNacgtnRY", max_size=70)
known = st.text("ACGT", max_size=70)


@given(dna)
@few
def test_encode_is_the_oracle_for_text_and_bytes(text: str) -> None:
    want = oracle.encode(text)
    for given_as in (text, text.encode(), bytearray(text.encode())):
        got = encode(given_as)
        assert_array_equal(got, want)
        assert got.dtype == np.uint8


def test_every_byte_is_one_column_and_only_eight_are_known() -> None:
    got = encode(bytes(range(256)))
    assert_array_equal(got, oracle.encode("".join(map(chr, range(256)))))
    assert got.sum() == 8  # ACGT and acgt


@pytest.mark.parametrize("letter", sorted(set(string.ascii_letters + "-*. é𝔸") - set("ACGTacgt")))
def test_every_other_letter_is_a_column_of_zeros_and_shifts_nothing(letter: str) -> None:
    """IUPAC codes, U and characters of several bytes included."""
    assert_array_equal(encode(f"A{letter}T"), [[1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 10_001])
def test_decode_undoes_encode(length: int) -> None:
    text = "".join(np.random.default_rng(length).choice(list("ACGTN"), length))
    assert decode(encode(text)) == text


def test_decode_reads_a_slice() -> None:
    assert decode(encode("AACCGGTTN")[:, 1::2]) == "ACGT"


@given(dna)
@few
def test_reverse_complement_is_that_of_the_letters_and_its_own_inverse(text: str) -> None:
    onehot = encode(text)
    other = reverse_complement(onehot)
    assert decode(other) == oracle.reverse_complement(text)
    assert_array_equal(reverse_complement(other), onehot)


def test_reverse_complement_of_a_batch_is_one_by_one() -> None:
    texts = ["ACGTN", "TTTAC", "GGNCA", "AAAAC", "CCCTN", "NNNNA"]
    batch = np.stack([encode(text) for text in texts]).reshape(2, 3, 4, 5)
    batch.flags.writeable = False
    got = reverse_complement(batch)
    assert got.shape == batch.shape
    assert got.flags.c_contiguous
    assert [decode(row) for row in got.reshape(6, 4, 5)] == [oracle.reverse_complement(text) for text in texts]


@pytest.mark.parametrize("shape", [(4, 0), (0, 4, 7), (2, 4, 0)])
def test_reverse_complement_of_nothing(shape: tuple[int, ...]) -> None:
    assert reverse_complement(np.zeros(shape, dtype=np.uint8)).shape == shape


@given(known, known, st.data())
@few
def test_apply_variant_is_text_surgery(text: str, alt: str, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(text)))
    ref_length = data.draw(st.integers(0, len(text) - position))
    onehot = encode(text)
    got = apply_variant(onehot, position, ref_length, alt)
    assert decode(got) == text[:position] + alt + text[position + ref_length :]
    assert decode(onehot) == text
    assert not np.shares_memory(got, onehot)
    back = apply_variant(got, position, len(alt), text[position : position + ref_length].encode())
    assert_array_equal(back, onehot)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 64, 1000])
@pytest.mark.parametrize(
    ("text", "start", "end"), [("ACGTNACCGT", 0, None), ("ACGTNACCGT", 3, 6), ("NNN", 0, 3), ("TTGAC", 2, 3)]
)
def test_substitutions_are_a_refill_of_every_row(text: str, start: int, end: int | None, batch_size: int) -> None:
    onehot = encode(text)
    seen = []
    for batch in substitutions(onehot, start, end, batch_size=batch_size):
        assert 1 <= len(batch.sequence) <= batch_size
        seen += [
            (int(position), int(row), decode(window))
            for position, row, window in zip(batch.position, batch.alt, batch.sequence, strict=True)
        ]
    assert seen == oracle.substitutions(text, start, len(text) if end is None else end)
    assert decode(onehot) == text


def test_only_the_last_batch_is_short_and_all_share_one_buffer() -> None:
    batches = list(substitutions(encode("ACGTACGT"), batch_size=10))  # 8 known bases x 3 = 24 rows
    assert [len(batch.sequence) for batch in batches] == [10, 10, 4]
    assert all(np.shares_memory(batches[0].sequence, batch.sequence) for batch in batches[1:])


def test_a_row_differs_from_itself_a_batch_ago_in_two_columns() -> None:
    """Restoring one column and setting another is all that a batch may cost."""
    before = None
    for batch in substitutions(encode("ACGTACGTACGTACGT"), batch_size=6):  # two positions a batch, 16 / 2 batches
        now = batch.sequence.copy()
        if before is not None:
            assert ((now != before).any(axis=1).sum(axis=1) == 2).all()
        before = now


def test_the_window_may_change_between_batches() -> None:
    """The reference is taken once: what happens to the caller's array later does not leak into a row."""
    onehot = encode("ACGT")
    rows = []
    for batch in substitutions(onehot, batch_size=5):
        rows += [decode(window) for window in batch.sequence]
        onehot[:] = 0
    assert rows == [text for _, _, text in oracle.substitutions("ACGT", 0, 4)]


@pytest.mark.parametrize("place", [0, 2, 4])
def test_an_empty_range_has_no_substitutions(place: int) -> None:
    assert list(substitutions(encode("ACGT"), place, place)) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: encode(None), "NoneType; str or bytes"),
        (lambda: encode(list("ACGT")), "list; str or bytes"),
        (lambda: decode(np.zeros((4, 3))), "float64; a uint8 array"),
        (lambda: decode([[1], [0], [0], [0]]), "list; a uint8 array"),
        (lambda: decode(encode("ACG").T), r"\(3, 4\); \(\.\.\., 4, length\)"),
        (lambda: decode(encode("ACG")[None]), r"\(1, 4, 3\)"),
        (lambda: decode(encode("ACG") * np.uint8(2)), r"column 0 is \[2, 0, 0, 0\]"),
        (lambda: decode(encode("AAA") | encode("NNC")), r"column 2 is \[1, 1, 0, 0\]; at most one 1"),
        (lambda: decode(encode("NNC") * np.uint8(255) + encode("NNG")), r"column 2 is \[0, 255, 1, 0\]"),
        (lambda: reverse_complement(np.zeros(4, dtype=np.uint8)), r"\(4,\)"),
        (lambda: reverse_complement(np.zeros((2, 5, 4), dtype=np.uint8)), r"\(2, 5, 4\)"),
        (lambda: apply_variant(encode("ACGT"), -1, 1, "A"), r"bases \[-1, 0\) do not lie in a sequence of 4"),
        (lambda: apply_variant(encode("ACGT"), 3, 2, "A"), r"bases \[3, 5\)"),
        (lambda: apply_variant(encode("ACGT"), 3, -1, "A"), r"bases \[3, 2\)"),
        (lambda: apply_variant(encode("ACGT"), 0, 1, 5), "int; str or bytes"),
        (lambda: next(substitutions(encode("ACGT"), -1, 2)), r"columns \[-1, 2\) do not lie in a window of 4"),
        (lambda: next(substitutions(encode("ACGT"), 3, 2)), r"columns \[3, 2\)"),
        (lambda: next(substitutions(encode("ACGT"), 0, 5)), r"columns \[0, 5\)"),
        (lambda: next(substitutions(encode("ACGT"), batch_size=0)), "batch_size is 0"),
    ],
)
def test_wrong_arguments_are_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
