"""Every value of a manifest replaced by every hostile one: an error of one line, never a traceback, never a wait."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from attacks import hostile
from attacks.fuzzing import fuzz, read_or_refuse, spoilt
from borzoi_rt.backends.checks import motif_channels
from borzoi_rt.backends.opening import open_parts
from borzoi_rt.bundle.opening import open_bundle
from borzoi_rt.cli.bundle import show
from borzoi_rt.errors import BorzoiError, FormatError

NAMES = ("bundle", "promoter_bundle")
LONGEST_MESSAGE = 2000


def use(bundle: Path) -> None:
    """Read everything that a manifest leads to, without a prediction."""
    model = open_bundle(bundle, verify=False)
    model.tracks  # noqa: B018
    model.squash()
    model.golden()
    motif_channels(model)
    if model.info.tiling is not None:
        open_parts(model).close()
    shown = CliRunner().invoke(show, [str(bundle)])
    if shown.exception is not None and not isinstance(shown.exception, SystemExit):
        raise shown.exception


def judge(bundle: Path, document: Any) -> bool:
    """Tell whether a manifest was refused; whatever is wrong with it must be said in one line."""
    (bundle / "bundle.json").write_text(json.dumps(document))
    try:
        use(bundle)
    except BorzoiError as error:
        text = str(error)
        assert text.isprintable(), repr(text[:300])
        assert 0 < len(text) < LONGEST_MESSAGE
        return True
    return False


def sweep(bundle: Path, step: int, first: int) -> tuple[int, int]:
    document = hostile.read_manifest(bundle)
    changes = [hostile.without(document, path) for path in hostile.paths(document) if path]
    total = refused = number = 0
    for path in hostile.paths(document):
        for value in hostile.VALUES:
            number += 1
            if number % step == first:
                total += 1
                refused += judge(bundle, hostile.mutated(document, path, value))
    for change in changes[first::step]:
        total += 1
        refused += judge(bundle, change)
    return total, refused


@pytest.mark.parametrize("name", NAMES)
def test_mutated_values(tmp_path: Path, name: str) -> None:
    """Each fifteenth of them; a third or more must be refused, or the sweep is blind."""
    total, refused = sweep(hostile.copy_bundle(name, tmp_path / "b"), 15, 4)
    assert refused > total // 3 > 20


@pytest.mark.full
@pytest.mark.parametrize("name", NAMES)
def test_all_mutated_values(tmp_path: Path, name: str) -> None:
    total, refused = sweep(hostile.copy_bundle(name, tmp_path / "b"), 1, 0)
    assert refused > total // 3 > 300


MANIFESTS = tuple((hostile.PACKAGED / name / "bundle.json").read_bytes() for name in NAMES)


@fuzz
@given(data=spoilt(MANIFESTS[:1]))
def test_spoilt_manifests(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """The bytes of one, cut, repeated and replaced; what is then read is used as far as without a prediction."""
    bundle = tmp_path_factory.getbasetemp() / "spoilt-manifest"
    if not bundle.exists():
        hostile.copy_bundle("bundle", bundle)
    (bundle / "bundle.json").write_bytes(data)
    read_or_refuse(use, bundle)


@fuzz
@given(data=st.data())
def test_manifests_with_values_of_any_kind(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Up to three values of one replaced by hostile ones, or left out."""
    bundle = tmp_path_factory.getbasetemp() / "mutated-manifest"
    if not bundle.exists():
        hostile.copy_bundle("bundle", bundle)
    document = json.loads(MANIFESTS[0])
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from([path for path in hostile.paths(document) if path] or [()]))
        if path and data.draw(st.booleans()):
            document = hostile.mutated(document, path, data.draw(st.sampled_from(hostile.VALUES)))
        elif path:
            document = hostile.without(document, path)
    judge(bundle, document)


def set_value(*path: Any, value: Any) -> Callable[[Path], None]:
    def change(bundle: Path) -> None:
        hostile.write_manifest(bundle, hostile.mutated(hostile.read_manifest(bundle), path, value))

    return change


def make_pipe(bundle: Path) -> None:
    (bundle / "bundle.json").unlink()
    os.mkfifo(bundle / "bundle.json")


def link_to_device(bundle: Path) -> None:
    (bundle / "bundle.json").unlink()
    (bundle / "bundle.json").symlink_to("/dev/zero")


def pipe_in_directory(name: str) -> Callable[[Path], None]:
    def change(bundle: Path) -> None:
        (bundle / name).unlink()
        os.mkfifo(bundle / name)

    return change


def append(name: str, text: bytes) -> Callable[[Path], None]:
    def change(bundle: Path) -> None:
        with (bundle / name).open("ab") as handle:
            handle.write(text)

    return change


def huge_manifest(bundle: Path) -> None:
    with (bundle / "bundle.json").open("r+b") as handle:
        handle.truncate(2**40)  # sparse: nothing is written


def many_columns(bundle: Path) -> None:
    (bundle / "tracks.tsv").write_bytes(b"\t".join([b"c"] * 1_000_000) + b"\n" + b"\t".join([b"1"] * 1_000_000) + b"\n")
    hostile.write_manifest(bundle, hostile.read_manifest(bundle))


def many_rows(bundle: Path) -> None:
    header, first, *_ = (bundle / "tracks.tsv").read_bytes().splitlines(keepends=True)
    (bundle / "tracks.tsv").write_bytes(header + first * 2_000_000)
    hostile.write_manifest(bundle, hostile.read_manifest(bundle))


def deep(bundle: Path) -> None:
    value: Any = 1
    for _ in range(300):
        value = [value]
    set_value("provenance", "x", value=value)(bundle)


def unlisted_graph(bundle: Path) -> None:
    (bundle / "body_7.onnx").write_bytes((bundle / "head.onnx").read_bytes())
    hostile.write_manifest(bundle, hostile.read_manifest(bundle))


@pytest.mark.parametrize(
    ("attack", "complaint"),
    [
        (make_pipe, r"bundle\.json: not a regular file"),
        (link_to_device, r"bundle\.json: a symbolic link to '/dev/zero'"),
        (pipe_in_directory("weights.bin"), r"weights\.bin: not a regular file"),
        (pipe_in_directory("predict.onnx"), r"predict\.onnx: not a regular file"),
        (huge_manifest, r"bundle\.json: 1099511627776 bytes; at most"),
        (append("bundle.json", b" "), "blanks before or after"),
        (append("bundle.json", b"\n\n"), "blanks before or after"),
        (append("bundle.json", b"\n{}"), "not JSON"),
        (many_columns, r"tracks\.tsv"),
        (many_rows, r"tracks\.tsv: \d+ bytes; at most"),
        (set_value("geometry", "sequence_length_bp", value=10**12), "sequence_length_bp is 1000000000000; at most"),
        (set_value("geometry", "bins", value=10**12), "bins is 1000000000000; at most"),
        (set_value("tiling", "own_tokens", value=10**12), "at most"),
        (set_value("name", value="a\n#CHROM"), "printable"),
        (set_value("name", value="\x1b]0;x\x07"), "printable"),
        (set_value("provenance", "source", value="\x1b[2J"), "printable"),
        (set_value("graphs", "model", value={"file": "model.onnx", "inputs": [], "outputs": []}), "'model'"),
        (set_value("graphs", "predict", "file", value="head.onnx"), "graph 'predict' in the file 'head.onnx'"),
        (set_value("graphs", "head", "inputs", value=["embedding"]), "has the inputs embedding, track_index"),
        (deep, "nested more than"),
        (unlisted_graph, r"body_7\.onnx is listed, but is no graph"),
    ],
)
def test_what_each_attack_is_told(tmp_path: Path, attack: Callable[[Path], None], complaint: str) -> None:
    bundle = hostile.copy_bundle("bundle", tmp_path / "b")
    attack(bundle)
    with pytest.raises(FormatError, match=complaint) as caught:
        open_bundle(bundle)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", ".gitattributes", "README.md", "._weights.bin", ".nfs0001"])
def test_what_file_managers_and_downloads_leave_is_ignored_and_said(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = hostile.copy_bundle("bundle", tmp_path / "b")
    before = open_bundle(bundle).sha256
    (bundle / name).write_bytes(b"\0\0\0\1Bud1")
    assert open_bundle(bundle).sha256 == before
    assert f"{name}: no file of a bundle, ignored" in caplog.text


def hugging_face_cache(tmp_path: Path) -> Path:
    """Lay a bundle out as huggingface_hub does: a folder of links to files that are named by their hash."""
    cache = tmp_path / "models--x--y"
    revision = cache / "snapshots" / "0123abc"
    (cache / "blobs").mkdir(parents=True)
    revision.mkdir(parents=True)
    for path in (hostile.PACKAGED / "bundle").iterdir():
        digest = hostile.listed(path.parent).get(path.name, {"sha256": "a" * 40})["sha256"]
        (cache / "blobs" / digest).write_bytes(path.read_bytes())
        (revision / path.name).symlink_to(f"../../blobs/{digest}")
    return revision


@pytest.mark.parametrize("verify", [True, False])
def test_links_of_a_hugging_face_cache_are_followed_and_hashed(tmp_path: Path, verify: bool) -> None:
    revision = hugging_face_cache(tmp_path)
    assert open_bundle(revision, verify=verify).sha256 == open_bundle(hostile.PACKAGED / "bundle").sha256
    blob = (revision / "weights.bin").resolve()
    content = bytearray(blob.read_bytes())
    content[1000] ^= 1
    blob.write_bytes(content)
    with pytest.raises(FormatError, match=r"weights\.bin: SHA-256 differs"):
        open_bundle(revision, verify=verify)


@pytest.mark.parametrize("target", ["{outside}", "../../../outside", "../../blobs/link", "../../blobs/../../outside"])
def test_a_link_that_leaves_the_blobs_of_its_cache_is_refused(tmp_path: Path, target: str) -> None:
    revision = hugging_face_cache(tmp_path)
    outside = tmp_path / "outside"
    outside.write_bytes((revision / "head.onnx").read_bytes())
    (revision.parents[1] / "blobs" / "link").symlink_to(outside)
    (revision / "head.onnx").unlink()
    (revision / "head.onnx").symlink_to(target.format(outside=outside))
    with pytest.raises(FormatError, match=r"head\.onnx: a symbolic link"):
        open_bundle(revision)
