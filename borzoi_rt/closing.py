"""What is opened and must be closed, for use in ``with``."""

from __future__ import annotations

from typing import Self


class Closing:
    """A context manager that is closed on the way out."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free what is held."""
        raise NotImplementedError
