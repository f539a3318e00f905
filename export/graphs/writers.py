"""Which writer of tower and attention a form of the graphs takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ..models.borzoi import Borzoi
from .attention import AttentionWriter
from .attention_gpu import BatchedAttentionWriter
from .builder import GraphBuilder
from .form import Form
from .rotary import RotaryWriter
from .spans import Span
from .tower import Tower
from .tower_gpu import ConvTower


class WritesAttention(Protocol):
    """Writes the attention of every block of one network into one graph."""

    def write(self, x: str, attention: Any, name: str, span: Span) -> str:
        """Attend from the queries in ``span`` to all tokens: (batch, tokens, channels) to (batch, span, channels)."""


def attention_writer(graph: GraphBuilder, model: Borzoi, form: Form) -> WritesAttention:
    """Return the writer of attention."""
    if model.config.rotary_size:
        return RotaryWriter(graph, batched=form.target == "gpu")
    if form.target == "cpu":
        return AttentionWriter(graph)
    return BatchedAttentionWriter(graph)


def tower_writer(
    graph: GraphBuilder, model: Borzoi, tokens: int, skips: Sequence[Span], form: Form
) -> Tower | ConvTower:
    """Return the writer of a tower of ``tokens`` tokens that keeps ``skips``."""
    if form.target == "cpu":
        return Tower(graph, model, tokens=tokens, skips=skips, convolution=form.convolution)
    return ConvTower(graph, model, tokens=tokens, skips=skips)
