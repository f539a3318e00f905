"""What the tests of figures share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from borzoi_rt.report import style


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every figure that is finished."""
    found: list[Any] = []
    finish = style.finish

    def kept(figure: Any, path: Path, title: str) -> None:
        finish(figure, path, title)
        found.append(figure)

    monkeypatch.setattr(style, "finish", kept)
    return found
