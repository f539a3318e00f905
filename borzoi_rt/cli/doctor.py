"""``borzoi-rt doctor``."""

from __future__ import annotations

import json
import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from .. import __version__
from ..backends.cores import cache_root, usable_cores
from ..backends.runtime import NO_REPORTS, PROVIDERS, onnxruntime
from ..errors import BorzoiError
from ._extras import PACKAGES

_NAMES = {"yaml": "pyyaml"}  # import name -> name of the distribution, where they differ
_CORE = ("numpy", "pysam", "pyarrow", "h5py", "pybigtools", "onnxruntime-gpu")
_VERSIONS = (*_CORE, *dict.fromkeys(name for names in PACKAGES.values() for name in names))
_ADDS = {
    "cpu": "scoring on this machine's CPU",
    "promoter": "scores of promoter motifs: dft",
    "ray": "workers on a Ray cluster",
    "report": "HTML pages: report and --report",
    "neighbours": "approximate neighbours of embeddings: neighbours --index hnsw",
    "surrogate": "simple models and concepts: surrogate, tcav, bottleneck",
    "explain": "DeepLIFT: explain --method deeplift",
    "triton": "clients of Triton servers, and their repositories",
    "export": "get and export: published weights as bundles",
    "train": "train and fine-tune",
    "anndata": "results as AnnData: to_anndata",
}
_OTHERS = {"anndata": ("anndata", "pandas")}  # extras that no command checks
_CGROUP_MEMORY = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object  [default: in words].")
def doctor(as_json: bool) -> None:
    """Say what is installed, what this machine grants to a process, and what each extra would add.

    Nothing is sent anywhere, and nothing is changed.
    """
    facts = examine()
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for title, lines in _in_words(facts).items():
        click.echo(title)
        width = max(map(len, lines), default=0) + 2
        for name, text in lines.items():
            click.echo(f"  {name:<{width}}{text}")


def examine() -> dict[str, Any]:
    """Return what is known of this installation and machine, as JSON types."""
    return {
        "borzoi_rt": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: found for name in _VERSIONS if (found := _version(name)) is not None},
        "devices": _devices(),
        "cores": {"machine": os.cpu_count(), "usable": usable_cores()},
        "memory_bytes": _memory(),
        "caches": _caches(),
        "extras": {
            extra: {"adds": text, "missing": [name for name in _packages(extra) if find_spec(name) is None]}
            for extra, text in _ADDS.items()
        },
        "telemetry": False,
    }


def _packages(extra: str) -> tuple[str, ...]:
    return PACKAGES.get(extra) or _OTHERS[extra]


def _version(name: str) -> str | None:
    try:
        return version(_NAMES.get(name, name))
    except PackageNotFoundError:
        return None


def _devices() -> dict[str, bool]:
    """Return which kinds of device the installed onnxruntime has a provider for; all False without it."""
    try:
        found = onnxruntime().get_available_providers()
    except BorzoiError:
        found = []
    return {kind: provider in found for kind, provider in PROVIDERS.items()}


def _memory() -> dict[str, int | None]:
    """Return the memory of the machine, and the limit of the container, in bytes; None where it is not known."""
    try:
        machine: int | None = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        machine = None
    limit = None
    for path in _CGROUP_MEMORY:
        try:
            limit = int(path.read_text())
            break
        except (OSError, ValueError):  # "max": no limit
            continue
    if limit is not None and machine is not None and limit >= machine:
        limit = None
    return {"machine": machine, "limit": limit}


def _caches() -> dict[str, dict[str, Any]]:
    """Return our cache folder and that of the Hugging Face hub: where, how large, and how much room there is."""
    folders: dict[str, Path | None] = {}
    try:
        root = cache_root()
        folders["borzoi-rt"] = root / "borzoi_rt"
        hub = os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or root / "huggingface") / "hub"
        folders["hugging face"] = Path(hub)
    except BorzoiError:
        folders["borzoi-rt"] = None
    return {name: _folder(path) for name, path in folders.items()}


def _folder(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {"path": None, "bytes": 0, "free_bytes": None}
    there = next((folder for folder in (path, *path.parents) if folder.is_dir()), None)
    return {
        "path": str(path),
        "bytes": _size(path),
        "free_bytes": None if there is None else shutil.disk_usage(there).free,
    }


def _size(path: Path) -> int:
    """Return the bytes of all files of a folder; links are not followed, what cannot be read counts nothing."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                continue
    return total


def _in_words(facts: dict[str, Any]) -> dict[str, dict[str, str]]:
    cores, memory = facts["cores"], facts["memory_bytes"]
    versions = {"borzoi-rt": facts["borzoi_rt"], "python": f"{facts['python']} on {facts['platform']}"}
    machine = {
        "cores": f"{cores['usable']} usable of {cores['machine']}"
        + ("; a quota or an affinity grants the others to somebody else" if cores["usable"] < cores["machine"] else ""),
        "memory": _gb(memory["machine"]) + (f", limited to {_gb(memory['limit'])}" if memory["limit"] else ""),
        "devices": ", ".join(kind for kind, there in facts["devices"].items() if there)
        or "none: pip install 'borzoi-rt[cpu]' for a CPU, or 'borzoi-rt[gpu]' for CUDA and TensorRT",
    }
    caches = {
        name: f"{found['path']}: {_gb(found['bytes'])}, {_gb(found['free_bytes'])} free"
        for name, found in facts["caches"].items()
    }
    extras = {
        name: found["adds"]
        + (
            f" - lacks {', '.join(found['missing'])}: pip install 'borzoi-rt[{name}]'"
            if found["missing"]
            else " - there"
        )
        for name, found in facts["extras"].items()
    }
    return {
        "Versions": {**versions, **facts["packages"]},
        "Machine": machine,
        "Caches": caches,
        "Extras": extras,
        "Telemetry": {"off": f"nothing is reported to anyone ({', '.join(NO_REPORTS)} is set for onnxruntime)"},
    }


def _gb(count: int | None) -> str:
    return "unknown" if count is None else f"{count / 1e9:.1f} GB"
