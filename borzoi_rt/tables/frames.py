"""Tables for people who work in Python: pandas and polars are imported only when a frame of theirs is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pyarrow as pa

from ..errors import BackendError


class Frames:
    """What a result with named rows offers besides :meth:`to_arrow`, which the class itself gives."""

    def to_arrow(self, layout: str = "long") -> pa.Table:
        """Return the rows as a table of Arrow."""
        raise NotImplementedError

    def to_pandas(self, layout: str = "long") -> Any:
        """Return the rows as a ``pandas.DataFrame``; missing values are NaN or None.

        Raises
        ------
        BackendError
            If pandas is not installed.
        """
        library("pandas")
        return self.to_arrow(layout).to_pandas()

    def to_polars(self, layout: str = "long") -> Any:
        """Return the rows as a ``polars.DataFrame``.

        Raises
        ------
        BackendError
            If polars is not installed.
        """
        return library("polars").from_arrow(self.to_arrow(layout))


def library(name: str, *, extra: str = "") -> Any:
    """Import what a table is asked for as.

    Raises
    ------
    BackendError
        If it is not installed; says how it is.
    """
    try:
        return import_module(name)
    except ImportError as error:
        wanted = f"'borzoi-rt[{extra}]'" if extra else name
        raise BackendError(f"{name} is not installed; pip install {wanted}, or use to_arrow") from error
