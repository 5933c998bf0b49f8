"""What is trained must be servable: methods and keys that do not go together, each with the way out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tuneline.config.model import ModelConfig
from tuneline.config.problem import Finding
from tuneline.config.serving import ServingConfig
from tuneline.config.training import TrainingConfig

# The largest rank vLLM 0.32 has kernels for (vllm.config.lora.MaxLoRARanks).
ENGINE_MAX_RANK = 512
_HEADS = ("embed_tokens", "lm_head")
_ADAPTER_KEYS = (
    *("r", "lora_alpha", "lora_dropout", "target_modules", "use_rslora", "use_dora", "init_lora_weights"),
    *("loraplus_lr_ratio", "modules_to_save"),
)


def served_rank(training: TrainingConfig) -> int:
    """The rank that the engine has to hold: a PiSSA adapter is written with twice its own (tuneline.training.pissa)."""
    return training.r * (2 if training.init_lora_weights == "pissa" else 1)


def rank_fits_engine(training: TrainingConfig, serving: ServingConfig) -> Iterator[Finding]:
    """An adapter above the engine's rank could be trained and never loaded. Merged, the rank is of no matter."""
    largest = serving.max_lora_rank
    if largest > ENGINE_MAX_RANK:
        what = f"is {largest}, but the engine has no kernels above rank {ENGINE_MAX_RANK}"
        yield Finding(("serving", "max_lora_rank"), what, f"at most {ENGINE_MAX_RANK}")
    rank = served_rank(training)
    if training.export == "merged" or rank <= largest:
        return
    twice = rank != training.r
    what = f"is {training.r}" + (f", which PiSSA makes {rank} for the original base model" if twice else "")
    what += f", but the engine takes ranks up to {largest} (serving.max_lora_rank)"
    allowed = f"a rank of at most {largest // 2 if twice else largest}, or serving.max_lora_rank: {rank}"
    if rank > ENGINE_MAX_RANK:
        allowed = f"a rank of at most {ENGINE_MAX_RANK // 2 if twice else ENGINE_MAX_RANK}, or export: merged"
    yield Finding(("training", "r"), what, allowed)


def adapter_can_be_served(training: TrainingConfig) -> Iterator[Finding]:
    """Kinds of adapters that PEFT trains and vLLM refuses to load: they are served merged."""
    if training.export == "merged" or training.method == "full":
        return
    if training.use_dora:
        yield Finding(
            ("training", "use_dora"),
            "is true, but the engine cannot serve DoRA as an adapter",
            "export: merged; or false: use_rslora: true with a higher rank is the nearest that stays an adapter",
        )
    if training.modules_to_save:
        what = f"is {list(training.modules_to_save)}, but the engine loads no adapter with layers trained in full"
        allowed = "export: merged; or an empty list, and linear layers in target_modules instead"
        yield Finding(("training", "modules_to_save"), what, allowed)
    for index, name in _names(training):
        if name in _HEADS:
            what = f"is {name!r}, but the engine serves adapters on the linear layers inside the blocks alone"
            allowed = (
                "export: merged; or all-linear, or names such as q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, "
                "down_proj"
            )
            yield Finding(("training", "target_modules", index), what, allowed)


def targets_can_be_adapted(training: TrainingConfig) -> Iterator[Finding]:
    """Names that no LoRA can be put on, however it is served."""
    if training.target_modules == ():
        yield Finding(("training", "target_modules"), "is an empty list", "all-linear, or layer names")
    for index, name in _names(training):
        if "norm" in name:
            what = f"is {name!r}, but a norm is no linear layer and takes no adapter"
            allowed = f"modules_to_save: [{name}] with export: merged trains it in full"
            yield Finding(("training", "target_modules", index), what, allowed)
        if name in _HEADS and training.init_lora_weights in ("pissa", "loftq"):
            what = f"is {name!r}, for which {training.init_lora_weights} has no start"
            allowed = "all-linear, or init_lora_weights: default"
            yield Finding(("training", "target_modules", index), what, allowed)


def start_fits_weights(training: TrainingConfig, model: ModelConfig, serving: ServingConfig) -> Iterator[Finding]:
    """PiSSA splits weights that are exact, LoftQ starts from what 4-bit rounding lost."""
    path = ("training", "init_lora_weights")
    if training.method == "full":
        return
    if training.init_lora_weights == "pissa" and model.quantization != "none":
        what = f"is pissa, which splits unrounded weights, but model.quantization is {model.quantization}"
        yield Finding(path, what, "model.quantization: none; or loftq with nf4, or default")
    if training.init_lora_weights != "loftq":
        return
    if model.quantization != "nf4":
        what = f"is loftq, which makes up for 4-bit rounding, but model.quantization is {model.quantization}"
        yield Finding(path, what, "model.quantization: nf4; or pissa without quantization, or default")
    elif training.export == "adapter" and serving.quantization != "bitsandbytes":
        what = "is loftq, whose adapter holds what NF4 lost of the weights, but serving does not round them so"
        yield Finding(path, what, "serving.quantization: bitsandbytes; or export: merged, or default")
    if training.use_dora:
        what = "is loftq beside use_dora, whose magnitudes belong to a start at zero"
        yield Finding(path, what, "one of the two")


def full_is_a_whole_model(training: TrainingConfig, model: ModelConfig) -> Iterator[Finding]:
    """All weights trained: nothing is left of the adapter, and rounded weights cannot be moved."""
    if training.method != "full":
        return
    if training.export == "adapter":
        what = "is adapter, but method: full trains the whole model"
        yield Finding(("training", "export"), what, "merged, which is also what full means when export is left out")
    if model.quantization != "none":
        what = f"is {model.quantization}, but weights held in so few bits cannot be trained"
        yield Finding(("model", "quantization"), what, "none with method: full; or method: lora over quantized weights")
    for key in _ADAPTER_KEYS:
        if getattr(training, key) != TrainingConfig.model_fields[key].default:
            what = f"is {getattr(training, key)!s}, but method: full has no adapter that it could apply to"
            yield Finding(("training", key), what, "leave it out; or method: lora")


def merging_has_all_weights(training: TrainingConfig) -> Iterator[Finding]:
    """A whole model is written by one process that holds all of it."""
    strategy = training.distributed.strategy
    if training.export == "merged" and training.distributed.processes > 1 and strategy != "ddp":
        what = f"is {strategy}, which leaves no process with the whole model, but export: merged writes it from one"
        allowed = "ddp; or method: lora with export: adapter (`run.py export --merged` merges it later)"
        yield Finding(("training", "distributed", "strategy"), what, allowed)


def _names(training: TrainingConfig) -> Iterator[tuple[int, str]]:
    if isinstance(training.target_modules, tuple):
        yield from enumerate(training.target_modules)


TRAINING_CHECKS: tuple[Callable[..., Iterator[Finding]], ...] = (
    rank_fits_engine,
    adapter_can_be_served,
    targets_can_be_adapted,
    start_fits_weights,
    full_is_a_whole_model,
    merging_has_all_weights,
)
