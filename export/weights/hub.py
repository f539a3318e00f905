"""Where weights lie: a file, a directory, or a Hugging Face repository."""

from __future__ import annotations

import os
import re
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

from borzoi_rt.errors import BackendError, FormatError

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
    BackendError
        If the repository cannot be reached; the message says how to go on without a network.
    """
    path = Path(weights)
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
    try:
        config: Path | None = Path(hf_hub_download(repository, "config.json", revision=revision))
    except EntryNotFoundError as error:
        if isinstance(error, LocalEntryNotFoundError):
            raise _unreachable(repository, error) from error
        config = None
    except (RepositoryNotFoundError, HfHubHTTPError, OSError, ValueError, RuntimeError) as error:
        raise _unreachable(repository, error) from error
    for name in WEIGHT_NAMES:
        try:
            return Path(hf_hub_download(repository, name, revision=revision)), config
        except EntryNotFoundError as error:
            if isinstance(error, LocalEntryNotFoundError):
                raise _unreachable(repository, error) from error
        except (HfHubHTTPError, OSError, ValueError, RuntimeError) as error:
            raise _unreachable(repository, error) from error
    raise FormatError(f"{repository}: the repository holds neither {' nor '.join(WEIGHT_NAMES)}")


def _unreachable(repository: str, error: Exception) -> BackendError:
    reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
    return BackendError(
        f"{repository}: not a local file, and the Hugging Face repository cannot be read ({reason}); download "
        f"{WEIGHT_NAMES[0]} and config.json by hand and pass their directory to --weights"
    )
