"""Checkpoints are whole or not there: written beside their name, flushed to the disk, and renamed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from borzoi_rt.errors import BackendError


class WholeFiles(TorchCheckpointIO):
    """Lightning's reader with a writer of our own.

    Lightning writes to the system's folder for temporary files and moves that; where it lies on another file system
    the move is a copy onto the old checkpoint, and a kill in its midst leaves neither.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Raises
        ------
        BackendError
            If the disk does not take it; the file of that name stays as it was.
        """
        path = Path(path)
        draft = path.with_name(f".{path.name}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as handle:
                torch.save(checkpoint, handle)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(draft, path)
            _flush_names(path.parent)
        except (OSError, RuntimeError) as error:
            draft.unlink(missing_ok=True)
            kept = "; the one before is kept" if path.is_file() else ""
            raise BackendError(f"{path}: cannot be written ({' '.join(str(error).split())[:160]}){kept}") from error


def _flush_names(folder: Path) -> None:
    """Let the new name survive a loss of power too."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
