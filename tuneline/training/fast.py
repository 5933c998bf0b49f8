"""A model in the loop: what is put on it for the time of the training, and taken off before anything is saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from peft import PeftModel
from transformers import PreTrainedModel

from tuneline.training.block_attention import block_attention
from tuneline.training.head import without_head
from tuneline.training.lean_lora import all_lean, lean_lora

if TYPE_CHECKING:
    from tuneline.config import TrainingConfig


@contextmanager
def at_full_speed(model: PreTrainedModel | PeftModel, training: TrainingConfig, *, packed: bool) -> Iterator[None]:
    """Block attention for packed rows, LoRA in one operation, the head on supervised tokens alone.

    FSDP and ZeRO 3 gather a layer's weights in that layer's forward only, so there the head stays where it is.
    """
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    with ExitStack() as stack:
        if not training.torch_compile:  # the compiler makes one operation of them by itself
            stack.enter_context(lean_lora(model))
        if training.distributed.strategy == "ddp":
            stack.enter_context(without_head(base))
        if packed:
            stack.enter_context(block_attention(base))
        yield


def needs_autocast(model: PreTrainedModel | PeftModel, training: TrainingConfig) -> bool:
    """Whether torch has to choose each operation's type.

    It costs a copy of each input, and nothing needs it where all weights are of the base model's type and LoRA's are
    cast on the way. ``modules_to_save`` are float32.
    """
    return training.torch_compile or bool(training.modules_to_save) or not all_lean(model)
