"""Section ``training``: the adapter and the optimizer. Names are those of PEFT and transformers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tuneline.config.section import Section
from tuneline.config.training_parts import CheckpointsConfig, DistributedConfig, ValidationConfig


def _whole_if_full(given: dict[str, Any]) -> Literal["adapter", "merged"]:
    """All weights trained make a whole model: ``export`` need not say so."""
    return "merged" if given.get("method") == "full" else "adapter"


class TrainingConfig(Section):
    """How a model is trained. Batches are counted in tokens: rows are packed, so a row says nothing."""

    method: Literal["lora", "full"] = "lora"
    """``lora``: low-rank adapters (arXiv:2106.09685), QLoRA with ``model.quantization: nf4``. ``full``: all weights."""

    export: Literal["adapter", "merged"] = Field(default_factory=_whole_if_full)
    """``adapter`` (unless ``method`` is full) is served beside others over one base model; ``merged`` becomes a whole
    model with an engine of its own, which is how DoRA, trained embeddings and full fine-tuning can be served."""

    r: int = Field(default=16, gt=0)
    """Rank of the update: how much an adapter can learn, and what it weighs on disk and in the engine."""

    lora_alpha: int = Field(default=32, gt=0)
    """The update is scaled by ``lora_alpha / r``; twice the rank is a common start."""

    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the adapter's inputs that are dropped; 0.05 helps sets of a few hundred rows, and makes a run slower and
    its activations about twice as large."""

    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Which layers get an adapter: all linear ones but the head, or names such as ``[q_proj, v_proj]``."""

    use_rslora: bool = False
    """Scale by ``lora_alpha / sqrt(r)``, which keeps ranks above 32 learning (arXiv:2312.03732)."""

    use_dora: bool = False
    """Weight-decomposed LoRA (arXiv:2402.09353). The engine serves it merged alone: ``export: merged``."""

    init_lora_weights: Literal["default", "gaussian", "pissa", "loftq"] = "default"
    """How an adapter starts. ``pissa``: from the largest singular values of the weights (arXiv:2404.02948);
    ``loftq``: from what 4-bit rounding lost (arXiv:2310.08659, with ``model.quantization: nf4`` alone)."""

    loraplus_lr_ratio: float | None = Field(default=None, ge=1)
    """LoRA+ (arXiv:2402.12354): how many times faster B learns than A, 16 in the paper; left out, equally fast."""

    modules_to_save: tuple[str, ...] = ()
    """Layers trained in full beside the adapter, such as ``[embed_tokens]``. Served merged alone."""

    learning_rate: float = Field(default=2e-4, ge=0)
    """Peak step size. 1e-4 to 3e-4 for billions of parameters, 2e-3 for the tiny base model, 1e-5 for ``full``."""

    max_steps: int | None = Field(default=None, gt=0)
    """Number of optimizer steps. Either this or ``epochs``."""

    epochs: float | None = Field(default=None, gt=0)
    """How often every record is seen. Either this or ``max_steps``."""

    batch_tokens: int = Field(default=16384, gt=0)
    """Tokens per optimizer step over all devices, a multiple of ``micro_batch_tokens``. Larger steps are calmer."""

    micro_batch_tokens: int = Field(default=4096, gt=0)
    """Tokens per forward and backward pass: what memory must hold. Changes the speed, not the result."""

    max_length: int = Field(default=1024, gt=0)
    """Longest conversation, tokens. Longer ones are left out and counted, never cut."""

    warmup_ratio: float = Field(default=0.03, ge=0, le=1)
    """Share of the steps in which the learning rate rises from zero to its peak."""

    scheduler: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "cosine"
    """How the learning rate falls after the warm-up."""

    optimizer: Literal["auto", "adamw", "adamw_8bit", "paged_adamw_8bit"] = "auto"
    """``auto``: fused AdamW; for ``full`` on a GPU 8-bit AdamW, whose state is a quarter, paged where it must be."""

    weight_decay: float = Field(default=0.0, ge=0)
    """How strongly AdamW pulls the trained weights towards zero."""

    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients longer than this are shortened to it."""

    packing: Literal["auto", "on", "off"] = "auto"
    """Several conversations in a row, none seeing another: ``auto`` where that is exact, ``on`` or stop, ``off``."""

    seed: int = 0
    """Adapter initialisation, order and dropout."""

    gradient_checkpointing: bool | Literal["auto"] = "auto"
    """Compute activations twice instead of keeping them: far less memory, about a third slower. ``auto``: on a GPU
    whose memory would not hold them."""

    torch_compile: bool = False
    """Compile the model: the first steps take minutes, later ones are faster on a GPU. For runs of hours."""

    on_oom: Literal["stop", "halve"] = "halve"
    """Out of memory on a GPU: stop, or go on with half the micro-batch and twice the accumulation."""

    max_minutes: float | None = Field(default=None, gt=0)
    """Stop after this time, with the weights as they are then."""

    checkpoints: CheckpointsConfig = CheckpointsConfig()
    """How often the run is saved."""

    validation: ValidationConfig | None = None
    """Loss on records kept back while training; left out, none is measured."""

    distributed: DistributedConfig = DistributedConfig()
    """How many processes train together."""
