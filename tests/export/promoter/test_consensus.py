"""Consensus motifs: which kernels are taken, their names, their curves, their files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from borzoi_export.models.promoter import build, set_kernels
from borzoi_export.promoter.consensus import Kernels, across_tissues, centred, is_motif, within_tissue
from borzoi_export.promoter.store import arranged, named, read_consensus, write_consensus
from numpy.testing import assert_allclose, assert_array_equal
from promoter_toys import small_config

from borzoi_rt.errors import FormatError, InputError
from borzoi_rt.motifs.files import read_motifs
from borzoi_rt.sequence import encode

WIDTH = 15


def kernel(word: str, start: int = 4, noise: float = 0.05, seed: int = 0) -> np.ndarray:
    m = noise * np.random.default_rng(seed).normal(size=(4, WIDTH))
    m[:, start : start + len(word)] += encode(word)
    return m


def net(name: str, *kernels: np.ndarray) -> Kernels:
    stack = np.stack(kernels)
    curves = np.random.default_rng(len(name)).normal(size=(2, 2 * len(stack), 21))
    return Kernels.of_layers(stack, curves, name)


@pytest.fixture
def nets() -> list[Kernels]:
    """Three nets that share GATTACA (moved and turned); two share CCGGAA; each has a kernel of noise."""
    noise = [kernel("", noise=0.5, seed=seed) for seed in (10, 11, 12)]
    turned = kernel("GATTACA", 6, seed=3)[::-1, ::-1]
    return [
        net("n0", noise[0], kernel("GATTACA", 4, seed=1), kernel("CCGGAA", 5, seed=4)),
        net("n1", kernel("GATTACA", 2, seed=2), noise[1], kernel("CCGGAA", 3, seed=5)),
        net("n2", turned, noise[2], kernel("TTTTTTT", noise=0.01)),
    ]


def test_motifs_are_what_enough_nets_share(nets):
    found = within_tissue(nets)
    assert sorted(zip(found.size, [source.split(":")[0] for source in found.source], strict=True))[-1][0] == 3
    assert sorted(found.size) == [2, 3]
    strict = within_tissue(nets, share=0.7)
    assert strict.size == (3,)
    with pytest.raises(InputError, match="more than"):
        within_tissue([nets[0]], share=1.0)


def test_nets_of_chance_share_no_motif():
    """Kernels of noise have no consensus, however many nets: what is found is not made by looking."""
    luck = [net(f"n{one}", *(kernel("", noise=0.5, seed=10 * one + two) for two in range(3))) for one in range(3)]
    with pytest.raises(InputError, match="no motif"):
        within_tissue(luck)


def test_curves_come_with_their_kernel_both_strands(nets):
    found = within_tissue(nets)
    for row, source in enumerate(found.source):
        name, number = source.split(":")
        origin = nets[int(name[1:])]
        assert_array_equal(found.kernel[row], origin.kernel[int(number)])
        assert_array_equal(found.forward[row], origin.forward[int(number)])
        assert_array_equal(found.reverse[row], origin.reverse[int(number)])
    # In a layer of 3 kernels the curve of kernel m on the other strand is channel 3 + m.
    layer = nets[0].effect
    assert_array_equal(nets[0].reverse[1], layer[:, 4])


def test_repeats_of_one_letter_and_kernels_without_end_are_no_motifs():
    assert is_motif(kernel("GATTACA", noise=0.01))
    assert not is_motif(kernel("TTTTTTT", noise=0.01))
    assert not is_motif(np.zeros((4, WIDTH)))
    assert not is_motif(kernel("ACGTACGTACGTACG", 0, noise=0.01))


def test_a_member_that_is_a_motif_stands_for_the_others():
    """Cleaning leaves one letter of the two nets that agree best, all letters of the third; published: none is left."""
    plain = kernel("GATTACA", noise=0.0)
    heavy = plain * np.array([1.5, 1.0, 1.0, 1.0])[:, None]
    assert (is_motif(plain), is_motif(heavy)) == (True, False)
    three = [net(name, m) for name, m in (("n0", heavy), ("n1", heavy), ("n2", plain))]
    found = within_tissue(three)
    assert (found.source, found.size) == (("n2:0",), (3,))
    with pytest.raises(InputError, match="no motif"):
        within_tissue(three, compat=True)


def test_tissues_share_motifs(nets):
    first = within_tissue(nets)
    second = net("other", kernel("GATTACA", 4, seed=8), kernel("ACACGTGT", 3, seed=9))
    merged = across_tissues([first, second])
    # GATTACA of three nets of the first tissue and one of the second, CCGGAA of two, ACACGTGT of one.
    assert sorted(zip(merged.size, merged.tissues, strict=True)) == [(1, 1), (2, 1), (4, 2)]
    alone = across_tissues([first])
    assert (sorted(alone.size), alone.tissues) == ([2, 3], (1, 1))
    with pytest.raises(InputError, match="no tissues"):
        across_tissues([])


def test_the_published_range_of_shifts_is_an_option():
    # 10 of 15 moves to the left: a motif that lies further left in the second net is out of reach.
    left, right = net("l", kernel("GATTACA", 2, seed=1)), net("r", kernel("GATTACA", 5, seed=2))
    assert within_tissue([left, right]).size == within_tissue([right, left]).size == (2,)
    assert within_tissue([left, right], compat=True).size == (2,)
    with pytest.raises(InputError, match="no motif"):
        within_tissue([right, left], compat=True)


def test_centring_leaves_the_network_as_it_was():
    config = small_config(
        1, sequence_length_bp=600, tss_bp=400, effect_width=121, motif_width=WIDTH, motif_names=("a", "b"), scored=2
    )
    torch.manual_seed(0)
    model = build(config).eval()
    off = Kernels.of_layers(
        np.stack([kernel("GATTACA", 1, noise=0.0), kernel("CCGGAA", 8, noise=0.0)]),
        np.pad(np.random.default_rng(1).normal(size=(2, 4, 81)), ((0, 0), (0, 0), (20, 20))),
        "n",
    )
    middle = centred(off)
    assert not np.array_equal(middle.kernel, off.kernel)
    x = torch.nn.functional.one_hot(torch.randint(0, 4, (1, 600)), 4).transpose(1, 2).float()
    out = []
    for kernels in (off, middle):
        set_kernels(
            model,
            motif=torch.tensor(kernels.kernel).float(),
            effect=torch.tensor(np.ascontiguousarray(kernels.effect)).float(),
        )
        with torch.inference_mode():
            out.append(model(x)[..., 20:-20].numpy())
    assert_allclose(out[1], out[0], atol=1e-4)
    assert np.ptp(out[0]) > 1


def test_names_come_from_known_words_or_patterns(nets):
    found = within_tissue(nets)
    words = {"gattaca": encode("GATTACA").astype(float), "ets": encode("CCGGAA").astype(float)}
    assert sorted(named(found, words)) == ["ets", "gattaca"]
    assert all(name.startswith("[") for name in named(found))
    assert named(found.take([0, 0], [1, 1]), words)[1].endswith("_2")


def test_files_round_trip(tmp_path, nets):
    found = within_tissue(nets)
    write_consensus(tmp_path / "motifs", found, ["one", "two"])
    back, names = read_consensus(tmp_path / "motifs")
    assert names == ("one", "two")
    assert_allclose(back.kernel, found.kernel, rtol=1e-6)
    assert_allclose(back.effect, found.effect, rtol=1e-6)
    assert (back.source, back.size) == (found.source, found.size)
    for suffix in ("meme", "jaspar"):
        assert [motif.name for motif in read_motifs(tmp_path / "motifs" / f"motifs.{suffix}")] == ["one", "two"]
    with pytest.raises(InputError, match="not an empty directory"):
        write_consensus(tmp_path / "motifs", found, ["one", "two"])
    (tmp_path / "motifs" / "motif.npy").write_bytes(b"no")
    with pytest.raises(FormatError, match="consensus motifs"):
        read_consensus(tmp_path / "motifs")


def test_every_kernel_has_a_fate_and_a_reason(nets, tmp_path):
    weak = kernel("", noise=1e-3, seed=20)
    nets[0] = net("n0", *nets[0].kernel, weak)
    found = across_tissues([within_tissue(nets, tissue="leaf", share=0.7)])
    fates = {fate.source: fate for fate in found.fates}
    assert set(fates) == {source for item in nets for source in item.source}
    assert {fate.tissue for fate in found.fates} == {"leaf"}
    members = {source for source, fate in fates.items() if fate.motif}
    assert members == {"n0:1", "n1:0", "n2:0"}  # GATTACA
    representative = found.source[0]
    assert fates[representative].reason == "stands for 3 kernels"
    assert fates[representative].similarity == pytest.approx(1.0)
    assert all(fates[source].motif == representative and fates[source].similarity > 0.9 for source in members)
    assert "2 alike kernels in 3 nets, more than 0.7 of them needed" in fates["n0:2"].reason
    assert fates["n0:3"].reason == "weak: no weight above 0.1"
    assert fates["n0:0"].reason.startswith("no match above 0.9; the best is n")
    assert fates["n0:0"].similarity < 0.9
    write_consensus(tmp_path / "motifs", found, ["gattaca"])
    lines = [line.split("\t") for line in (tmp_path / "motifs" / "merged.tsv").read_text().splitlines()]
    assert lines[0] == ["source", "tissue", "motif", "similarity", "reason"]
    assert {line[0] for line in lines if line[2] == "gattaca"} == members
    assert read_consensus(tmp_path / "motifs")[0].fates[0].reason == found.fates[0].reason


def test_a_motif_merged_across_tissues_keeps_its_members(nets):
    leaf, root = (within_tissue(nets, tissue="leaf"), within_tissue([net("m0", *nets[0].kernel[1:2])], tissue="root"))
    found = across_tissues([leaf, root])
    fates = {fate.source: fate for fate in found.fates}
    assert {fates[source].motif for source in ("n0:1", "n1:0", "n2:0", "m0:0")} == {found.source[0]}
    assert sum("is alike across tissues, r 0." in fate.reason or "r 1.0" in fate.reason for fate in fates.values()) > 0


def test_thresholds_decide(nets):
    assert len(within_tissue(nets, similarity=0.5)) >= 2
    with pytest.raises(InputError, match="no motif is shared"):
        within_tissue(nets, similarity=0.9999)
    with pytest.raises(InputError, match=r"similarity is 1.5; a number in \[0, 1\]"):
        within_tissue(nets, similarity=1.5)


def test_motifs_are_ordered_and_initiators_marked(tmp_path, nets):
    found = across_tissues([within_tissue(nets)])
    names = named(found, {"gattaca": encode("GATTACA").astype(float), "ets": encode("CCGGAA").astype(float)})
    kernels, order = arranged(found, names, initiators=["gattaca"])
    assert (order, kernels.initiator) == (["ets", "gattaca"], (False, True))
    assert_array_equal(kernels.kernel[1], found.kernel[names.index("gattaca")])
    write_consensus(tmp_path / "motifs", kernels, order)
    back, again = read_consensus(tmp_path / "motifs")
    assert (list(again), back.initiator, back.size) == (order, (False, True), kernels.size)
    first, order = arranged(back, again, order=["gattaca"], initiators=[])
    assert (order, first.initiator) == (["gattaca", "ets"], (False, False))
    assert arranged(back, again, drop=["ets"], initiators=[])[1] == ["gattaca"]
    assert arranged(back, again, order=["gattaca"])[1] == ["ets", "gattaca"]  # an initiator stands last
    for words, message in (
        ({"order": ["inr"]}, "no motif is called 'inr'; motifs: ets, gattaca"),
        ({"initiators": ["ets", "ets"]}, "given twice"),
        ({"drop": ["ets"]}, "no motif is left to score"),
    ):
        with pytest.raises(InputError, match=message):
            arranged(back, again, **words)
    table = tmp_path / "motifs" / "motifs.tsv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], lines[2], lines[1]]) + "\n")
    with pytest.raises(FormatError, match="initiators must stand last"):
        read_consensus(tmp_path / "motifs")


def test_directories_of_older_releases_are_read(tmp_path, nets):
    found = within_tissue(nets)
    write_consensus(tmp_path / "motifs", found, ["one", "two"])
    table = tmp_path / "motifs" / "motifs.tsv"
    table.write_text("".join("\t".join(line.split("\t")[:4]) + "\n" for line in table.read_text().splitlines()))
    (tmp_path / "motifs" / "merged.tsv").unlink()
    back, names = read_consensus(tmp_path / "motifs")
    assert (names, back.size, back.initiator, back.fates) == (("one", "two"), found.size, (False, False), ())
