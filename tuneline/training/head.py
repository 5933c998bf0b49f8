"""The language-model head and its cross-entropy on the supervised tokens alone, a part of them at a time.

On chat data most tokens are prompt, and logits are as wide as the vocabulary: 4,096 tokens of a vocabulary of 128,256
in float32 are 2 GiB, and their gradient as much. Here the decoder gives its hidden states, those that predict a
supervised token are chosen, and their logits live for one chunk: each chunk's gradient is taken at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from transformers import PreTrainedModel

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
        size = max(1, _CHUNK_BYTES // (4 * len(head)))
        for begin in range(0, len(targets), size):
            part = slice(begin, begin + size)
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


def chunked_loss(hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross-entropy of a linear head, summed.

    Args:
        hidden: ``[tokens, width]``, what the head takes, of the tokens that predict a supervised one.
        head: ``[vocabulary, width]``.
        targets: ``[tokens]``, what is predicted.
        weights: ``[tokens]``, of each prediction.

    Returns:
        A scalar.
    """
    device = hidden.device.type
    # Under autocast (QLoRA keeps its head in float32) the products are taken as autocast would take them.
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else head.dtype
    with torch.autocast(device, enabled=False):
        loss: Tensor = _ChunkedLoss.apply(hidden.to(dtype), head.to(dtype), targets, weights)  # type: ignore[no-untyped-call]
    return loss


class _Bare:
    """Stands for a head's forward: hands the hidden states through."""

    def __call__(self, hidden: Tensor) -> Tensor:
        return hidden


class _Overheard:
    """Stands for a head's forward: remembers what it made, and how often that had been changed in place."""

    def __init__(self, forward: Callable[[Tensor], Tensor]) -> None:
        self._forward = forward
        self.made: list[tuple[Tensor, int]] = []

    def __call__(self, hidden: Tensor) -> Tensor:
        logits = self._forward(hidden)
        self.made.append((logits, logits._version))
        return logits


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
    if type(head) is not nn.Linear or getattr(head, "bias", None) is not None or not _is_last(base, head):
        yield
        return
    head.forward = _Bare()  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        del head.forward


@torch.no_grad()
def _is_last(base: PreTrainedModel, head: Any) -> bool:
    """Whether the model's logits are the very tensor that the head made; no number is looked at (see ``plan.step``)."""
    was_training = base.training
    base.eval()
    ids = torch.arange(_TRIED, device=base.device)[None] % base.config.get_text_config().vocab_size
    head.forward = heard = _Overheard(head.forward)
    # Where trained float32 weights stand between bfloat16 ones, the training's passes have autocast, too.
    half = next((p.dtype for p in base.parameters() if p.dtype in (torch.bfloat16, torch.float16)), torch.bfloat16)
    mixed = len({p.dtype for p in base.parameters() if p.is_floating_point()}) > 1
    try:
        with torch.autocast(base.device.type, half, enabled=mixed):
            logits: Tensor = base(input_ids=ids, use_cache=False).logits
    finally:
        del head.forward
    base.train(was_training)
    return len(heard.made) == 1 and heard.made[0][0] is logits and heard.made[0][1] == logits._version
