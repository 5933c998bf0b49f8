"""Whether a run has to compute its activations twice: a rough estimate of what they take, against what is free."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedConfig, PreTrainedModel

if TYPE_CHECKING:
    from tuneline.config import TrainingConfig

# An estimate that is too low ends the run, one that is too high costs a third of the speed.
_USABLE = 0.85
# Bytes for each trained weight in full fine-tuning: gradient and AdamW's two moments, in float32.
_TRAINED_BYTES = 12


def activation_bytes(config: PreTrainedConfig, tokens: int) -> int:
    """What the backward pass needs of so many tokens, without checkpointing.

    For each token and layer, in two bytes an element: the inputs of attention and MLP with their norms' float32
    copies, query, key, value and output, and three of the MLP's width and the gradient of one.

    Args:
        config: of the base model.
        tokens: of a forward pass.
    """
    text = config.get_text_config()
    wide = getattr(text, "intermediate_size", 4 * text.hidden_size)
    return int(tokens * text.num_hidden_layers * (28 * text.hidden_size + 8 * wide))


def needs_checkpointing(base: PreTrainedModel, training: TrainingConfig) -> bool:
    """Resolve ``training.gradient_checkpointing``; ``auto`` is no on CPU, whose memory is ample beside its speed.

    Args:
        base: loaded already, so that what is free is what is left.
        training: the config's section.
    """
    if training.gradient_checkpointing != "auto":
        return training.gradient_checkpointing
    if not torch.cuda.is_available():
        return False
    free, _ = torch.cuda.mem_get_info()
    trained = base.num_parameters() * _TRAINED_BYTES if training.method == "full" else 0
    return trained + activation_bytes(base.config, training.micro_batch_tokens) > _USABLE * free
