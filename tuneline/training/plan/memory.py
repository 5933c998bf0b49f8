"""What training holds in memory, part by part, bytes per process."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from tuneline.training.plan.architecture import Architecture
from tuneline.training.plan.cards import GIB
from tuneline.training.plan.step import step_bytes, trainable_model

if TYPE_CHECKING:
    from tuneline.config import ModelConfig, TrainingConfig

# Bytes per weight in bitsandbytes' formats. NF4: 4 bits, one 8-bit scale for 64 weights, and one 32-bit scale for 256
# of those (arXiv:2305.14314); LLM.int8(): 8 bits, and a 32-bit scale for each row, too few to count.
_QUANTIZED = {"nf4": 0.5 + 1 / 64 + 4 / (64 * 256), "int8": 1.0}
# Two moments of 8 bits, each with one 32-bit scale for 256 weights.
_MOMENTS_8BIT = 2 * (1 + 4 / 256)
# CUDA's context and cuBLAS's workspace, about 0.8 GiB on any card; on a CPU the libraries themselves.
RESERVE_GIB = 0.8
# What the allocator loses between blocks of different sizes: a tenth of what comes and goes.
FRAGMENTATION = 0.1


@dataclass(frozen=True)
class Memory:
    """Bytes by part, of one process.

    Attributes:
        weights: the base model's, as loaded.
        adapter: trained weights beside the base model's.
        gradients: one for each trained weight.
        optimizer: AdamW's two moments.
        activations: most that is alive in a forward and backward pass, the head's logits included.
        reserve: what the device and its allocator take for themselves.
    """

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    activations: int
    reserve: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True)
class Held:
    """What stays from the first step to the last: bytes, and the number of trained weights."""

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    trainable: int


def held(architecture: Architecture, model: ModelConfig, training: TrainingConfig, kind: str) -> Held:
    """Count weights, adapter, gradients and optimizer of the whole model in one process.

    Args:
        architecture: of the base model.
        model: the config's section.
        training: the config's section.
        kind: ``cuda`` or ``cpu``: what ``optimizer: auto`` becomes.
    """
    (one, one_trained, one_count), (two, two_trained, two_count) = (
        _counted(trainable_model(architecture, model, training, layers)) for layers in (1, 2)
    )
    more = architecture.layers - 1
    frozen = one + more * (two - one)
    size = one_trained + more * (two_trained - one_trained)
    count = one_count + more * (two_count - one_count)
    if model.quantization != "none" and training.method == "lora":
        full_size = architecture.block_linear * _element_size(model.dtype)
        frozen += int(architecture.block_linear * _QUANTIZED[model.quantization]) - full_size
    optimizer = training.optimizer
    if optimizer == "auto":
        optimizer = "adamw_8bit" if training.method == "full" and kind == "cuda" else "adamw"
    moments = 2 * size if optimizer == "adamw" else int(count * _MOMENTS_8BIT)
    if training.method == "full":
        return Held(size, 0, size, moments, count)
    return Held(frozen, size, size, moments, count)


def _counted(made: Any) -> tuple[int, int, int]:
    """Bytes of the frozen and of the trained weights, and the number of the trained ones."""
    trained = [parameter for parameter in made.parameters() if parameter.requires_grad]
    frozen = sum(p.numel() * p.element_size() for p in made.parameters() if not p.requires_grad)
    return frozen, sum(p.numel() * p.element_size() for p in trained), sum(p.numel() for p in trained)


def training_memory(
    architecture: Architecture, model: ModelConfig, training: TrainingConfig, kind: str, *, checkpointing: bool
) -> Memory:
    """Plan the memory of one process; see ``held`` and ``step_bytes``."""
    stays = held(architecture, model, training, kind)
    activations = step_bytes(architecture, model, training, kind, checkpointing=checkpointing)
    distributed = training.distributed
    shards = distributed.processes if distributed.strategy != "ddp" else 1
    # A shard's layer is put together for its turn, and the next one while that computes.
    gathered = 2 * stays.weights // architecture.layers if shards > 1 else 0
    # DDP reduces the gradients in buckets of their own size.
    buckets = stays.gradients if distributed.processes > 1 and shards == 1 else 0
    return Memory(
        weights=stays.weights // shards + gathered,
        adapter=stays.adapter // shards,
        gradients=stays.gradients // shards + buckets,
        optimizer=stays.optimizer // shards,
        activations=activations,
        reserve=int(RESERVE_GIB * GIB + FRAGMENTATION * activations),
    )


def _element_size(dtype: str) -> int:
    return 4 if dtype == "float32" else 2
