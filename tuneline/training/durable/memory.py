"""Out of memory: the step is done again in smaller passes, with the same conversations and the same loss.

The loss of a pass is a sum over its tokens, divided by the weights of the whole step. So a micro-batch may be cut
anywhere between two conversations, and where the data stands in its order does not change.
"""

from __future__ import annotations

from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any

import torch

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


def halve(batch: dict[str, Any]) -> list[dict[str, Any]]:
    """Cut a micro-batch in two between conversations, where both have about as many tokens.

    Args:
        batch: as ``tuneline.training.packing.collate`` makes it.

    Returns:
        Two micro-batches, or the one that holds a single conversation.
    """
    blocks = batch.get("blocks")
    if blocks is None:
        rows = len(batch["input_ids"])
        middle = rows // 2
        if rows == 1:
            return [batch]
        return [{k: v[:middle] for k, v in batch.items()}, {k: v[middle:] for k, v in batch.items()}]
    widths = [width for rows, width in blocks for _ in range(rows)]
    if len(widths) == 1:
        return [batch]
    ends = list(accumulate(widths))
    count = min(range(1, len(widths)), key=lambda number: abs(ends[number - 1] - ends[-1] / 2))
    halves = ((slice(None, ends[count - 1]), widths[:count]), (slice(ends[count - 1], None), widths[count:]))
    return [
        {k: v[:, part] for k, v in batch.items() if k != "blocks"}
        | {"blocks": tuple((len(list(run)), width) for width, run in groupby(kept))}
        for part, kept in halves
    ]


def cut(batch: dict[str, Any], parts: int) -> list[dict[str, Any]]:
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
