"""Motif files of many makers, in and out; what is damaged is named."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from numpy.testing import assert_allclose

from borzoi_rt.errors import FormatError, InputError
from borzoi_rt.motifs.files import read_motifs, write_jaspar, write_meme
from borzoi_rt.motifs.matrices import Motif


@pytest.mark.parametrize("write", [write_meme, write_jaspar])
def test_motif_files_round_trip(tmp_path, write):
    random = np.random.default_rng(2)
    motifs = [Motif(f"[T][A]_{width}", random.dirichlet(np.ones(4), width).T) for width in (1, 6, 30)]
    write(tmp_path / "m", motifs)
    back = read_motifs(tmp_path / "m")
    assert [motif.name for motif in back] == [motif.name for motif in motifs]
    for got, want in zip(back, motifs, strict=True):
        assert_allclose(got.matrix, want.matrix, atol=1e-5)  # six decimals, and counts of a thousand sites to three


def test_jaspar_counts_become_probabilities(tmp_path):
    (tmp_path / "m").write_text(">MA0001.1 TATA\nA [ 1 2 ]\nC [ 1 0 ]\nG [ 0 0 ]\nT [ 2 2 ]\n")
    (motif,) = read_motifs(tmp_path / "m")
    assert motif.name == "MA0001.1"
    assert_allclose(motif.matrix, [[0.25, 0.5], [0.25, 0], [0, 0], [0.5, 0.5]])


HEAD = "MEME version 4\n\nALPHABET= ACGT\n\nMOTIF m\nletter-probability matrix: alength= 4 w= 2 nsites= 9\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hello\n", "neither a MEME"),
        ("MEME version 4\n", "no motifs"),
        (HEAD + "1 0 0 0\n", "truncated"),
        (HEAD + "1 0 0\n0 1 0 0\n", "four numbers"),
        (HEAD + "1 0 0 x\n0 1 0 0\n", "line 7"),
        (HEAD + "-1 2 0 0\n0 1 0 0\n", "negative"),
        (HEAD.replace("ACGT", "ACDEF"), "ALPHABET"),
        ((HEAD + "1 0 0 0\n0 1 0 0\n") + HEAD[16:] + "1 0 0 0\n0 1 0 0\n", "two motifs"),
        (">m\nA [ 1 ]\nC [ 1 ]\nG [ 1 ]\n", "one row of equal length"),
        (">m\nA 1\n", "line 2"),
        (">m\nA [ 0 ]\nC [ 0 ]\nG [ 0 ]\nT [ 0 ]\n", "empty position"),
    ],
)
def test_damaged_motif_files_are_named(tmp_path, text, words):
    (tmp_path / "bad").write_text(text)
    with pytest.raises(FormatError, match=words) as caught:
        read_motifs(tmp_path / "bad")
    assert "bad" in str(caught.value)


def test_names_with_spaces_are_not_written(tmp_path):
    with pytest.raises(InputError, match="white space"):
        write_meme(tmp_path / "m", [Motif("a b", np.full((4, 1), 0.25))])


ROWS = "0.1 0.7 0.1 0.1\n0.7 0.1 0.1 0.1\n0.1 0.1 0.1 0.7\n"
WANT = [[0.1, 0.7, 0.1], [0.7, 0.1, 0.1], [0.1, 0.1, 0.1], [0.1, 0.1, 0.7]]


@pytest.mark.parametrize(
    "keys", ["", ":", ": alength= 4", ": w= 3", ":alength=4 w=3", ": nsites= 20 E= 1e-3", ": w = 3 alength = 4"]
)
@pytest.mark.parametrize("after", ["", "\n", "URL http://somewhere\n", "MOTIF n\nletter-probability matrix:\n" + ROWS])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_every_key_of_a_minimal_matrix_is_optional(tmp_path, keys, after, ends):
    text = f"MEME version 5\n\nALPHABET= ACGT\n\nMOTIF m one\nletter-probability matrix{keys}\n{ROWS}{after}"
    (tmp_path / "m").write_bytes(text.replace("\n", ends).encode())
    motifs = read_motifs(tmp_path / "m")
    assert [motif.label for motif in motifs] == ["m_one", "n"][: 1 + ("MOTIF" in after)]
    for motif in motifs:
        assert_allclose(motif.matrix, WANT)


def test_the_text_output_of_the_suite(tmp_path):
    rule, dashes = "*" * 80 + "\n", "-" * 80 + "\n"
    text = rule + "MEME - Motif discovery tool\n" + rule + "MEME version 5.5.2 (Release date: some day)\n" + rule
    text += "TRAINING SET\n" + rule + "ALPHABET= ACGT\nSequence name  Weight Length\nseq1 1.0 200\n"
    text += "Background letter frequencies (from file dataset with add-one prior applied):\nA 0.3 C 0.2 G 0.2 T 0.3\n"
    for name, tail in (("ACT MEME-1", "llr = 9"), ("2", "llr = 7")):
        text += rule + f"MOTIF {name}\twidth =   3  sites =  17  {tail}  E-value = 4.1e-009\n" + rule + dashes
        text += f"\tMotif {name} Description\n" + dashes + "Simplified        A  :1:\n"
        text += f"\tMotif {name} position-specific scoring matrix\n" + dashes
        text += "log-odds matrix: alength= 4 w= 3 n= 1764 bayes= 6.7 E= 4.1e-009\n"
        text += "  -90   120  -5  -9\n  90 1 2 3\n -1 -2 -3 9\n"
        text += dashes + f"\tMotif {name} position-specific probability matrix\n" + dashes
        text += "letter-probability matrix: alength= 4 w= 3 nsites= 17 E= 4.1e-009 \n " + ROWS + dashes
    (tmp_path / "m").write_text(text + "Time  1.0 secs.\n")
    motifs = read_motifs(tmp_path / "m")
    assert [(motif.name, motif.alternative) for motif in motifs] == [("ACT", "MEME-1"), ("2", "")]
    for motif in motifs:
        assert_allclose(motif.matrix, WANT)


def test_an_alphabet_written_out(tmp_path):
    block = 'ALPHABET "DNA" DNA-LIKE\nA "Adenine" CC0000 ~ T "Thymine" 008000\n'
    block += 'C "Cytosine" 0000CC ~ G "Guanine" FFB300\n'
    block += 'N "Any base" = ACGT\nR = AG\nEND ALPHABET\n'
    (tmp_path / "m").write_text(f"MEME version 4.12\n\n{block}\nMOTIF m\nletter-probability matrix:\n{ROWS}")
    assert_allclose(read_motifs(tmp_path / "m")[0].matrix, WANT)
    (tmp_path / "m").write_text(f'MEME version 4\nALPHABET "RNA"\nA\nC\nG\nU\nEND ALPHABET\nMOTIF m\n{ROWS}')
    with pytest.raises(FormatError, match="'ACGU'"):
        read_motifs(tmp_path / "m")


def test_jaspar_of_both_kinds_and_compressed(tmp_path):
    with_letters = ">MA0001.1\tAGL3\nA  [1 7 1]\nC  [ 7 1  1 ]\nG [1 1 1]\nT [1 1 7 ]\n"
    bare = "\n>MA0001.1 AGL3\n1 7 1\n7 1 1\n 1 1 1\n1 1 7.0\n\n"
    for text in (with_letters, bare):
        for content in (text.encode(), gzip.compress(text.encode())):
            (tmp_path / "m").write_bytes(content)
            (motif,) = read_motifs(tmp_path / "m")
            assert (motif.name, motif.alternative, motif.label) == ("MA0001.1", "AGL3", "MA0001.1_AGL3")
            assert_allclose(motif.matrix, WANT)


@pytest.mark.parametrize("write", [write_meme, write_jaspar])
def test_second_names_are_written(tmp_path, write):
    write(tmp_path / "m", [Motif("MA0139.1", np.array(WANT), "CTCF"), Motif("plain", np.array(WANT))])
    assert [motif.label for motif in read_motifs(tmp_path / "m")] == ["MA0139.1_CTCF", "plain"]


START = "MEME version 4\nALPHABET= ACGT\nMOTIF m\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (START, "'m' has no letter-probability matrix"),
        (START + "MOTIF n\nletter-probability matrix:\n" + ROWS, "'m' has no letter-probability matrix"),
        (START + "log-odds matrix: w= 1\n1 2 3 4\n", "'m' has no letter-probability matrix"),
        (START + "letter-probability matrix:\n", "four numbers"),
        (START + "letter-probability matrix: w= 2\n" + ROWS, "line 7: motif 'm' has more rows than w= 2"),
        (START + "letter-probability matrix: w= 4\n" + ROWS, "3 of 4 rows"),
        (START + "letter-probability matrix: alength= 20\n" + ROWS, "alength= 20"),
        (START + "letter-probability matrix:\n1 2 3 4\n", "sum to 10, not 1"),
        (START + "letter-probability matrix:\n0.5 0.1 0.1 nan\n", "negative"),
        (START + "letter-probability matrix:\n0.7 0.1 0.1 0.1\n0.7 0.1 0.1\n", "four numbers"),
        ("MEME version 4\nletter-probability matrix:\n" + ROWS, "MOTIF line"),
        (">m\n1 2\n1 2\n1 2\n1 2\n1 2\n", "line 6"),
        (">m\nA [ 1 ]\nA [ 1 ]\nC [ 1 ]\nG [ 1 ]\nT [ 1 ]\n", "a second row of A"),
    ],
)
def test_what_is_missing_or_too_much_is_named(tmp_path, text, words):
    (tmp_path / "bad").write_text(text)
    with pytest.raises(FormatError, match=words):
        read_motifs(tmp_path / "bad")
