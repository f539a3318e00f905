"""One-hot DNA against Python strings."""

from __future__ import annotations

import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from oracles import dna

from borzoi_rt import sequence
from borzoi_rt.errors import InputError

LETTERS = st.text(alphabet="ACGTN", max_size=70)
FEW = settings(max_examples=60, deadline=None)


@pytest.mark.parametrize("text", ["", "A", "acgtN", string.printable, "A\u00c4G", "T\U0001f9ecC", "A" * 5001 + "T"])
def test_encode_is_one_column_a_character(text):
    assert_array_equal(sequence.encode(text), dna.onehot(text))


def test_every_byte_but_the_eight_letters_is_a_zero_column():
    every = bytes(range(256))
    got = sequence.encode(every)
    assert got.dtype == np.uint8
    assert bytes(np.flatnonzero(got.sum(axis=0)).astype(np.uint8)) == b"ACGTacgt"
    assert_array_equal(got, sequence.encode(bytearray(every)))
    assert_array_equal(got[:, list(b"ACGT")], np.eye(4))


@pytest.mark.parametrize("value", [None, 5, ["A"], np.frombuffer(b"ACGT", dtype=np.uint8)])
def test_encode_refuses_what_is_no_text(value):
    with pytest.raises(InputError, match="str or bytes is needed"):
        sequence.encode(value)


@FEW
@given(LETTERS)
def test_decode_undoes_encode(text):
    assert sequence.decode(sequence.encode(text)) == text


@FEW
@given(LETTERS)
def test_reverse_complement_is_that_of_the_letters_and_its_own_inverse(text):
    onehot = sequence.encode(text)
    other = sequence.reverse_complement(onehot)
    assert sequence.decode(other) == dna.other_strand(text)
    assert_array_equal(sequence.reverse_complement(other), onehot)


@pytest.mark.parametrize("shape", [(0, 4, 9), (3, 4, 0), (5, 4, 9), (2, 3, 4, 9), (4, 9)])
def test_reverse_complement_of_a_batch_is_that_of_each(shape):
    batch = np.random.default_rng(1).integers(0, 2, shape, dtype=np.uint8)
    got = sequence.reverse_complement(batch)
    assert_array_equal(got, batch[..., ::-1, ::-1])
    assert got.flags.c_contiguous
    strided = np.repeat(batch, 2, axis=-1)[..., ::2]
    assert_array_equal(sequence.reverse_complement(strided), got)


@pytest.mark.parametrize("column", [[1, 1, 0, 0], [0, 0, 2, 0]])
def test_decode_names_the_column_that_is_not_one_hot(column):
    onehot = sequence.encode("ACGTA")
    onehot[:, 3] = column
    with pytest.raises(InputError, match=f"column 3 is \\[{column[0]}, "):
        sequence.decode(onehot)


@pytest.mark.parametrize(
    ("array", "complaint"),
    [
        (np.zeros((4, 5), dtype=bool), "is bool"),
        (np.zeros((4, 5), dtype=np.float32), "is float32"),
        (np.zeros((5, 4), dtype=np.uint8), r"shape \(5, 4\)"),
        (np.zeros(4, dtype=np.uint8), r"shape \(4,\)"),
        ([[0]] * 4, "is list"),
    ],
)
@pytest.mark.parametrize(
    "function",
    [
        sequence.decode,
        sequence.reverse_complement,
        lambda array: sequence.apply_variant(array, 0, 0, ""),
        lambda array: list(sequence.substitutions(array)),
    ],
    ids=["decode", "reverse_complement", "apply_variant", "substitutions"],
)
def test_what_is_not_one_hot_uint8_is_refused(function, array, complaint):
    with pytest.raises(InputError, match=complaint):
        function(array)


@FEW
@given(st.data())
def test_apply_variant_splices_letters(data):
    text = data.draw(LETTERS)
    position = data.draw(st.integers(0, len(text)))
    ref_length = data.draw(st.integers(0, len(text) - position))
    alt = data.draw(st.text(alphabet="acgtACGTN", max_size=6))
    onehot = sequence.encode(text)
    got = sequence.apply_variant(onehot, position, ref_length, alt)
    assert_array_equal(got, dna.onehot(dna.replaced(text, position, text[position : position + ref_length], alt)))
    assert_array_equal(onehot, dna.onehot(text))


@pytest.mark.parametrize(("position", "ref_length"), [(-1, 1), (2, -1), (4, 2), (6, 0)])
def test_apply_variant_refuses_bases_outside(position, ref_length):
    with pytest.raises(InputError, match=rf"bases \[{position}, {position + ref_length}\).* 5 bases"):
        sequence.apply_variant(sequence.encode("ACGTA"), position, ref_length, "T")


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 64])
@pytest.mark.parametrize(("start", "end"), [(0, None), (2, 5), (3, 3), (6, 7)])
def test_substitutions_are_all_single_edits_in_order(batch_size, start, end):
    text = "ACNGTTA"
    want = [
        (column, base, text[:column] + letter + text[column + 1 :])
        for column in range(start, len(text) if end is None else end)
        for base, letter in enumerate("ACGT")
        if letter != text[column]
    ]
    onehot = sequence.encode(text)
    got, sizes = [], []
    for batch in sequence.substitutions(onehot, start, end, batch_size=batch_size):
        letters = [sequence.decode(row) for row in batch.sequence]
        got.extend(zip(batch.position.tolist(), batch.alt.tolist(), letters, strict=True))
        sizes.append(len(letters))
    assert got == want
    assert all(size == batch_size for size in sizes[:-1])
    assert_array_equal(onehot, dna.onehot(text))


def test_a_row_of_a_batch_is_itself_a_batch_ago_but_for_two_columns():
    """Edited in place: each batch restores one column of a row and sets another, in one buffer."""
    before, buffer = None, None
    for batch in sequence.substitutions(sequence.encode("ACGTACGTACGT"), batch_size=6):  # two positions a batch
        now = batch.sequence.copy()
        if before is not None:
            assert np.shares_memory(buffer, batch.sequence)
            assert ((now != before).any(axis=1).sum(axis=1) == 2).all()
        before, buffer = now, batch.sequence


def test_what_happens_to_the_window_between_batches_reaches_no_row():
    onehot = sequence.encode("ACGT")
    rows = []
    for batch in sequence.substitutions(onehot, batch_size=5):
        rows += [sequence.decode(row) for row in batch.sequence]
        onehot[:] = 0
    assert rows[:4] == ["CCGT", "GCGT", "TCGT", "AAGT"]
    assert rows[-1] == "ACGG"


@pytest.mark.parametrize("arguments", [(-1, 3), (4, 3), (0, 8)])
def test_substitutions_refuse_columns_outside(arguments):
    with pytest.raises(InputError, match="do not lie in a window of 7 bases"):
        next(sequence.substitutions(sequence.encode("ACNGTTA"), *arguments))


def test_substitutions_refuse_an_empty_batch():
    with pytest.raises(InputError, match="batch_size is 0"):
        next(sequence.substitutions(sequence.encode("ACG"), batch_size=0))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.sampled_from([1, 1, 2, 255]))
def test_packed_bases_are_equal_where_windows_are(seed, length, largest):
    draws = np.random.default_rng(seed)
    window = draws.integers(0, largest + 1, (4, length)).astype(np.uint8)
    other = window.copy()
    assert_array_equal(sequence.packed(window), sequence.packed(other))
    row, column = draws.integers(0, [4, length])
    other[row, column] += 1
    was, now = sequence.packed(window), sequence.packed(other)
    assert was.shape != now.shape or not np.array_equal(was, now)
    assert_array_equal(sequence.packed(sequence.encode("ACGTN")), [8, 4, 2, 1, 0])
