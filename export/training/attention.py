"""Other ways to compute the attention of a network in training: the same function, in less memory.

The plain form keeps three arrays of (heads, tokens, tokens) a layer for the backward pass. ``sdpa`` hands the relative
logits to PyTorch's fused attention as a bias, and keeps them alone where a fused kernel takes such a bias. ``chunks``
takes some queries at a time and computes them again in the backward pass: nothing of that size is kept. Both give the
plain form's values to rounding; with dropout of attention they draw other numbers from the same seed.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as functional
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from borzoi_rt.errors import InputError

from ..models.borzoi import Attention, Borzoi

CHUNK = 512  # queries


def set_attention(network: Borzoi, form: str) -> None:
    """Let all layers of a network compute their attention in one of the forms of ``options.ATTENTION``.

    Raises
    ------
    InputError
        If positions are rotary: such attention has one form, PyTorch's fused function.
    """
    way = {"sdpa": fused, "chunks": chunked}.get(form)
    if way is None:
        return
    for block in network.transformer:
        attention = block.attention
        if not isinstance(attention, Attention):
            raise InputError(f"attention {form!r} is for relative positions; with rotary ones only 'plain' is possible")
        attention.forward = partial(way, attention)  # type: ignore[method-assign]


def fused(attention: Attention, x: Tensor) -> Tensor:
    """Return the attention of tokens (batch, tokens, channels) by PyTorch's fused function."""
    query, key, value = _parts(attention, x)
    bias = attention.relative_logits(query + attention.position_bias)
    mixed = functional.scaled_dot_product_attention(
        (query + attention.content_bias).to(value.dtype),
        key,
        value,
        attn_mask=bias.to(value.dtype),
        dropout_p=attention.dropout.p if attention.dropout.training else 0.0,
        scale=1.0,  # queries are scaled before the biases are added
    )
    return attention.out(mixed.transpose(1, 2).flatten(2))


def chunked(attention: Attention, x: Tensor) -> Tensor:
    """Return the attention of tokens (batch, tokens, channels), ``CHUNK`` queries at a time."""
    query, key, value = _parts(attention, x)
    rows = attention.relative_keys()
    parts = []
    for start in range(0, query.shape[2], CHUNK):
        inputs = (attention, query[:, :, start : start + CHUNK], key, value, rows, start)
        if torch.is_grad_enabled():
            parts.append(checkpoint(_some_queries, *inputs, use_reentrant=False))
        else:
            parts.append(_some_queries(*inputs))
    return attention.out(torch.cat(parts, dim=2).transpose(1, 2).flatten(2))


def _parts(attention: Attention, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    query = attention.split(attention.query(x)) * attention.key_size**-0.5
    return query, attention.split(attention.key(x)), attention.split(attention.value(x))


def _some_queries(attention: Attention, query: Tensor, key: Tensor, value: Tensor, rows: Tensor, start: int) -> Tensor:
    """Return what queries ``start`` and on read: (batch, heads, queries, value size)."""
    tokens = torch.arange(key.shape[2], device=key.device)
    mine = tokens[start : start + query.shape[2]]
    classes = attention.position_classes[tokens[None, :] - mine[:, None] + len(tokens) - 1]
    logits = (query + attention.content_bias) @ key.transpose(-1, -2)
    relative = (query + attention.position_bias) @ rows.transpose(-1, -2)
    logits = logits + relative.gather(-1, classes.expand(*relative.shape[:2], -1, -1))
    return attention.dropout(torch.softmax(logits, dim=-1)) @ value
