"""The recipe of the tiny base model, from its config to a folder that any tool can load."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, PreTrainedTokenizerBase

from tuneline.config.pretraining import PretrainingConfig
from tuneline.errors import TunelineError
from tuneline.pretraining.corpus import token_rows
from tuneline.pretraining.tokenizer import train_tokenizer
from tuneline.pretraining.train import Step, build_model, copy_accuracy, pretrain

_COPY_ITEMS = 100


@dataclass(frozen=True)
class Pretrained:
    """What the run reached.

    Attributes:
        losses: nats per token, one per step.
        copied: share of documentation entries with never-seen names completed with the right command.
        parameters: of the model.
        tokens: read in all.
        seconds: wall time of the training loop.
    """

    losses: tuple[float, ...]
    copied: float
    parameters: int
    tokens: int
    seconds: float


def make_tokenizer(config: PretrainingConfig, folder: Path) -> None:
    """Train the tokenizer and write it to a folder."""
    settings = config.tokenizer
    tokenizer = train_tokenizer(settings.vocab_size, documents=settings.documents, seed=settings.seed)
    tokenizer.model_max_length = config.model.max_position_embeddings
    tokenizer.save_pretrained(str(folder))


def make_model(
    config: PretrainingConfig, tokenizer_folder: Path, folder: Path, on_step: Callable[[Step], None]
) -> Pretrained:
    """Train the model and write weights (bf16 safetensors), tokenizer and card to a folder."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tokenizer_folder)
    reading = config.training
    model = build_model(_llama(config, tokenizer), reading.seed)
    steps: list[Step] = []

    def watch(step: Step) -> None:
        steps.append(step)
        on_step(step)

    rows = token_rows(
        tokenizer,
        row_tokens=reading.row_tokens,
        rows=reading.rows,
        repeat_share=reading.repeat_share,
        seed=reading.seed + 1,
    )
    pretrain(
        model,
        rows,
        steps=reading.steps,
        learning_rate=reading.learning_rate,
        muon_learning_rate=reading.muon_learning_rate,
        warmup_steps=reading.warmup_steps,
        on_step=watch,
    )
    tokens = reading.steps * reading.rows * reading.row_tokens
    # Judged as it will be used: after rounding to bf16.
    model = model.to(torch.bfloat16)
    result = Pretrained(
        losses=tuple(step.loss for step in steps),
        copied=copy_accuracy(model, tokenizer, items=_COPY_ITEMS, seed=reading.seed + 2),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        tokens=tokens,
        seconds=tokens / steps[-1].tokens_per_second,
    )
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    (folder / "README.md").write_text(card(config, result))
    return result


def install(folder: Path, output: Path) -> None:
    """Put a finished model folder where it belongs; an older one there is replaced whole.

    Raises:
        TunelineError: the folder does not load as a model. Nothing has been replaced.
    """
    try:
        AutoModelForCausalLM.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise TunelineError(
            f"{folder} does not load as a model: {error}",
            hint=f"{output} is as it was. Run `python run.py pretrain` again.",
        ) from error
    part = output.with_name(output.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(folder, part)
    shutil.rmtree(output, ignore_errors=True)
    part.rename(output)


def card(config: PretrainingConfig, result: Pretrained) -> str:
    """The model card, with the numbers of this run."""
    shape = config.model
    end = result.losses[-20:]
    return f"""---
license: apache-2.0
language: en
tags: [tiny, devops, from-scratch]
---
# {config.name}

A Llama of {result.parameters / 1e6:.1f} million parameters ({shape.num_hidden_layers} layers, {shape.hidden_size} wide,
{shape.num_attention_heads} heads, {config.tokenizer.vocab_size}-token byte-level BPE) for running the whole path on two
CPU cores. It is no assistant: it has read command documentation and shell history with made-up names, knows how
commands look and can copy a name that it has never seen. It has never seen a question or the chat format.

| | |
| --- | --- |
| read | {result.tokens:,} tokens, {config.training.steps:,} steps, {result.seconds / 60:.0f} minutes |
| loss at the end | {sum(end) / len(end):.3f} nats per token |
| of the rows, random tokens repeated | {config.training.repeat_share:.0%} |
| commands completed from documentation with unseen names | {result.copied:.0%} of {_COPY_ITEMS} |

Names held out for evaluation (`tuneline.data.synthetic.names.is_held_out`) were kept out of its corpus.
Made again with `python run.py pretrain --config configs/pretrain-tiny.yaml`.

Limits: it knows nothing but these commands. Use it to try the path, never to run commands unread.
"""


def _llama(config: PretrainingConfig, tokenizer: PreTrainedTokenizerBase) -> LlamaConfig:
    shape = config.model
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_hidden_layers,
        num_attention_heads=shape.num_attention_heads,
        num_key_value_heads=shape.num_key_value_heads,
        max_position_embeddings=shape.max_position_embeddings,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        tie_word_embeddings=shape.tie_word_embeddings,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
