"""Changes to a config that need less memory, in the order in which they hurt, as overrides to be copied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuneline.config import Config, TrainingConfig

_Change = tuple[str, str, object]
_FOUR_BITS: list[_Change] = [("model", "quantization", "nf4"), ("serving", "quantization", "bitsandbytes")]
# Shorter than this, most conversations would be left out.
_SHORTEST = 256


def changes(config: Config, kind: str) -> Iterator[tuple[tuple[str, ...], Config]]:
    """Configs that need less and less, each with all changes before it, as overrides in the manner of ``--set``.

    First what leaves the result as it is: smaller micro-batches, activations computed twice. Then 4-bit weights (served
    in 4 bits, too), an optimizer with 8-bit state, an adapter instead of all weights, and shorter conversations last.

    Args:
        config: that does not fit.
        kind: ``cuda`` or ``cpu``: 8-bit optimizers are for GPUs.
    """
    done: dict[str, str] = {}
    for step in _steps(config, kind):
        config = _changed(config, step, done)
        yield tuple(f"{key}={value}" for key, value in done.items()), config


def engine_changes(config: Config) -> Iterator[tuple[tuple[str, ...], Config]]:
    """The same for an engine that does not fit: shorter conversations, then 4 bits, in which is then trained, too."""
    done: dict[str, str] = {}
    for step in _engine_steps(config):
        config = _changed(config, step, done)
        yield tuple(f"{key}={value}" for key, value in done.items()), config


def _changed(config: Config, step: list[_Change], done: dict[str, str]) -> Config:
    for section, key, value in step:
        part = getattr(config, section).model_copy(update={key: value})
        config = config.model_copy(update={section: part})
        done[f"{section}.{key}"] = str(value).lower() if isinstance(value, bool) else str(value)
    return config


def _engine_steps(config: Config) -> Iterator[list[_Change]]:
    longest = config.serving.max_model_len
    needed = max(config.training.max_length, 2 * config.evaluation.max_new_tokens)
    if longest is None or longest > needed:
        yield [("serving", "max_model_len", needed)]
    if config.serving.quantization is None and config.training.method == "lora":
        yield _FOUR_BITS


def _steps(config: Config, kind: str) -> Iterator[list[_Change]]:
    training, model = config.training, config.model
    micro, length = training.micro_batch_tokens, training.max_length
    while micro // 2 >= length:
        micro //= 2
        yield _micro(training, micro)
    if micro > length:
        micro = length
        yield _micro(training, micro)
    if training.gradient_checkpointing is False or (training.gradient_checkpointing == "auto" and kind == "cpu"):
        yield [("training", "gradient_checkpointing", True)]
    if training.method == "full":
        if kind == "cuda" and training.optimizer == "adamw":
            yield [("training", "optimizer", "adamw_8bit")]
        yield [("training", "method", "lora"), ("training", "export", "adapter")]
    if model.quantization != "nf4":
        yield _FOUR_BITS
    while length // 2 >= _SHORTEST:
        length //= 2
        yield [("training", "max_length", length), *_micro(training, length)]


def _micro(training: TrainingConfig, tokens: int) -> list[_Change]:
    """A smaller micro-batch, and a step that is a whole number of them, at least as large as before."""
    step: list[_Change] = [("training", "micro_batch_tokens", tokens)]
    if training.batch_tokens % tokens:
        step.append(("training", "batch_tokens", -(-training.batch_tokens // tokens) * tokens))
    return step
