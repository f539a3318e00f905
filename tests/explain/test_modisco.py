"""TF-MoDISco itself, run on what ``--modisco`` writes: its pattern is the planted word, its seqlets are where it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import worlds

from borzoi_rt.explain.attr_file import StoredRow, write_attributions
from borzoi_rt.explain.outputs import modisco_of
from borzoi_rt.explain.rows import Row
from borzoi_rt.explain.where import Where, anchored
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.sequence import encode

pytest.importorskip("modiscolite", reason="TF-MoDISco is not installed: pip install modisco")

WORD, WIDTH, ROWS = "TGACTCAGCA", 121, 160  # an odd width
NOISE = 0.02


def planted(folder: Path) -> tuple[str, list[tuple[int, str]], Path]:
    """A contig with a word in every stretch of 150 bases, on either strand; its attributions; where the words are."""
    random = np.random.default_rng(7)
    letters = bytearray("".join(random.choice(list("ACGT"), 150 * ROWS)), "ascii")
    sites, stored = [], []
    for row in range(ROWS):
        at, strand = 150 * row + int(random.integers(25, 85)), "+-"[row % 2]
        text = WORD if strand == "+" else worlds.reverse_complement(WORD)
        letters[at : at + len(WORD)] = text.encode()
        sites.append((at, strand))
    genome = letters.decode()
    for row, (at, strand) in enumerate(sites):
        start = 150 * row
        scores = random.normal(0.0, NOISE, (4, WIDTH))
        wanted = encode(WORD).astype(np.float64) - 0.25
        wanted = wanted if strand == "+" else wanted[::-1, ::-1]
        scores[:, at - start : at - start + len(WORD)] += wanted * random.uniform(0.98, 1.02)
        bases = Interval("chr1", start, start + WIDTH)
        where = Where(window_start=start, anchor=anchored("chr1", start, start + WIDTH))
        codes = encode(genome[start : start + WIDTH]).argmax(axis=0).astype(np.uint8)
        arrays = {"hypothetical": (scores - scores.mean(axis=0)).astype(np.float32)}
        stored.append(StoredRow(Row(name=f"r{row}", bases=bases, where=where), codes, 1.0, arrays, {}))
    write_attributions(folder / "a.h5", iter(stored), ROWS, WIDTH, {})
    return genome, sites, folder / "a.h5"


def test_patterns_are_the_planted_word_and_seqlets_lie_on_it(tmp_path):
    genome, sites, attributions = planted(tmp_path)
    folder = tmp_path / "modisco"
    folder.mkdir()
    modisco_of(attributions, folder)
    even = WIDTH - 1
    program = Path(sys.executable).with_name("modisco")
    words = ["motifs", "-s", folder / "ohe.npz", "-a", folder / "attr.npz", "-n", 2000, "-w", even]
    words += ["-o", tmp_path / "m.h5"]
    subprocess.run([sys.executable, str(program), *map(str, words)], check=True)
    bed = [line.split("\t") for line in (folder / "rows.bed").read_text().splitlines()]
    covered, offsets = set(), set()
    with h5py.File(tmp_path / "m.h5") as found:
        assert list(found) == ["pos_patterns"]
        assert list(found["pos_patterns"]) == ["pattern_0"]
        pattern = found["pos_patterns/pattern_0"]
        consensus = "".join("ACGT"[code] for code in pattern["sequence"][()].argmax(axis=1))
        turned = WORD not in consensus
        assert (worlds.reverse_complement(WORD) if turned else WORD) in consensus
        seqlets = {name: pattern["seqlets"][name][()] for name in ("example_idx", "start", "end", "is_revcomp")}
        shown = pattern["seqlets/sequence"][()]
    for row, start, end, reverse, onehot in zip(*seqlets.values(), shown, strict=True):
        # The mapping that docs/explanation.md gives; the window is the whole width, so that its offset is 0.
        low, high = int(bed[row][1]) + int(start), int(bed[row][1]) + int(end)
        text = genome[low:high]
        read = "".join("ACGT"[code] for code in onehot.argmax(axis=1))
        assert read == (worlds.reverse_complement(text) if reverse else text)
        at, strand = sites[row]
        covered.add(int(row))
        assert low <= at
        assert at + len(WORD) <= high
        assert (strand == "-") == (bool(reverse) != turned)
        offsets.add(at - low if not reverse else high - at - len(WORD))
    assert len(offsets) == 1  # seqlets of a pattern are aligned
    assert len(covered) > 0.4 * ROWS  # TF-MoDISco keeps the strongest windows of fixed share
