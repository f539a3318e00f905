"""What the tests of explanations share."""

from __future__ import annotations

import pytest
import toys
from command_line import Cli

from borzoi_rt.bundle.opening import Bundle


@pytest.fixture(scope="session")
def second_fold(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The network of ``gradient_bundle`` with other weights."""
    out, sizes = tmp_path_factory.mktemp("fold") / "bundle", toys.config(sequence_length_bp=4096)
    return toys.bundle(out, sizes, seed=12, name="fold 1", unscale=True, gradient=True)


@pytest.fixture
def call(cli: Cli) -> Cli:
    """The program, under its name here."""
    return cli
