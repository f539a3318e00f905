"""Where weights lie: a file, a directory, or a Hugging Face repository."""

from __future__ import annotations

import os
import re
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from borzoi_rt.errors import BackendError, FormatError, InputError

WEIGHT_NAMES = ("model.safetensors", "pytorch_model.bin")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def locate(weights: str | os.PathLike[str], *, revision: str | None = None) -> tuple[Path, Path | None]:
    """Return the weight file and the config.json beside it, if there is one.

    Parameters
    ----------
    weights : path or str
        A file or a directory that exists, or a repository id ``owner/name``.
    revision : str, optional
        Branch, tag or commit of the repository.

    Raises
    ------
    FormatError
        If there is no such file.
    InputError
        If a revision is given for something local.
    BackendError
        If the repository cannot be reached; the message says how to go on without a network.
    """
    path = Path(weights)
    if path.exists() and revision is not None:
        raise InputError(f"{path}: revision {revision!r} was given, but this is a local path and not a repository")
    if path.is_dir():
        found = next((path / name for name in WEIGHT_NAMES if (path / name).is_file()), None)
        if found is None:
            raise FormatError(f"{path}: holds neither {' nor '.join(WEIGHT_NAMES)}")
        return found, _config_beside(found)
    if path.exists():
        return path, _config_beside(path)
    if not _REPOSITORY.fullmatch(str(weights)) or path.suffix in (".safetensors", ".bin", ".pt"):
        raise FormatError(f"{weights}: no such file, and not a repository id like owner/name")
    return _download(str(weights), revision)


def _config_beside(path: Path) -> Path | None:
    config = path.with_name("config.json")
    return config if config.is_file() else None


def _download(repository: str, revision: str | None) -> tuple[Path, Path | None]:
    config = _fetch(repository, "config.json", revision)
    for name in WEIGHT_NAMES:
        weights = _fetch(repository, name, revision)
        if weights is not None:
            return weights, config
    raise FormatError(f"{repository}: the repository holds neither {' nor '.join(WEIGHT_NAMES)}")


def _fetch(repository: str, name: str, revision: str | None) -> Path | None:
    """Return a file of a repository, from the local cache if it is there; None if the repository has no such file."""
    try:
        return Path(hf_hub_download(repository, name, revision=revision))
    except LocalEntryNotFoundError as error:
        raise _unreachable(repository, error) from error
    except EntryNotFoundError:
        return None
    except Exception as error:  # the library raises what the HTTP client below it raises, which differs by version
        raise _unreachable(repository, error) from error


def _unreachable(repository: str, error: Exception) -> BackendError:
    reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
    return BackendError(
        f"{repository}: not a local file, and the Hugging Face repository cannot be read ({reason}); download "
        f"{WEIGHT_NAMES[0]} and config.json by hand and name their directory instead"
    )
