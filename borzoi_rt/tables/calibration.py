"""A calibration as it is kept: a folder of Arrow files and one of JSON.

``calibration.json``  what it holds for (``key``), the scores with n and ties, the rows, hashes of the other files
``effect.arrow``      null values of effects: columns ``score``, ``row``, ``values`` (ascending float32)
``activity.arrow``    null values of activity, the same columns
``variants.arrow``    the variants: ``chrom``, ``pos``, ``ref``, ``alt``, ``status``
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc

from ..errors import FormatError
from ..reading import read_json, sha256_of
from ..scoring.calibration import LEAST, NULLS, Calibration, Null
from ..types import FloatArray

FORMAT = 1
_GENES = ("gene_names", "gene_types")
_HEADER, _VARIANTS = "calibration.json", "variants.arrow"


def write_calibration(folder: Path, calibration: Calibration, variants: pa.Table, facts: Mapping[str, Any]) -> None:
    """Write a calibration into an empty folder.

    Parameters
    ----------
    folder : Path
    calibration : Calibration
    variants : pa.Table
        The variants, with their statuses.
    facts : dict
        What else is to be known of it, as JSON values.
    """
    for kind in NULLS:
        held = {name: null for name, null in calibration.nulls.items() if null.kind == kind}
        _write_nulls(folder / _file_of(kind), held)
    _write(folder / _VARIANTS, variants)
    files = sorted(path.name for path in folder.iterdir())
    document = {
        "format": FORMAT,
        "key": dict(calibration.key),
        "genome": calibration.genome,
        "annotation": calibration.annotation,
        "genes": dict(zip(_GENES, calibration.genes, strict=True)),
        "rows": [list(row) for row in calibration.rows],
        "scores": {
            name: {"null": null.kind, "signed": null.signed, "n": null.count, "ties": round(null.ties, 6)}
            for name, null in calibration.nulls.items()
        },
        "positions_sha256": positionssha256_of(variants),
        "files": {name: sha256_of(folder / name) for name in files},
        **facts,
    }
    (folder / _HEADER).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def positionssha256_of(variants: pa.Table) -> str:
    """Return a hash of chrom, pos, ref and alt of the variants, in order."""
    columns = (variants[name].to_pylist() for name in ("chrom", "pos", "ref", "alt"))
    text = "\n".join("\t".join(map(str, row)) for row in zip(*columns, strict=True))
    return hashlib.sha256(text.encode()).hexdigest()


def read_calibration(folder: Path) -> tuple[Calibration, dict[str, Any]]:
    """Open a calibration; null values stay in their files and are mapped into memory.

    Returns
    -------
    calibration : Calibration
    document : dict
        Everything that ``calibration.json`` says.

    Raises
    ------
    FormatError
        If it is none, or was changed.
    """
    try:
        document = read_json(folder / _HEADER)
    except OSError as error:
        raise FormatError(f"{folder}: no calibration ({_HEADER}: {error.strerror})") from error
    except ValueError as error:
        raise FormatError(f"{folder / _HEADER}: cannot be read ({error})") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else None
        raise FormatError(f"{folder / _HEADER}: format {found!r}; {FORMAT} is known")
    try:
        for name, digest in document["files"].items():
            if Path(name).name != name or sha256_of(folder / name) != digest:
                raise FormatError(f"{folder / name}: is not what {_HEADER} says; calibrate anew")
        rows = tuple((str(name), int(one), int(other)) for name, one, other in document["rows"])
        values = {kind: _read_values(folder / _file_of(kind), len(rows)) for kind in NULLS}
        nulls = {
            name: Null(item["null"], bool(item["signed"]), values[item["null"]][name])
            for name, item in document["scores"].items()
        }
        key, genome, annotation = dict(document["key"]), str(document["genome"]), str(document["annotation"])
        names, types = ([str(item) for item in document.get("genes", {}).get(name, ())] for name in _GENES)
    except OSError as error:
        raise FormatError(f"{folder}: {error.filename}: {error.strerror}") from error
    except (AttributeError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise FormatError(f"{folder}: no whole calibration ({type(error).__name__}: {error})") from error
    few = [name for name, null in nulls.items() if null.count < LEAST]
    if few:
        raise FormatError(f"{folder}: {nulls[few[0]].count} null values of {few[0]}; {LEAST} are the least")
    return Calibration(folder.name, key, rows, nulls, genome, annotation, (names, types)), document


def _file_of(kind: str) -> str:
    return f"{kind}.arrow"


_NULL_SCHEMA = pa.schema([("score", pa.string()), ("row", pa.int64()), ("values", pa.large_list(pa.float32()))])


def _write_nulls(path: Path, nulls: Mapping[str, Null]) -> None:
    """Write null values, one record batch a score, a row for each row of the score."""
    with pa.OSFile(str(path), "wb") as sink, ipc.new_file(sink, _NULL_SCHEMA) as writer:
        for name, null in nulls.items():
            rows = len(null.values)
            ends = pa.array(np.arange(rows + 1, dtype=np.int64) * null.count, pa.int64())
            values = pa.LargeListArray.from_arrays(ends, pa.array(null.values.ravel(), pa.float32()))
            names = pa.array([name] * rows, pa.string())
            batch = [names, pa.array(np.arange(rows, dtype=np.int64)), values]
            writer.write_batch(pa.RecordBatch.from_arrays(batch, schema=_NULL_SCHEMA))


def _read_values(path: Path, rows: int) -> dict[str, FloatArray]:
    """Return the null values of each score of a file, float32 (rows, n)."""
    found: dict[str, FloatArray] = {}
    with pa.memory_map(str(path)) as source:
        reader = ipc.open_file(source)
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            names, lists = set(batch["score"].to_pylist()), batch["values"]
            if len(batch) != rows or len(names) != 1:
                raise ValueError(f"{path.name} has not {rows} rows of one score in each batch")
            ends = lists.offsets.to_numpy()
            found[names.pop()] = lists.values.to_numpy()[ends[0] : ends[-1]].reshape(rows, -1)
    return found


def _write(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
