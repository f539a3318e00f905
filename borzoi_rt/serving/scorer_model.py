"""The scorer as a model of Triton's python backend: variants as strings in, scores out; or what is to be explained.

It owns the genome and the tiles of it, and runs the bundle in its own process. A variant that cannot be scored has a
status, as everywhere; a request that makes no sense is refused, and touches no other.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ..backends.device import Device
from ..backends.gradient import check_gradient, has_gradient
from ..backends.parity import replay_golden
from ..bundle.opening import open_bundle
from ..engine.sessions import EngineOptions, open_engine
from ..errors import InputError
from ..explain.answer import Answer
from ..explain.explainer import Explainer, ExplainOptions
from ..explain.methods import METHODS
from ..explain.request import EXPLAIN, EXPLANATION, ExplainRequest, read_request
from ..explain.rows import RowError
from ..genome.fasta import Fasta
from ..genome.gene_index import open_genes
from ..genome.genes import Genes
from ..genome.variants import LAST_POS, Variant, VariantRecord
from ..scoring.gene_text import GENES, genes_to_text
from ..scoring.options import read_options
from ..scoring.pipeline import Scorer
from ..scoring.remote import genes_identity
from ..scoring.results import ScoredVariant
from .answering import answer
from .config import ANNOTATION
from .config import FASTA_VARIABLE as FASTA_VARIABLE

LONGEST_NAME = 256
LONGEST_DETAIL = 500


class TritonPythonModel:
    """A scorer; its options lie in the parameters of the configuration."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open bundle and genome, and replay the golden example: the server is not ready before."""
        config = json.loads(args["model_config"])
        self._name = config["name"]
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
        bundle = open_bundle(Path(args["model_repository"]) / args["model_version"] / "bundle")
        if bundle.sha256 != parameters["bundle_sha256"]:
            raise InputError(f"{bundle.path}: is not the bundle of the configuration; make the repository again")
        tiles = parameters.get("tile_cache")
        threads = int(parameters["threads"]) or None
        engine = EngineOptions(tile_cache=Path(tiles) if tiles else None)
        self._session = open_engine(bundle, _device(args), threads=threads, options=engine)
        replay_golden(self._session, bundle)
        self._fasta = _open_genome(parameters)
        genes = _open_annotation(bundle.path.parent, parameters)
        self._scorer = Scorer(bundle, self._session, self._fasta, read_options(parameters["options"]), genes)
        self._longest = bundle.geometry.sequence_length_bp
        # Explanation needs coverage: where sums are made inside the graph it opens a session of its own.
        fused = hasattr(self._session, "sums")
        device = Device.parse(_device(args), threads=threads)
        self._explainer = Explainer(bundle, self._fasta, device, session=None if fused else self._session)
        # A repository of an earlier release has no such input.
        self._most_passes = int(json.loads(parameters.get(EXPLAIN, '{"passes": 0}'))["passes"])
        if has_gradient(bundle):
            self._explainer.prepare(ExplainOptions(method="saliency"))

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request of a joined batch by itself."""
        return [answer(self._name, request, self._tensors) for request in requests]

    def finalize(self) -> None:
        """Free the model and close the genome."""
        self._explainer.close()
        self._session.close()
        self._fasta.close()

    def _tensors(self, triton: Any, request: Any) -> list[Any]:
        fields = _read_request(request, triton.get_input_tensor_by_name)
        columns = self._explained(fields[EXPLAIN]) if EXPLAIN in fields else self._columns(self._results(fields))
        wanted = request.requested_output_names()
        return [triton.Tensor(name, columns[name]) for name in columns if name in wanted]

    def _results(self, fields: dict[str, list[Any]]) -> list[ScoredVariant]:
        if "ref_sequence" in fields:
            return [self._pair(*pair) for pair in zip(fields["ref_sequence"], fields["alt_sequence"], strict=True)]
        rows = zip(fields["chrom"], fields["pos"], fields["ref"], fields["alt"], strict=True)
        return [self._scorer.score(self._record(number, *row)) for number, row in enumerate(rows)]

    def _record(self, number: int, chrom: str, pos: int, ref: str, alt: str) -> VariantRecord:
        for name, text, longest in (
            ("chrom", chrom, LONGEST_NAME),
            ("ref", ref, self._longest),
            ("alt", alt, self._longest),
        ):
            if not 0 < len(text) <= longest:
                raise InputError(f"{name} of variant {number} has {len(text)} letters; 1 to {longest} are allowed")
        if not 0 <= pos <= LAST_POS:
            fault = f"pos {pos} lies outside every contig"
            return VariantRecord(number, 0, Variant(chrom, 0, ref, alt), "out_of_bounds", fault)
        return VariantRecord(number, 0, Variant(chrom, pos, ref, alt))

    def _pair(self, ref: str, alt: str) -> ScoredVariant:
        for name, text in (("ref_sequence", ref), ("alt_sequence", alt)):
            if len(text) != self._longest:
                raise InputError(f"{name} has {len(text)} letters; the window of the model has {self._longest}")
        return self._scorer.score_windows(ref, alt)

    def _explained(self, texts: list[str]) -> dict[str, np.ndarray]:
        """Return the outputs of a request for explanations; all of it is judged before any is made."""
        bundle = self._explainer.bundle
        requests = [read_request(text, bundle) for text in texts]
        for item in requests:
            if METHODS[item.options.method].needs_gradient(item.options.options):
                check_gradient(bundle)
        passes = sum(item.passes for item in requests)
        if passes > self._most_passes:
            raise InputError(
                f"explain costs {passes} passes of the network; {self._most_passes} are allowed: ask for fewer bases, "
                "or steps, at once"
            )
        found = [self._answer(item) for item in requests]
        texts_of = {
            "status": [item.status for item in found],
            "detail": [item.detail[:LONGEST_DETAIL] for item in found],
            EXPLANATION: [item.to_text() for item in found],
        }
        return {
            name: np.array([[text.encode()] for text in values], dtype=np.object_) for name, values in texts_of.items()
        }

    def _answer(self, item: ExplainRequest) -> Answer:
        try:
            row = item.row(self._fasta, self._explainer.bundle.geometry)
        except RowError as error:
            return Answer(error.status, str(error))
        return self._explainer.answer(row, item.spec, item.options)

    def _columns(self, results: list[ScoredVariant]) -> dict[str, np.ndarray]:
        """Return the outputs, one row per variant; what has no score is NaN, what has no number is -1."""

        def numbers(name: str, absent: float, kind: str) -> np.ndarray:
            values = [getattr(result, name) for result in results]
            return np.array([[absent if value is None else value] for value in values], dtype=kind)

        columns = {
            "status": np.array([[result.status.encode()] for result in results], dtype=np.object_),
            "reference": np.array([[result.reference.encode()] for result in results], dtype=np.object_),
            "detail": np.array([[result.detail[:LONGEST_DETAIL].encode()] for result in results], dtype=np.object_),
            "window_start": numbers("window_start", -1, "int64"),
            "stitch_bin": numbers("stitch_bin", -1, "int64"),
            "n_fraction": numbers("n_fraction", np.nan, "float32"),
        }
        of_genes = {str(spec.region) for spec in self._scorer.specs if spec.of_genes}
        if of_genes:
            texts = [[genes_to_text(result.regions, of_genes).encode()] for result in results]
            columns[GENES] = np.array(texts, dtype=np.object_)
        for spec in self._scorer.specs:
            if spec.of_genes:
                continue
            columns[spec.name] = np.full((len(results), len(self._scorer.rows)), np.nan, dtype=np.float32)
            for row, result in zip(columns[spec.name], results, strict=True):
                scores = result.scores or {}
                if spec.name in scores:
                    row[:] = scores[spec.name]
        return columns


def _open_genome(parameters: dict[str, str]) -> Fasta:
    """Open the genome; in a container it may lie elsewhere, which the variable ``BORZOI_RT_FASTA`` says."""
    fasta = Fasta(os.environ.get(FASTA_VARIABLE) or parameters["fasta"])
    if fasta.fingerprint() != parameters["fasta_index_sha256"]:
        raise InputError(f"{fasta.path}: is not the genome the repository was made for; make the repository again")
    return fasta


def _open_annotation(version: Path, parameters: dict[str, str]) -> Genes | None:
    """Open the annotation beside the bundle; None where the scorer needs none."""
    if "genes_sha256" not in parameters:
        return None
    genes = open_genes(version / ANNOTATION)
    if genes_identity(genes) != parameters["genes_sha256"]:
        raise InputError(
            f"{version / ANNOTATION}: is not the annotation of the configuration; make the repository again"
        )
    return genes


def _device(args: dict[str, str]) -> str:
    return f"cuda:{args['model_instance_device_id']}" if args["model_instance_kind"] == "GPU" else "cpu"


def _read_request(request: Any, tensor_of: Any) -> dict[str, list[Any]]:
    """Return the fields of a request, one value per variant: four of a variant, or two of a pair of windows; or one
    text per explanation."""
    names = ("chrom", "pos", "ref", "alt", "ref_sequence", "alt_sequence", EXPLAIN)
    tensors = {name: tensor_of(request, name) for name in names}
    given = {name: tensor.as_numpy().reshape(-1) for name, tensor in tensors.items() if tensor is not None}
    if set(given) not in (set(names[:4]), set(names[4:6]), {EXPLAIN}):
        found = ", ".join(sorted(given)) or "none"
        raise InputError(
            f"inputs {found}; chrom, pos, ref and alt are needed, or ref_sequence and alt_sequence, or {EXPLAIN}"
        )
    return {
        name: values.tolist() if name == "pos" else [_text(name, item) for item in values]
        for name, values in given.items()
    }


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode("ascii")
    except UnicodeDecodeError:
        raise InputError(f"{name} holds other bytes than ASCII letters") from None
