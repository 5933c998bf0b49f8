"""Out of memory: the step is done again in smaller passes, with the same conversations and the same loss.

The loss of a pass is a sum over its tokens, divided by the weights of the whole step. So a micro-batch may be cut
anywhere between two conversations, and where the data stands in its order does not change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tuneline.errors import TunelineError, UserError

if TYPE_CHECKING:
    from tuneline.config import TrainingConfig


class OutOfMemory(TunelineError):
    """One of several processes has no memory left; all of them have to begin again with smaller passes."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is short, on a GPU or without one."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("can't allocate memory" in text or "CUDA out of memory" in text)


def halve(batch: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """Cut a micro-batch in two: between rows, or within its only row between two conversations.

    Args:
        batch: tensors ``[rows, tokens]``, among them ``position_ids`` that are 0 where a conversation begins.

    Returns:
        Two micro-batches, or the one that holds a single conversation.
    """
    rows, tokens = batch["position_ids"].shape
    if rows > 1:
        middle = rows // 2
        return [{k: v[:middle] for k, v in batch.items()}, {k: v[middle:] for k, v in batch.items()}]
    begins = (batch["position_ids"][0] == 0).nonzero().flatten().tolist()[1:]
    if not begins:
        return [batch]
    at = min(begins, key=lambda begin: abs(begin - tokens / 2))
    return [{k: v[:, :at] for k, v in batch.items()}, {k: v[:, at:] for k, v in batch.items()}]


def cut(batch: dict[str, Tensor], parts: int) -> list[dict[str, Tensor]]:
    """Cut a micro-batch into ``parts`` (a power of two), or into as many as it has conversations."""
    pieces = [batch]
    while parts > 1:
        pieces = [half for piece in pieces for half in halve(piece)]
        parts //= 2
    return pieces


def no_memory(reason: str, training: TrainingConfig, tokens: int | None = None, *, halved: bool = False) -> UserError:
    """The error for a training that does not fit, with what would.

    Args:
        reason: what the allocator said.
        tokens: of the longest conversation in the pass, if even that one alone was too much.
        halved: whether smaller passes were tried.
    """
    first = reason.strip().splitlines()[0][:200] if reason.strip() else "out of memory"
    if tokens is not None:
        what = f"a single conversation of {tokens} tokens does not fit into memory: {first}"
        hint = f"Set training.max_length below {tokens}"
    elif halved:
        what = f"memory ran out outside the passes that can be made smaller: {first}"
        hint = "Lower training.r" if training.method == "lora" else "Set training.optimizer: paged_adamw_8bit"
    else:
        what = (
            f"a pass of training.micro_batch_tokens ({training.micro_batch_tokens}) does not fit into memory: {first}"
        )
        hint = f"Set training.on_oom: halve, or training.micro_batch_tokens: {training.micro_batch_tokens // 2}"
    others = [] if training.gradient_checkpointing is True else ["training.gradient_checkpointing: true"]
    return UserError(
        what,
        hint=", or ".join([hint, *others, "model.quantization: nf4"]) + ". What was saved is taken up again only "
        "by an unchanged config.",
    )
