"""The language-model head and its cross-entropy on the supervised tokens alone, a part of them at a time.

On chat data most tokens are prompt, and logits are as wide as the vocabulary: 4,096 tokens of a vocabulary of 128,256
in float32 are 2 GiB, and their gradient as much. Here the decoder gives its hidden states, those that predict a
supervised token are chosen, and their logits live for one chunk: each chunk's gradient is taken at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from transformers import PreTrainedModel

from tuneline.training.trial import without_dropout

_CHUNK_BYTES = 64 * 2**20  # of float32 logits; smaller chunks cost launches, larger ones only memory
_TRIED = 16  # tokens


class _ChunkedLoss(torch.autograd.Function):
    """Weighted cross-entropy of a linear head, with its gradients computed on the way forward."""

    @staticmethod
    def forward(ctx: FunctionCtx, hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        hidden_grad = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None  # type: ignore[attr-defined]
        trained = ctx.needs_input_grad[1]  # type: ignore[attr-defined]
        head_grad = torch.zeros_like(head, dtype=torch.float32) if trained else None
        loss = hidden.new_zeros((), dtype=torch.float32)
        for chunk in torch.arange(len(targets), device=hidden.device).split(max(1, _CHUNK_BYTES // (4 * len(head)))):
            part = slice(int(chunk[0]), int(chunk[-1]) + 1) if len(chunk) else slice(0, 0)
            logits = (hidden[part] @ head.T).float()
            norm = logits.logsumexp(-1)
            chosen = logits.gather(-1, targets[part, None])[:, 0]
            loss += ((norm - chosen) * weights[part]).sum()
            if hidden_grad is None and head_grad is None:
                continue
            slope = logits.sub_(norm[:, None]).exp_()
            slope[torch.arange(len(slope), device=slope.device), targets[part]] -= 1
            slope = slope.mul_(weights[part, None]).to(hidden.dtype)
            if hidden_grad is not None:
                torch.mm(slope, head, out=hidden_grad[part])
            if head_grad is not None:
                head_grad += slope.T @ hidden[part]
        ctx.save_for_backward(*[grad for grad in (hidden_grad, head_grad) if grad is not None])
        ctx.head_dtype = head.dtype  # type: ignore[attr-defined]
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        saved = [kept * grad.to(kept.dtype) for kept in ctx.saved_tensors]
        hidden_grad = saved.pop(0) if ctx.needs_input_grad[0] else None
        head_grad = saved.pop(0).to(ctx.head_dtype) if ctx.needs_input_grad[1] else None
        return hidden_grad, head_grad, None, None


def chunked_loss(hidden: Tensor, head: Tensor, labels: Tensor, weights: Tensor, normaliser: Tensor | float) -> Tensor:
    """Weighted next-token cross-entropy, as ``supervised_loss`` gives it for the logits of a linear head.

    Args:
        hidden: ``[rows, tokens, width]``, what the head takes.
        head: ``[vocabulary, width]``.
        labels: ``[rows, tokens]``, -100 where there is nothing to learn.
        weights: ``[rows, tokens]``, weight of predicting the token at that place.
        normaliser: sum of the weights over the whole optimizer step.

    Returns:
        A scalar.
    """
    targets = labels[:, 1:]
    chosen = targets != -100
    shares = weights[:, 1:][chosen] / normaliser
    device = hidden.device.type
    # Under autocast (QLoRA keeps its head in float32) the products are taken as autocast would take them.
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else head.dtype
    with torch.autocast(device, enabled=False):
        loss: Tensor = _ChunkedLoss.apply(  # type: ignore[no-untyped-call]
            hidden[:, :-1][chosen].to(dtype), head.to(dtype), targets[chosen], shares
        )
    return loss


class _Bare:
    """Stands for a head's forward: hands the hidden states through."""

    def __call__(self, hidden: Tensor) -> Tensor:
        return hidden


def bare_head(model: Any) -> nn.Linear | None:
    """The head, if the model's forward gives hidden states instead of logits at the moment.

    Args:
        model: with or without PEFT around it.
    """
    head = model.get_output_embeddings()
    return head if isinstance(head, nn.Linear) and isinstance(head.__dict__.get("forward"), _Bare) else None


@contextmanager
def without_head(base: PreTrainedModel) -> Iterator[None]:
    """Let the model's forward give hidden states, where its logits are nothing but a linear head on them.

    Whether they are is tried on the model; Gemma 2 caps its logits, Cohere and Granite scale them. Those keep their
    head, and are computed by their own forward.
    """
    head: Any = base.get_output_embeddings()
    if type(head) is not nn.Linear or getattr(head, "bias", None) is not None or not _is_all(base, head):
        yield
        return
    head.forward = _Bare()  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        del head.forward


@torch.no_grad()
def _is_all(base: PreTrainedModel, head: Any) -> bool:
    ids = torch.arange(_TRIED, device=base.device)[None] % base.config.get_text_config().vocab_size
    with without_dropout(base):
        logits: Tensor = base(input_ids=ids, use_cache=False).logits
        head.forward = _Bare()
        try:
            hidden: Tensor = base(input_ids=ids, use_cache=False).logits
        finally:
            del head.forward
        return hidden.shape[-1] == head.in_features and torch.equal(head(hidden), logits)
