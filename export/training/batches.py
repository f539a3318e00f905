"""The loaders of a run in the form that Lightning asks for them."""

from __future__ import annotations

from collections.abc import Sequence

import lightning.pytorch as pl
import numpy as np

from borzoi_rt.dataset import Split

from .loader import TrainBatches, ValidBatches


class Batches(pl.LightningDataModule):
    """Loaders, made where rank and world are known; training begins at batch ``start``.

    Parameters
    ----------
    training : sequence of Split
        Training windows of each head.
    validation : sequence of Split or None
        Validation windows of each head, if it has any.
    strand_pairs, batch_size, epochs, seed, augment_rc, augment_shift, workers
        See :class:`.loader.TrainBatches`.
    """

    def __init__(
        self,
        training: Sequence[Split],
        validation: Sequence[Split | None],
        strand_pairs: Sequence[np.ndarray],
        *,
        batch_size: int,
        epochs: int,
        seed: int,
        augment_rc: bool = True,
        augment_shift: int = 0,
        workers: int = 1,
    ) -> None:
        super().__init__()
        self.start = 0
        self._training, self._validation, self._pairs = tuple(training), tuple(validation), tuple(strand_pairs)
        self._size, self._epochs, self._seed = batch_size, epochs, seed
        self._rc, self._shift, self._workers = augment_rc, augment_shift, workers

    @property
    def validated(self) -> bool:
        """Whether any head has validation windows."""
        return any(split is not None for split in self._validation)

    def loader(self, rank: int, world: int) -> TrainBatches:
        """Return the training batches of a process, from the first on."""
        return TrainBatches(
            self._training,
            self._pairs,
            batch_size=self._size,
            epochs=self._epochs,
            seed=self._seed,
            rank=rank,
            world=world,
            augment_rc=self._rc,
            augment_shift=self._shift,
            workers=self._workers,
        )

    def train_dataloader(self) -> TrainBatches:
        """Return the training batches of this process."""
        assert self.trainer is not None
        loader = self.loader(self.trainer.global_rank, self.trainer.world_size)
        loader.start = self.start
        return loader

    def val_dataloader(self) -> list[ValidBatches]:
        """Return the validation batches of this process, a loader per head."""
        assert self.trainer is not None
        process = {"rank": self.trainer.global_rank, "world": self.trainer.world_size}
        return [
            ValidBatches(split, head=head, batch_size=self._size, workers=self._workers, **process)
            for head, split in enumerate(self._validation)
            if split is not None
        ]
