"""The release: which base model, which adapters, and which share of the traffic goes to which.

A deployment, a canary, a promotion and a rollback are all the same act: writing the next release.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tuneline.prompts.template import PromptTemplate
from tuneline.release.gateway import GatewayArguments

# An endpoint's name is a folder, a model name in OpenAI's API and a Kubernetes object at once.
ENDPOINT_NAME = r"^[a-z0-9]([a-z0-9-]{0,51}[a-z0-9])?$"


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BaseRef(_Document):
    """The base model every adapter of a release belongs to.

    Attributes:
        model: a hub id (``Qwen/Qwen3-0.6B``) or the URI or path of a model folder.
        revision: the hub revision; meaningless for folders.
        sha256: fingerprint of a model folder (see ``tuneline.release.files.fingerprint``); None for hub ids.
    """

    model: str
    revision: str | None = None
    sha256: str | None = None
    trust_remote_code: bool = False


class EngineArguments(_Document):
    """How the engine is started. Changing any of them needs a new engine, adapters do not.

    Attributes:
        dtype: weights and activations of the base model.
        quantization: a vLLM quantization method, e.g. ``fp8_per_channel``; None serves in ``dtype``.
        max_model_len: longest prompt plus answer, tokens; None takes the model's own.
        max_lora_rank: adapters above it cannot be loaded.
        max_loras: adapters that may be in one batch.
        max_num_seqs: requests that run at once.
        kv_cache_gib: size of the KV cache on CPU, GiB.
        gpu_memory_utilization: share of the GPU that the engine takes.
        enforce_eager: skip graph capture and compilation; starts faster, runs slower on GPU.
        prefix_caching: keep the KV cache of prompts' beginnings, so that a prefix seen before is not computed again.
        chunked_prefill: compute long prompts in pieces between others' tokens; None leaves it to the engine.
        max_num_batched_tokens: tokens computed in one step of the engine; None takes the engine's own.
        kv_cache_dtype: ``auto`` is ``dtype``; ``fp8`` holds twice as much on GPUs that can.
        speculative: vLLM's ``speculative_config``, e.g. ``{"method": "ngram", "num_speculative_tokens": 4,
            "prompt_lookup_max": 4}``; None decodes token by token.
        tool_call_parser: vLLM's name of the parser for this model's function calls (``hermes``, ``mistral``, …); needed
            for ``tool_choice: auto`` alone.
        extra: further vLLM arguments, names with underscores.
    """

    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    quantization: str | None = None
    max_model_len: int | None = Field(default=None, gt=0)
    max_lora_rank: int = Field(default=16, gt=0)
    max_loras: int = Field(default=2, gt=0)
    max_num_seqs: int = Field(default=64, gt=0)
    kv_cache_gib: float = Field(default=1.0, gt=0)
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    enforce_eager: bool = False
    prefix_caching: bool = True
    chunked_prefill: bool | None = None
    max_num_batched_tokens: int | None = Field(default=None, gt=0)
    kv_cache_dtype: Literal["auto", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2"] = "auto"
    speculative: dict[str, Any] | None = None
    tool_call_parser: str | None = None
    extra: dict[str, Any] = Field(default_factory=dict)


class AdapterRef(_Document):
    """One adapter.

    Attributes:
        uri: the folder with ``adapter_config.json`` and ``adapter_model.safetensors``.
        sha256: fingerprint of those two files; the gateway loads nothing that differs from it.
        model_version: the version in the model registry, and what ``x-tuneline-version`` says.
        rank: LoRA rank.
        prompt: the template this version was trained and evaluated with.
    """

    uri: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    model_version: str
    rank: int = Field(gt=0)
    prompt: PromptTemplate = PromptTemplate()


class CanaryBounds(_Document):
    """How much worse than production a challenger may be before the gateway takes its traffic away.

    Shares are in percentage points of answers, the challenger's above production's over the same time.

    Attributes:
        min_requests: answers of the challenger before anything is judged.
        errors: answers that failed in the engine.
        empty: answers without a word.
        overlong: answers cut off at their limit.
        ttft: the challenger's median time to first token, as a multiple of production's.
    """

    min_requests: int = Field(default=50, gt=0)
    errors: float = Field(default=2.0, ge=0, le=100)
    empty: float = Field(default=5.0, ge=0, le=100)
    overlong: float = Field(default=10.0, ge=0, le=100)
    ttft: float = Field(default=2.0, ge=1)


class Routes(_Document):
    """Who answers.

    Attributes:
        production: the adapter that answers; None while the first version is still being proven.
        challenger: a second adapter, reachable by callers who may pin it, and by ``percent`` of the rest.
        percent: the challenger's share of unpinned traffic.
        shadow: the challenger answers its share beside production, and nobody sees it.
        bounds: when the gateway ends the canary by itself.
    """

    production: str | None = None
    challenger: str | None = None
    percent: float = Field(default=0.0, ge=0, le=100)
    shadow: bool = False
    bounds: CanaryBounds = CanaryBounds()


class Trial(_Document):
    """A version that needs another engine than production and is proven in it, while production goes on in its own.

    It has no share of the traffic: a canary's two versions share an engine. Only who pins it reaches it.

    Attributes:
        base: what its engine starts with; of a whole model the version's own weights.
        engine: how that is started.
        adapter: what stands for the version there.
    """

    base: BaseRef
    engine: EngineArguments
    adapter: AdapterRef


class Release(_Document):
    """One immutable state of an endpoint. The highest sequence number is the current one."""

    endpoint: str = Field(pattern=ENDPOINT_NAME)
    sequence: int = Field(gt=0)
    base: BaseRef
    engine: EngineArguments = EngineArguments()
    gateway: GatewayArguments = GatewayArguments()
    adapters: dict[str, AdapterRef]
    routes: Routes
    trial: Trial | None = None
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    author: str
    reason: str

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for role in ("production", "challenger"):
            name = getattr(self.routes, role)
            if name is not None and name not in self.adapters:
                raise ValueError(f"routes.{role} is {name!r}, which is not among the adapters {sorted(self.adapters)}")
        if self.routes.percent and self.routes.challenger is None:
            raise ValueError(f"routes.percent is {self.routes.percent} but there is no challenger")
        if self.routes.shadow and (self.routes.challenger is None or self.routes.production is None):
            raise ValueError("routes.shadow needs a challenger and a production version that answers in its place")
        if self.trial is not None and self.routes.production is None:
            raise ValueError("a trial stands beside production, and there is no routes.production")
        for name, adapter, engine in self._loaded():
            if adapter.rank > engine.max_lora_rank:
                raise ValueError(
                    f"adapter {name!r} has rank {adapter.rank}, the engine takes at most {engine.max_lora_rank}"
                )
        return self

    def _loaded(self) -> Iterator[tuple[str, AdapterRef, EngineArguments]]:
        for name, adapter in self.adapters.items():
            yield name, adapter, self.engine
        if self.trial is not None:
            yield "trial", self.trial.adapter, self.trial.engine

    def production_alone(self) -> Self:
        """What production answers from until the trial's engine is there: all but the trial.

        Its number is that of the release before, so that nobody takes the trial for live.
        """
        return self.model_copy(update={"trial": None, "sequence": self.sequence - 1})

    def trial_alone(self) -> Self:
        """The trial in production's place, where there is no memory for two engines: nobody else can be answered."""
        assert self.trial is not None
        name = f"v{self.trial.adapter.model_version}"
        return self.model_copy(
            update={
                "base": self.trial.base,
                "engine": self.trial.engine,
                "adapters": {name: self.trial.adapter},
                "routes": Routes(challenger=name),
                "trial": None,
            }
        )

    def traffic(self) -> dict[str, float]:
        """Percent of unpinned traffic per model version."""
        percent = 0.0 if self.routes.shadow else self.routes.percent
        shares: dict[str, float] = {}
        if self.routes.production is not None:
            shares[self.adapters[self.routes.production].model_version] = 100.0 - percent
        if self.routes.challenger is not None:
            version = self.adapters[self.routes.challenger].model_version
            shares[version] = shares.get(version, 0.0) + percent
        if self.trial is not None:
            shares[self.trial.adapter.model_version] = 0.0
        return shares
