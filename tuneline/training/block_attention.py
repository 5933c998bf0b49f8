"""Attention over a row of blocks: block by block, causal, no mask.

A row of packed conversations with a block-diagonal mask costs its length squared and keeps torch from its fast
kernels. Here each block (``tuneline.training.layout``) goes through ``scaled_dot_product_attention`` as the ordinary
batch that it is. A model is told its blocks as the keyword argument ``blocks``, which transformers passes on to the
attention of every layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

NAME = "tuneline_blocks"


class BlocksUnsupportedError(Exception):
    """The model's attention does more than these blocks can."""


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    blocks: Sequence[tuple[int, int]] | None = None,
    in_float32: bool | None = None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers' ``AttentionInterface`` calls it.

    Args:
        module: the layer's attention.
        query: ``[1, heads, tokens, width]``.
        key: ``[1, key heads, tokens, width]``.
        value: like ``key``.
        attention_mask: always None, because no mask is made for an attention of this name.
        blocks: rows and width of each block, in the order of the tokens.
        in_float32: whether to compute in float32, whatever the type of what comes in; None: where that is faster. The
            planner says it, which has no GPU to ask.
        dropout: of the attention's weights.
        scaling: of the scores.
        sliding_window: how many tokens, itself included, a token sees; all if None.
        others: what some models pass on; those that would change the result are refused.

    Returns:
        ``[1, tokens, heads, width]``, and None for the weights.

    Raises:
        BlocksUnsupportedError: the model caps its scores, has attention sinks or biases, or gave no blocks.
    """
    refused = [name for name in ("softcap", "s_aux", "position_bias") if others.get(name) is not None]
    if refused or blocks is None or attention_mask is not None or not getattr(module, "is_causal", True):
        raise BlocksUnsupportedError(f"attention needs {', '.join(refused) or 'blocks, and no mask'}")
    sizes = [rows * width for rows, width in blocks]
    grouped, dtype = query.shape[1] != key.shape[1], query.dtype
    # On CPU torch's bfloat16 kernel takes 1.5 (500 tokens) to 6 times (40 tokens) as long backward as the float32 one.
    upcast = query.device.type == "cpu" if in_float32 is None else in_float32
    compute = torch.float32 if upcast else dtype
    query, key, value = query.to(compute), key.to(compute), value.to(compute)
    parts = zip(blocks, query.split(sizes, 2), key.split(sizes, 2), value.split(sizes, 2), strict=True)
    out = []
    for (rows, width), q, k, v in parts:
        q, k, v = (each[0].unflatten(1, (rows, width)).transpose(0, 1) for each in (q, k, v))
        mask = _band(width, sliding_window, q.device) if sliding_window and width > sliding_window else None
        result = nn.functional.scaled_dot_product_attention(
            q, k, v, mask, dropout, is_causal=mask is None, scale=scaling, enable_gqa=grouped
        )
        out.append(result.transpose(1, 2).flatten(0, 1))
    return torch.cat(out)[None].to(dtype), None


def _band(width: int, window: int, device: torch.device) -> Tensor:
    distance = torch.arange(width, device=device)[:, None] - torch.arange(width, device=device)
    return (distance >= 0) & (distance < window)


AttentionInterface.register(NAME, attend)


@contextmanager
def block_attention(base: PreTrainedModel) -> Iterator[None]:
    """Let the model attend in blocks; it then takes rows with ``blocks`` and nothing else."""
    before = base.config._attn_implementation
    base.set_attn_implementation(NAME)
    try:
        yield
    finally:
        base.set_attn_implementation(before)
