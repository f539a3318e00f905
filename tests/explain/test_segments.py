"""Stretches that are given: of a BED file, or hits of motifs; what lies outside of them is never touched."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import toy_objectives as toys
import worlds
from command_line import caller, check_error
from numpy.testing import assert_allclose, assert_array_equal

from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import InputError
from borzoi_rt.explain.attr_file import read_attributions
from borzoi_rt.explain.methods import METHODS, read_options
from borzoi_rt.explain.rows import Segment, region_rows, variant_rows
from borzoi_rt.explain.segments import absent, read_segments
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.genome.variants import Variant
from borzoi_rt.model import open_model
from borzoi_rt.sequence import decode, encode

LENGTH, BASES = 300, (100, 200)
TILES = [(104, 112), (112, 120), (150, 153)]  # two adjacent, one apart
OF_STRETCHES = [*((name, {}) for name in ("occlusion", "shuffle", "deletion", "shap", "lime"))]
OF_STRETCHES += [("shap", {"sampling": "kernel", "samples": 40})]
TEXT = worlds.random_dna(6000, seed=51)


@pytest.fixture(scope="module")
def window() -> np.ndarray:
    found = encode(worlds.random_dna(LENGTH, seed=5))
    found[:, 108] = 0  # an unknown base
    return found


@pytest.fixture(scope="module")
def weights() -> np.ndarray:
    return np.random.default_rng(7).normal(size=(4, LENGTH))


def explain(name: str, objective: object, window: np.ndarray, tiles=TILES, **options: object):
    return METHODS[name].run(
        objective, window, BASES, read_options(name, {"segments": "bed:x", **options}), tiles=tiles
    )


def watched(objective, seen: list[np.ndarray]):
    plain = objective.values
    objective.values = lambda sequences: (seen.extend(sequences.copy()), plain(sequences))[1]
    return objective


@pytest.mark.parametrize(("name", "options"), OF_STRETCHES, ids=str)
def test_nothing_else_is_touched(name, options, window, weights):
    seen: list[np.ndarray] = []
    found = explain(name, watched(toys.linear(weights), seen), window, **options)
    inside = np.zeros(LENGTH, dtype=bool)
    for low, high in TILES:
        inside[low:high] = True
    if name != "deletion":  # which moves what is around
        changed = np.any([(held != window).any(axis=0) for held in seen], axis=0)
        assert not changed[~inside].any()
        assert changed[inside].mean() > 0.5
    own = inside[slice(*BASES)]
    assert_array_equal(found.hypothetical[:, ~own], 0.0)
    assert np.isnan(found.arrays["effect"][~own]).all()
    assert np.isfinite(found.arrays["effect"][own]).all()
    assert found.facts["stretches"] == 3
    # Of each stretch the sum over its known bases is its effect.
    for low, high in TILES:
        part = slice(low - BASES[0], high - BASES[0])
        assert_allclose(
            found.projected(window[:, slice(*BASES)])[part].sum(), found.arrays["effect"][part][0], rtol=1e-9
        )


def test_of_a_linear_objective_a_stretch_counts_its_weight(window, weights):
    own = np.array([(weights * window)[:, low:high].sum() for low, high in TILES])
    starts = [low - BASES[0] for low, _ in TILES]
    assert_allclose(explain("occlusion", toys.linear(weights), window).arrays["effect"][starts], own, rtol=1e-9)
    # Against the mean of what was put there, for every method that puts something there.
    for name, options in (("shuffle", {"samples": 3}), ("shap", {"samples": 4}), ("shap", {"sampling": "kernel"})):
        seen: list[np.ndarray] = []
        found = explain(name, watched(toys.linear(weights), seen), window, **options)
        if name == "shap" and not options.get("sampling"):
            references = [held for held in seen if all((held != window)[:, low:high].any() for low, high in TILES)]
            mean = np.mean(references, axis=0)
            want = own - [(weights * mean)[:, low:high].sum() for low, high in TILES]
            assert_allclose(found.arrays["effect"][starts], want, rtol=1e-9)
        if name == "shap":
            assert_allclose(found.facts["completeness_delta"], 0.0, atol=1e-9)


def test_one_stretch_has_all_of_the_difference(window, weights):
    for sampling in ("permutation", "kernel"):
        found = explain("shap", toys.smooth(weights), window, [(150, 160)], sampling=sampling)
        assert_allclose(found.arrays["effect"][50], found.facts["difference"], rtol=1e-9)


def test_what_is_absent_comes_from_around_it(window):
    found = absent(window, TILES, np.random.default_rng(1))
    again = absent(window, TILES, np.random.default_rng(1))
    assert_array_equal(found, again)
    assert_array_equal(found[:, 108], 0)
    # Only letters that are around: the surroundings hold no G but in the stretch.
    text = "ACT" * 200 + "G" * 10 + "ACT" * 200
    other = absent(encode(text), [(600, 610)], np.random.default_rng(0))
    assert decode(other)[:600] + decode(other)[610:] == "ACT" * 400
    assert decode(other)[600:610].count("G") < 10


def test_stretches_must_be_in_order(window, weights):
    for tiles in ([], [(104, 104)], [(104, 112), (110, 120)], [(112, 120), (104, 112)], [(90, 104)], [(190, 201)]):
        with pytest.raises(InputError, match="are not ascending and apart in the bases"):
            explain("occlusion", toys.linear(weights), window, tiles)
    with pytest.raises(InputError, match="leave one of the two out"):
        read_options("shap", {"segments": "bed:x", "tile_bp": 8})
    with pytest.raises(InputError, match="were not looked up"):
        METHODS["shap"].run(toys.linear(weights), window, BASES, read_options("shap", {"segments": "bed:x"}))
    assert read_options("shap", {}).tile_bp == 128
    assert read_options("lime", {"segments": "bed:x"}).tile_bp is None


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("segments")
    meme = folder / "m.meme"
    sites = {"M1": TEXT[3010:3020], "M2": TEXT[3015:3026], "M3": worlds.reverse_complement(TEXT[3040:3050])}
    lines = ["MEME version 4\n\nALPHABET= ACGT\n"]
    for name, site in sites.items():
        lines.append(f"\nMOTIF {name}\nletter-probability matrix: alength= 4 w= {len(site)} nsites= 20 E= 0")
        lines += [" ".join("0.97" if base == letter else "0.01" for base in "ACGT") for letter in site]
    meme.write_text("\n".join(lines) + "\n")
    return SimpleNamespace(folder=folder, meme=meme, fasta=worlds.write_fasta(folder / "toy.fa", {"chr1": TEXT}))


@pytest.fixture(scope="module")
def genome(desk):
    with Fasta(desk.fasta) as opened:
        yield opened


def bed(desk, *lines: str):
    path = desk.folder / "s.bed"
    path.write_text("".join("\t".join(line.split()) + "\n" for line in lines))
    return read_segments(f"bed:{path}")


def test_intervals_of_a_bed(desk, genome, toy_bundle):
    grid = toy_bundle.geometry
    (row,) = region_rows([Interval("chr1", 3000, 3060)], genome, grid)
    lines = ["chr1 3040 3050 c", "1 3010 3020 a", "chr1 3020 3030", "chr1 2990 3003 left", "chr1 3055 3070 right"]
    source = bed(desk, *lines, "chr1 100 200 far", "chr9 3000 3010 other")
    (found,) = source.of([row], genome, grid)
    assert source.label == "bed:s.bed"
    assert found.segments == (
        Segment(0, 3, "left", True),
        Segment(10, 20, "a", False),
        Segment(20, 30, "3", False),
        Segment(40, 50, "c", False),
        Segment(55, 60, "right", True),
    )
    with pytest.raises(InputError, match="segments a and b overlap at chr1:3020; merge them"):
        bed(desk, "chr1 3010 3020 a", "chr1 3019 3030 b").of([row], genome, grid)
    empty = bed(desk, "chr1 100 200 far")
    with pytest.raises(InputError, match=r"none of bed:s\.bed lies in these bases"):
        empty.of([row], genome, grid)
    other = region_rows([Interval("chr1", 90, 150)], genome, grid)[0]
    kept = empty.of([row, other], genome, grid)
    assert [item.status for item in kept] == ["no_segment", "ok"]
    with pytest.raises(InputError, match="none of"):
        empty.of([row, other], genome, grid, keep=False)


def test_intervals_move_with_an_allele(desk, genome, toy_bundle):
    """An insertion of 4 bases at 3020 moves what is behind it, and none of its own bases belongs to either stretch."""
    variant = Variant("chr1", 3020, TEXT[3019], TEXT[3019] + "ACGT")
    rows = variant_rows(variant, genome, toy_bundle.geometry, width_bp=60)
    source = bed(desk, "chr1 3005 3015 before", "chr1 3025 3035 behind")
    ref, alt = source.of(rows, genome, toy_bundle.geometry)
    first = ref.bases.start
    assert [(item.start, item.end) for item in ref.segments] == [
        (3005 - first, 3015 - first),
        (3025 - first, 3035 - first),
    ]
    assert [(item.start, item.end) for item in alt.segments] == [
        (3005 - first, 3015 - first),
        (3029 - first, 3039 - first),
    ]
    held = alt.window(genome, toy_bundle.geometry)[:, alt.columns[0] : alt.columns[1]]
    behind = alt.segments[1]
    assert decode(np.ascontiguousarray(held[:, behind.start : behind.end])) == TEXT[3025:3035]


def test_hits_of_motifs(desk, genome, toy_bundle):
    pytest.importorskip("lightmotif", reason="extra promoter")
    grid = toy_bundle.geometry
    (row,) = region_rows([Interval("chr1", 3000, 3060)], genome, grid)
    source = read_segments(f"motifs:{desk.meme}")
    (found,) = source.of([row], genome, grid)
    # M2 is longer, hence scores higher, than M1, with which it overlaps; M3 is on the other strand.
    held = {(item.start, item.end): item.name for item in found.segments}
    assert held[15, 26] == "M2(+)"
    assert held[40, 50] == "M3(-)"
    assert (10, 20) not in held
    ends = [edge for item in found.segments for edge in (item.start, item.end)]
    assert ends == sorted(ends)


@pytest.mark.parametrize("text", ["x.bed", "bed:", "gff:x", ""])
def test_what_is_no_source_is_refused(text):
    with pytest.raises(InputError, match="write bed:FILE or motifs:FILE"):
        read_segments(text)


def test_from_the_command_line_and_from_python(desk, monkeypatch, capsys, toy_bundle: Bundle):
    call, path = caller(monkeypatch, capsys), desk.folder / "c.bed"
    path.write_text("chr1\t3005\t3012\tone\nchr1\t3012\t3020\ttwo\nchr1\t3110\t3115\tthree\n")
    rows = desk.folder / "rows.bed"
    rows.write_text("chr1\t3000\t3060\nchr1\t3200\t3260\nchr1\t3100\t3160\n")
    words = ["explain", "--bundle", toy_bundle.path, "--fasta", desk.fasta, "--target", "SUM", "--bed", rows]
    words += ["--method", "shap", "--samples", 2, "--segments", f"bed:{path}"]
    ended = call(*words, "--out", desk.folder / "a.h5")
    assert ended[0] == 0, ended
    assert "2 ok, 1 no_segment" in ended[2]
    held = read_attributions(desk.folder / "a.h5")
    assert held.about["options"]["segments"] == "bed:c.bed"
    assert list(held.arrays["status"]) == ["ok", "no_segment", "ok"]
    told = [json.loads(text).get("segments") for text in held.arrays["facts"]]
    assert [(item["name"], item["start"], item["end"], item["cut"]) for item in told[0]] == [
        ("one", 3005, 3012, False),
        ("two", 3012, 3020, False),
    ]
    assert_allclose([item["effect"] for item in told[0]], held.arrays["effect"][0][[5, 12]], rtol=1e-6)
    assert told[1] is None
    assert [item["name"] for item in told[2]] == ["three"]
    with open_model(toy_bundle, fasta=desk.fasta) as model:
        options = {"samples": 2, "segments": f"bed:{path}"}
        found = model.explain("SUM", "chr1:3,001-3,060", method="shap", options=options)
        assert_allclose(found.projected, held.projected[0], rtol=1e-5, atol=1e-7)
        assert found.facts["segments"] == told[0]
        made = model.explain_compare("SUM", "chr1:3,001-3,060", methods=("shap", "occlusion"), options=options)
        assert [item["name"] for item in made.explanations["occlusion"].facts["segments"]] == ["one", "two"]
    wrong = ["--out", desk.folder / "wrong.h5"]
    check_error(call(*words, "--tile-bp", 8, *wrong), "leave one of the two out")
    check_error(call(*words[:-2], "--segments", "bed:none.bed", *wrong), "none.bed")
    letters = path.read_bytes()
    check_error(call(*words, *wrong, "--seqlets", path), "c.bed: is an input, which is never written over")
    assert path.read_bytes() == letters
    ism = [word if word != "shap" else "ism" for word in words if word not in ("--samples", 2)]
    check_error(call(*ism, *wrong), "method 'ism' has no option 'segments'")
    assert not (desk.folder / "wrong.h5").exists()
