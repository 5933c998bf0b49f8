"""What the serving engine holds: the weights, the adapters, and what is left of its share for the KV cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuneline.training.plan.architecture import Architecture
from tuneline.training.plan.cards import GIB, Device

if TYPE_CHECKING:
    from tuneline.config import ServingConfig

# Bytes for a weight of the blocks' linear layers by vLLM's name, with its scales. Any other method is counted as
# unquantized, which is too much and never too little.
_WEIGHT = {
    "bitsandbytes": 0.53,
    "fp8": 1.0,
    "fp8_per_channel": 1.0,
    **dict.fromkeys(("awq", "awq_marlin", "gptq", "gptq_marlin"), 0.53),
}
# Activations of one step, CUDA graphs and context, as vLLM 0.32 reports them for models of 7B: 1 to 2 GiB.
_OWN_GIB = {"cuda": 1.5, "cpu": 1.5}


@dataclass(frozen=True)
class EngineMemory:
    """Bytes, and what they are good for.

    Attributes:
        weights: of the base model.
        adapters: slots for ``max_loras`` adapters of the largest rank.
        own: activations, graphs and context.
        kv_cache: what is left.
        kv_per_token: keys and values of one token; sliding windows need less.
        kv_tokens: tokens that the cache holds.
        max_model_len: longest conversation that must fit, tokens.
    """

    weights: int
    adapters: int
    own: int
    kv_cache: int
    kv_per_token: int
    kv_tokens: int
    max_model_len: int

    @property
    def fits(self) -> bool:
        """One conversation of full length fits."""
        return self.kv_tokens >= self.max_model_len

    @property
    def conversations(self) -> float:
        """Conversations of full length at once."""
        return self.kv_tokens / self.max_model_len


def engine_memory(
    architecture: Architecture, serving: ServingConfig, rank_bytes: float, device: Device
) -> EngineMemory:
    """Plan an engine with one device to itself.

    Args:
        architecture: of the base model.
        serving: the config's section.
        rank_bytes: an adapter's bytes in the serving dtype, for each unit of its rank.
        device: where it runs.
    """
    size = 4 if serving.dtype == "float32" else 2
    linear = _WEIGHT.get(serving.quantization or "", float(size))
    weights = int(architecture.block_linear * linear + (architecture.parameters - architecture.block_linear) * size)
    adapters = int(serving.max_loras * serving.max_lora_rank * rank_bytes)
    own = int(_OWN_GIB[device.kind] * GIB)
    free = device.gib * GIB * (serving.gpu_memory_utilization if device.kind == "cuda" else 1.0)
    free -= weights + adapters + own
    cache = max(0.0, free)
    if device.kind == "cpu":
        cache = serving.kv_cache_gib * GIB if free >= serving.kv_cache_gib * GIB else 0.0
    per_token = architecture.kv_values * (1 if serving.kv_cache_dtype.startswith("fp8") else size)
    return EngineMemory(
        weights=weights,
        adapters=adapters,
        own=own,
        kv_cache=int(cache),
        kv_per_token=per_token,
        kv_tokens=int(cache / per_token),
        max_model_len=serving.max_model_len or architecture.longest,
    )
