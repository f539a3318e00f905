"""The model repository: what is in it, that it is derived from the bundle, and what the linter catches in it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from triton_servers import need_packages, version_folder

import borzoi_rt
from borzoi_rt.backends.triton import parse_model_config
from borzoi_rt.bundle.opening import Bundle, open_bundle
from borzoi_rt.errors import InputError
from borzoi_rt.scoring.options import ScoreOptions
from borzoi_rt.serving.config import Limits
from borzoi_rt.serving.lint import lint_repository
from borzoi_rt.serving.repository import write_repository


@pytest.fixture(autouse=True)
def packages() -> None:
    need_packages()


def config(repository: Path, model: str, *, cpu: bool = False) -> Any:
    path = repository / model / ("configs/python-cpu.pbtxt" if cpu else "config.pbtxt")
    return parse_model_config(path.read_text())


def files(folder: Path) -> set[str]:
    paths = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {path.as_posix() for path in paths if "__pycache__" not in path.parts}  # a server may be running


def test_one_model_per_graph_and_the_scorer(triton_repository: Path, toy_bundle: Bundle) -> None:
    served = toy_bundle.info.graphs.keys() - {"statistics"}  # the scorer's own
    graphs = {"borzoi" if name == "predict" else f"borzoi_{name}" for name in served}
    assert {path.name for path in triton_repository.iterdir()} == graphs | {"borzoi_scorer"}
    held = {"config.pbtxt", "configs/python-cpu.pbtxt"}
    version = version_folder(triton_repository / "borzoi").name
    held |= {f"{version}/{name}" for name in ("model.py", "model.onnx", "weights.bin")}
    assert files(triton_repository / "borzoi") == held
    # the bundle goes with the scorer, whole: it verifies under its own hashes
    assert open_bundle(version_folder(triton_repository / "borzoi_scorer") / "bundle").sha256 == toy_bundle.sha256


def test_every_model_names_the_bundle(triton_repository: Path, toy_bundle: Bundle) -> None:
    for model in triton_repository.iterdir():
        for cpu in (False, True):
            assert (
                config(triton_repository, model.name, cpu=cpu).parameters["bundle_sha256"].string_value
                == toy_bundle.sha256
            )


def test_both_configurations_are_for_their_place(triton_repository: Path) -> None:
    production, cpu = config(triton_repository, "borzoi"), config(triton_repository, "borzoi", cpu=True)
    assert (production.backend, cpu.backend) == ("onnxruntime", "python")
    (gpu,), (host,) = production.instance_group, cpu.instance_group
    assert (gpu.kind, host.kind) == (gpu.KIND_GPU, host.KIND_CPU)
    # a GPU under load must refuse rather than pile up; 64 requests and a minute are the documented defaults
    policy = production.dynamic_batching.default_queue_policy
    assert (policy.max_queue_size, policy.default_timeout_microseconds) == (64, 60_000_000)
    assert not cpu.HasField("dynamic_batching")


def test_a_version_is_for_one_identity(toy_bundle: Bundle, triton_genome: Path, tmp_path: Path) -> None:
    """The version of a graph follows the bundle; that of the scorer also what it computes, and nothing else."""

    def versions(name: str, stats: str, size: int = 64) -> dict[str, str]:
        out, options = tmp_path / name, ScoreOptions(stats=(stats,))
        write_repository(toy_bundle, out, fasta=triton_genome, options=options, limits=Limits(queue_size=size))
        return {path.name: version_folder(path).name for path in out.iterdir()}

    one, other, again = versions("a", "SUM"), versions("b", "D2"), versions("c", "SUM", 3)
    assert one == again
    assert one["borzoi"] == other["borzoi"] == str(int(toy_bundle.sha256[:12], 16))
    assert one["borzoi_scorer"] != other["borzoi_scorer"]
    assert list(config(tmp_path / "a", "borzoi").version_policy.specific.versions) == [int(one["borzoi"])]


def test_limits_reach_the_configuration(toy_bundle: Bundle, tmp_path: Path) -> None:
    limits = Limits(queue_size=3, queue_timeout_s=0.5, cpu_queue=True, gpu_instances=2, cpu_threads=1, tensorrt=True)
    write_repository(toy_bundle, tmp_path / "models", name="b", limits=limits)
    production, cpu = config(tmp_path / "models", "b"), config(tmp_path / "models", "b", cpu=True)
    for item in (production, cpu):
        policy = item.dynamic_batching.default_queue_policy
        assert (policy.max_queue_size, policy.default_timeout_microseconds) == (3, 500_000)
        assert item.parameters["threads"].string_value == "1"
    assert production.instance_group[0].count == 2
    engine = production.optimization.execution_accelerators.gpu_execution_accelerator[0]
    assert engine.name == "tensorrt"
    assert engine.parameters["trt_profile_max_shapes"] == "sequence:4x4x2048"


def test_the_served_graph_gives_the_same_bits_and_cuts_bins(triton_repository: Path, toy_bundle: Bundle) -> None:
    window = np.eye(4, dtype=np.uint8)[np.random.default_rng(3).integers(0, 4, (2, 2048))].transpose(0, 2, 1)
    feeds = {"sequence": np.ascontiguousarray(window), "track_index": np.array([4, 1])}
    whole = onnxruntime.InferenceSession(str(toy_bundle.graph_path()))
    want = whole.run(["coverage"], {**feeds, "n_fill": np.array(0.25, dtype=np.float32)})[0]
    served = onnxruntime.InferenceSession(str(version_folder(triton_repository / "borzoi") / "model.onnx"))
    more = {"n_fill": np.array([0.25], dtype=np.float32)}
    for left, right in ((0, 0), (3, 5), (31, 0)):
        got = served.run(["coverage"], {**feeds, **more, "trim_bins": np.array([left, right])})[0]
        assert np.array_equal(got, want[..., left : 32 - right])


def test_a_bundle_without_split_graphs_has_one_model(toy_bundle: Bundle, tmp_path: Path) -> None:
    info = replace(toy_bundle.info, tiling=None, graphs={"predict": toy_bundle.info.graphs["predict"]})
    assert write_repository(replace(toy_bundle, info=info), tmp_path / "models", name="demo") == ["demo"]


def test_what_is_looked_at_inside_is_not_served(inside_bundle: Bundle, gradient_bundle: Bundle, tmp_path: Path) -> None:
    want = ["borzoi_body", "borzoi_body_64", "borzoi_head", "borzoi", "borzoi_trunk_tile"]
    for number, bundle in enumerate((inside_bundle, gradient_bundle)):
        assert write_repository(bundle, tmp_path / str(number)) == want


def test_the_scorer_needs_no_file_of_this_machine_to_know_its_tracks(
    toy_bundle: Bundle, triton_genome: Path, tmp_path: Path
) -> None:
    (tmp_path / "tracks.txt").write_text("dnase\nrna-\n")
    options = ScoreOptions(tracks=f"@{tmp_path / 'tracks.txt'}", merge_strands=False, stats=("SUM",))
    write_repository(toy_bundle, tmp_path / "models", fasta=triton_genome, options=options)
    parameters = config(tmp_path / "models", "borzoi_scorer").parameters
    assert json.loads(parameters["options"].string_value)["tracks"] == "4,2"  # their units in toys.tracks()
    assert json.loads(parameters["rows"].string_value) == ["dnase", "rna-"]
    assert next(o for o in config(tmp_path / "models", "borzoi_scorer").output if o.name == "SUM").dims == [2]


def test_a_model_that_is_there_is_not_replaced_unasked(toy_bundle: Bundle, triton_genome: Path, tmp_path: Path) -> None:
    out = tmp_path / "models"
    write_repository(toy_bundle, out, name="one")
    write_repository(toy_bundle, out, name="two")  # another name lives beside it
    before = (out / "one" / "config.pbtxt").read_text()
    with pytest.raises(InputError, match="has a model 'one"):
        write_repository(toy_bundle, out, name="one", limits=Limits(queue_size=7))
    assert (out / "one" / "config.pbtxt").read_text() == before
    write_repository(toy_bundle, out, name="one", limits=Limits(queue_size=7), overwrite=True)
    assert "max_queue_size: 7" in (out / "one" / "config.pbtxt").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["models"]  # no staging directory is left


def test_a_promoter_bundle_has_no_scorer_and_no_engines(triton_genome: Path, tmp_path: Path) -> None:
    bundle = open_bundle(Path(borzoi_rt.__file__).parent / "demo" / "promoter_bundle")
    for choices, message in (
        ({"fasta": triton_genome}, "no scorer is made of a promoter bundle.*leave out the genome"),
        ({"limits": Limits(tensorrt=True)}, "no engine fits every form of a motif mask; leave out tensorrt"),
    ):
        with pytest.raises(InputError, match=message):
            write_repository(bundle, tmp_path / "models", **choices)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("name", ["", "../x", "1model", "a b"])
def test_a_name_that_cannot_be_a_directory_is_refused(toy_bundle: Bundle, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="model name"):
        write_repository(toy_bundle, tmp_path / "models", name=name)


def replaced(old: str, new: str, *files: str) -> Callable[[Path], None]:
    def change(model: Path) -> None:
        for file in files or ("config.pbtxt",):
            text, count = re.subn(old, new, (model / file).read_text())
            assert count, f"{old} is not in {file}"
            (model / file).write_text(text)

    return change


BOTH = ("config.pbtxt", "configs/python-cpu.pbtxt")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (replaced("max_batch_size", "max_batch_sizes"), "no field named"),
        (replaced(r"parameters \{", "parameters {{"), "not a model configuration"),
        (replaced("dims: \\[ -1, 4, 2048 \\]", "dims: [ -1, 4, 2047 ]"), "'sequence' has dims"),
        (replaced("TYPE_UINT8", "TYPE_FP32"), "'sequence' is TYPE_FP32, the graph has TYPE_UINT8"),
        (replaced('name: "coverage"', 'name: "tracks"', *BOTH), "'tracks' is not in the graph"),
        (replaced(r",\n  \{ name: \"trim_bins\".*", "", *BOTH), "input 'trim_bins' of the graph is not declared"),
        (replaced("max_batch_size: 0", "max_batch_size: 4"), "the two configurations differ in max_batch_size"),
        (replaced('name: "borzoi"', 'name: "other"', *BOTH), "name 'other' is not that of the directory"),
        (replaced("count: 1, ", ""), "an instance group has no count"),
        (replaced(r"version_policy .*\n", ""), "no version is named"),
        (replaced('key: "threads"', 'key: "thread"', *BOTH), "parameter 'thread' is unknown"),
        (lambda model: (version_folder(model) / "weights.bin").unlink(), "weights.bin is missing"),
        (lambda model: (version_folder(model) / "model.py").unlink(), "/model.py is missing"),
        (lambda model: (model / "configs" / "python-cpu.pbtxt").unlink(), "fall back on another in silence"),
        (lambda model: (version_folder(model) / "model.onnx").write_bytes(b"no graph"), "cannot be read as ONNX"),
    ],
)
def test_the_linter_finds(
    triton_repository: Path, tmp_path: Path, change: Callable[[Path], None], expected: str
) -> None:
    shutil.copytree(triton_repository / "borzoi", tmp_path / "borzoi")
    assert lint_repository(tmp_path) == []
    change(tmp_path / "borzoi")
    wrong = lint_repository(tmp_path)
    assert any(expected in text for text in wrong), wrong
