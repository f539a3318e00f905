"""What the tests of explanations share."""

from __future__ import annotations

import pytest

from borzoi_rt.bundle.opening import Bundle


@pytest.fixture(scope="session")
def second_fold(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The network of ``gradient_bundle`` with other weights."""
    import torch
    import toys
    from borzoi_export.graphs import export_bundle

    from borzoi_rt.bundle.manifest import SquashSpec

    torch.manual_seed(12)
    model, out = toys.model(toys.config(sequence_length_bp=4096)), tmp_path_factory.mktemp("fold") / "bundle"
    squash = SquashSpec(kind="new", unscale=True)
    return export_bundle(model, toys.tracks(), out, squash=squash, name="fold 1", gradient=True)
