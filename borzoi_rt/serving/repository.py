"""A Triton model repository made of a bundle; the bundle stays the only source of truth.

Models, with ``NAME`` as prefix: ``NAME`` is the whole network, ``NAME_<graph>`` each of the split graphs, and
``NAME_scorer`` takes variants and answers with scores. A promoter bundle has ``NAME`` alone, with the motif mask among
its inputs. Each has a directory with two configurations (see
:mod:`borzoi_rt.serving.config`) and one version. Weights are hard links to the bundle's where the file system has them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ..backends.checks import motif_channels
from ..backends.gradient import has_gradient
from ..backends.triton import version_of
from ..bundle.graph_check import check_graph_file
from ..bundle.names import is_served
from ..bundle.opening import MANIFEST, WEIGHTS, Bundle
from ..errors import FormatError, InputError
from ..explain.methods import METHODS
from ..explain.request import EXPLAIN, EXPLANATION, SERVED
from ..genome.fasta import Fasta
from ..genome.gene_index import open_genes
from ..runs.outputs import check_outside
from ..scoring.gene_text import GENES
from ..scoring.options import ScoreOptions
from ..scoring.pipeline import check_genes
from ..scoring.remote import check_served, genes_identity
from ..scoring.selection import select_rows
from ..tracks import RowTable
from .config import ANNOTATION, MODEL_FILE, Limits, ModelSpec, cpu_config, production_config
from .graphs import Tensor, read_signature, write_served_graph
from .lint import lint_repository
from .local.launcher import CPU_CONFIG

BUNDLE_FOLDER = "bundle"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_GRAPH_MODEL = '''"""The graph beside this file, for servers without the onnxruntime backend."""

from borzoi_rt.serving.graph_model import TritonPythonModel as TritonPythonModel
'''
_SCORER_MODEL = '''"""Variants in, scores out, or what explains them; the bundle lies beside this file."""

from borzoi_rt.serving.scorer_model import TritonPythonModel as TritonPythonModel
'''


def write_repository(
    bundle: Bundle,
    out: str | os.PathLike[str],
    *,
    name: str = "borzoi",
    fasta: str | os.PathLike[str] | None = None,
    genes: str | os.PathLike[str] | None = None,
    options: ScoreOptions | None = None,
    tile_cache: str | os.PathLike[str] | None = None,
    limits: Limits | None = None,
    overwrite: bool = False,
) -> list[str]:
    """Write the models of a bundle into a repository, which may hold others already.

    Parameters
    ----------
    bundle : Bundle
        The model.
    out : path
        The repository; made if it is missing. Every model appears in it whole, by one rename.
    name : str
        Prefix of the models.
    fasta : path, optional
        Genome of the scorer; without it there is no scorer.
    genes : path, optional
        Annotation in GTF or GFF3, where the scorer computes scores over regions of genes; it becomes part of the
        repository.
    options : ScoreOptions, optional
        What the scorer computes.
    tile_cache : path, optional
        Folder in which the scorer keeps tiles.
    limits : Limits, optional
        Queues and instances.
    overwrite : bool
        Replace models of the same names.

    Returns
    -------
    list of str
        The models written.

    Raises
    ------
    InputError
        If a model of that name exists, or an option cannot be used.
    FormatError
        If what was written would not be served as it is meant; nothing is left then.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"model name {name!r}: letters, digits, '_' and '-' are needed, a letter first")
    target, limits, options = Path(out), limits or Limits(), options or ScoreOptions()
    if fasta is None and genes is not None:
        raise InputError("genes are for a scorer, which needs a genome (fasta)")
    if fasta is not None:
        check_genes(options, genes is not None)
    known = {"sequence", "track_index", "n_fill"}
    if motif_channels(bundle):
        _check_promoter(bundle, fasta, limits)
        known |= {"mask", "fill"}
    if set(bundle.info.graphs["predict"].inputs) != known:
        raise InputError(f"{bundle.path.name}: its network takes more than {sorted(known)}, which is not served")
    for source in (Path(source) for source in (bundle.path, fasta, genes) if source is not None):
        check_outside(target, source)
        if target.exists() and source.exists() and target.samefile(source):
            raise InputError(f"{target}: is an input, which nothing is written into; choose another name")
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    try:
        graphs = sorted(filter(is_served, bundle.info.graphs))
        names = [_write_graph(bundle, staging, name, graph, limits) for graph in graphs]
        if fasta is not None:
            names.append(_write_scorer(bundle, staging, name, Path(fasta), genes, options, tile_cache, limits))
        wrong = lint_repository(staging)
        if wrong:
            raise FormatError(f"{target}: the repository would not be served as meant: {'; '.join(wrong)}")
        taken = [model for model in names if (target / model).exists()]
        if taken and not overwrite:
            raise InputError(f"{target}: has a model {taken[0]!r}; choose another name, or pass overwrite")
        target.mkdir(exist_ok=True)
        for model in names:
            _replace(staging / model, target / model, staging)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return names


def _check_promoter(bundle: Bundle, fasta: str | os.PathLike[str] | None, limits: Limits) -> None:
    if fasta is not None:
        raise InputError(
            f"{bundle.path.name}: no scorer is made of a promoter bundle, whose scores are those of `borzoi-rt dft "
            "score`; leave out the genome (fasta)"
        )
    if limits.tensorrt:
        raise InputError(f"{bundle.path.name}: no engine fits every form of a motif mask; leave out tensorrt")


def graph_model_name(name: str, graph: str) -> str:
    """Return the served name of a graph of a bundle."""
    return name if graph == "predict" else f"{name}_{graph}"


def largest_shape(bundle: Bundle, tensor: Tensor, limits: Limits) -> list[int]:
    """Return the most that each axis of an input may have: the model's own sizes, and ``limits.windows`` windows."""
    geometry = bundle.geometry
    inner = geometry.sequence_length_bp if tensor.name in ("mask", "fill") else geometry.bins
    first = len(bundle.tracks) if len(tensor.dims) == 1 else limits.windows
    # A scalar is served as a vector of one.
    return [size if size >= 0 else inner if axis else first for axis, size in enumerate(tensor.dims)] or [1]


def _write_graph(bundle: Bundle, staging: Path, name: str, graph: str, limits: Limits) -> str:
    model = graph_model_name(name, graph)
    version = _version_folder(staging / model, bundle.sha256, _GRAPH_MODEL)
    source = bundle.check_graph(graph)
    trim = "coverage" if graph == "predict" else None
    most = {tensor.name: largest_shape(bundle, tensor, limits) for tensor in read_signature(source).inputs}
    signature = write_served_graph(source, version / MODEL_FILE, trim=trim, most=most)
    if check_graph_file(source).external:
        _link(bundle.path / WEIGHTS, version / WEIGHTS)
    parameters = {
        "bundle_sha256": bundle.sha256,
        "graph": graph,
        "most": json.dumps(most, sort_keys=True),
        "windows": str(limits.windows),
    }
    spec = ModelSpec(
        name=model,
        identity=bundle.sha256,
        inputs=signature.inputs,
        outputs=signature.outputs,
        parameters=parameters,
    )
    _write_configs(staging / model, spec, limits)
    return model


def _write_scorer(
    bundle: Bundle,
    staging: Path,
    name: str,
    fasta: Path,
    genes: str | os.PathLike[str] | None,
    options: ScoreOptions,
    tile_cache: str | os.PathLike[str] | None,
    limits: Limits,
) -> str:
    model = f"{name}_scorer"
    with Fasta(fasta) as genome:
        fingerprint = genome.fingerprint()
    rows, options = _output_rows(bundle, options)
    parameters = {
        "bundle_sha256": bundle.sha256,
        "fasta_index_sha256": fingerprint,
        "options": json.dumps(options.to_dict(), sort_keys=True),
        "rows": json.dumps(list(rows.identifier)),
        EXPLAIN: json.dumps({"methods": _explained_by(bundle), "passes": limits.explain_passes}),
    }
    if genes is not None:
        parameters["genes_sha256"] = genes_identity(open_genes(genes))
    identity = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()
    version = _version_folder(staging / model, identity, _SCORER_MODEL)
    folder = version / BUNDLE_FOLDER
    folder.mkdir()
    for file in (MANIFEST, *bundle.files):
        _link(bundle.path / file, folder / file)
    if genes is not None:
        _link(Path(genes), version / ANNOTATION)
    parameters["fasta"] = str(fasta.resolve())
    if tile_cache is not None:
        parameters["tile_cache"] = str(Path(tile_cache).resolve())
    spec = ModelSpec(
        name=model,
        identity=identity,
        inputs=tuple(_scorer_inputs()),
        outputs=tuple(_scorer_outputs(options, len(rows))),
        max_batch_size=limits.scorer_batch,
        graph=False,
        parameters=parameters,
    )
    _write_configs(staging / model, spec, limits)
    return model


def _output_rows(bundle: Bundle, options: ScoreOptions) -> tuple[RowTable, ScoreOptions]:
    """Return what the rows of a score are, and the options with nothing left open and no file of this machine."""
    check_served(options)
    selection = select_rows(bundle.tracks, options)
    options = options.resolved(bundle.info)
    if options.prediction.cluster_share is not None:
        raise InputError("a scorer answers one variant at a time; windows of clusters are not served")
    if options.tracks is not None:
        units = bundle.tracks.index[selection.positions]
        options = replace(options, tracks=",".join(str(unit) for unit in units))
    return selection.rows, options


def _explained_by(bundle: Bundle) -> list[str]:
    """Return the methods by which a scorer explains; those that need a gradient where the bundle has its graphs."""
    return [name for name in SERVED if has_gradient(bundle) or not METHODS[name].gradient]


def _scorer_inputs() -> Iterator[Tensor]:
    """A variant of the genome, or the bases of two windows, or what is to be explained."""
    yield Tensor("chrom", "BYTES", (1,), optional=True)
    yield Tensor("pos", "INT64", (1,), optional=True)
    for name in ("ref", "alt", "ref_sequence", "alt_sequence", EXPLAIN):
        yield Tensor(name, "BYTES", (1,), optional=True)


def _scorer_outputs(options: ScoreOptions, rows: int) -> Iterator[Tensor]:
    yield Tensor("status", "BYTES", (1,))
    yield Tensor("reference", "BYTES", (1,))
    yield Tensor("detail", "BYTES", (1,))
    yield Tensor("window_start", "INT64", (1,))
    yield Tensor("stitch_bin", "INT64", (1,))
    yield Tensor("n_fraction", "FP32", (1,))
    yield Tensor(EXPLANATION, "BYTES", (1,))
    for spec in options.specs:
        if not spec.of_genes:
            yield Tensor(spec.name, "FP32", (rows,))
    if options.of_genes:
        yield Tensor(GENES, "BYTES", (1,))


def _version_folder(model: Path, identity: str, code: str) -> Path:
    version = model / str(version_of(identity))
    version.mkdir(parents=True)
    (version / "model.py").write_text(code, encoding="utf-8")
    return version


def _write_configs(folder: Path, spec: ModelSpec, limits: Limits) -> None:
    (folder / "configs").mkdir()
    (folder / "config.pbtxt").write_text(production_config(spec, limits), encoding="utf-8")
    (folder / "configs" / f"{CPU_CONFIG}.pbtxt").write_text(cpu_config(spec, limits), encoding="utf-8")


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


def _replace(source: Path, target: Path, staging: Path) -> None:
    """Move a model to its name; the one that was there goes to the staging directory, which is removed."""
    if target.exists():
        old = staging / f"old-{target.name}"
        target.rename(old)
        try:
            source.rename(target)
        except OSError:
            old.rename(target)
            raise
        return
    source.rename(target)
