"""Sections ``serving`` and ``monitoring``: the engine behind the endpoint, and what watches it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from tuneline.config.section import Section
from tuneline.release.document import CanaryBounds, EngineArguments
from tuneline.release.gateway import GatewayArguments

Profile = Literal["cpu", "gpu-8gb", "gpu-16gb", "gpu-24gb", "gpu-80gb"]

_EVERYWHERE: dict[str, Any] = {"chunked_prefill": True, "kv_cache_dtype": "auto"}
# What an engine starts from on a kind of machine; the reasons stand with ``ServingConfig.profile``.
PROFILES: dict[Profile, dict[str, Any]] = {
    "cpu": {"max_num_seqs": 32, "max_num_batched_tokens": 1024, "kv_cache_gib": 1.0, "max_loras": 2} | _EVERYWHERE,
    "gpu-8gb": {"max_num_seqs": 32, "max_num_batched_tokens": 2048, "gpu_memory_utilization": 0.85, "max_loras": 2}
    | _EVERYWHERE,
    "gpu-16gb": {"max_num_seqs": 64, "max_num_batched_tokens": 2048, "gpu_memory_utilization": 0.88, "max_loras": 2}
    | _EVERYWHERE,
    "gpu-24gb": {"max_num_seqs": 128, "max_num_batched_tokens": 4096, "gpu_memory_utilization": 0.9, "max_loras": 2}
    | _EVERYWHERE,
    "gpu-80gb": {"max_num_seqs": 256, "max_num_batched_tokens": 8192, "gpu_memory_utilization": 0.92, "max_loras": 4}
    | _EVERYWHERE,
}


class ServingConfig(EngineArguments):
    """How the engine is started (the fields of ``EngineArguments``), and what it must prove before it gets traffic."""

    profile: Profile | None = Field(
        default=None,
        description="A kind of machine, whose numbers stand where no key of their own is given. "
        "max_num_seqs: a CPU's two cores gain nothing beyond 32 requests at once; on GPU each running request holds KV "
        "cache, so 32, 64, 128 and 256 grow with what the weights leave of 8, 16, 24 and 80 GB. "
        "max_num_batched_tokens: the longest that everybody's next token waits for somebody's prompt, so small where a "
        "step is slow (1024 on CPU, 2048 and 4096 on small GPUs) and 8192 where it takes some 100 ms. "
        "kv_cache_gib: 1 on CPU, beside the weights on a machine of 8 GB; gpu_memory_utilization: the rest is for "
        "CUDA's own context, about 1 GB whatever the card, hence 0.85, 0.88, 0.9 and 0.92. "
        "chunked_prefill: on, or one long prompt stops every stream. "
        "max_loras: 2, production and challenger; 4 where memory is no matter. "
        "kv_cache_dtype: auto, since fp8 changes what was evaluated; a key of its own turns it on.",
    )

    parity_tolerance: float = Field(
        default=0.25,
        gt=0,
        description="Largest allowed difference between a golden prompt's served log-probabilities and those kept at "
        "evaluation, nats per token. Rounding in bfloat16 makes up to 0.05, another version of an adapter 2 and more.",
    )
    start_timeout: float = Field(
        default=300.0,
        gt=0,
        description="How long the endpoint may take from its start, or from a new release, until it is ready, seconds.",
    )

    gateway: GatewayArguments = Field(
        default=GatewayArguments(), description="What the gateway admits, keeps and records. Changed without a restart."
    )
    canary: CanaryBounds = Field(
        default=CanaryBounds(), description="How much worse a challenger may be before the gateway ends its canary."
    )

    @model_validator(mode="before")
    @classmethod
    def _take_profile(cls, given: Any) -> Any:
        """Put a profile's numbers where no key of their own is given, so that a release holds concrete values alone."""
        if isinstance(given, dict) and isinstance(given.get("profile"), str):
            return {**PROFILES.get(given["profile"], {}), **given}
        return given

    def engine(self) -> EngineArguments:
        """The part that goes into a release."""
        return EngineArguments(**self.model_dump(include=set(EngineArguments.model_fields)))


class MonitoringConfig(Section):
    """What watches the endpoint. It has no settings."""
