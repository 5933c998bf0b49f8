"""One training run: chat records in, a LoRA adapter folder out."""

from __future__ import annotations

import json
import resource
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, TrainingArguments

from tuneline.data.records import ChatRecord
from tuneline.errors import UserError
from tuneline.prompts.render import render_training
from tuneline.prompts.template import PromptTemplate
from tuneline.training.adapter import LoraAdapter
from tuneline.training.base_model import load_base, load_tokenizer
from tuneline.training.exactness import packing_is_exact
from tuneline.training.lora import add_lora
from tuneline.training.packing import Sample, collate, one_per_row, pack_best_fit
from tuneline.training.trainer import PackedTrainer, Progress, Rows, Watch
from tuneline.version import tuneline_version

if TYPE_CHECKING:
    from tuneline.config import ModelConfig, TrainingConfig


@dataclass(frozen=True)
class TrainingRun:
    """What a run took and reached.

    Attributes:
        steps: optimizer steps.
        final_loss: mean loss of the last logged steps, nats per supervised token.
        samples: conversations in the training set.
        too_long: conversations left out because they exceed ``training.max_length``.
        tokens: useful tokens in the training set; ``supervised_tokens`` of them with a loss.
        packed: whether conversations shared rows.
        trainable_parameters: of the adapter.
        seconds: of the loop alone.
        tokens_per_second: useful tokens.
        peak_memory_gib: of the GPU, or of this process without one.
        device: the GPU's name, or ``CPU``.
        software: versions by name: tuneline and the libraries that decide the result.
    """

    steps: int
    final_loss: float
    samples: int
    too_long: int
    tokens: int
    supervised_tokens: int
    packed: bool
    trainable_parameters: int
    seconds: float
    tokens_per_second: float
    peak_memory_gib: float
    device: str
    software: dict[str, str]


@dataclass(frozen=True)
class TrainingOutcome:
    """The adapter, its numbers and the loss curve."""

    adapter: LoraAdapter
    run: TrainingRun
    curve: tuple[Progress, ...]


def tokenise(
    records: Sequence[ChatRecord], tokenizer: PreTrainedTokenizerBase, prompt: PromptTemplate, max_length: int
) -> tuple[list[Sample], int]:
    """Render and tokenise conversations; those longer than ``max_length`` tokens are left out and counted.

    Raises:
        UserError: nothing is left to learn from.
    """
    samples, too_long = [], 0
    for record in records:
        ids, weights = render_training(tokenizer, record.messages, prompt, tools=record.tools)
        sample = Sample(ids, weights)
        if len(ids) > max_length:
            too_long += 1
        elif sample.supervised:
            samples.append(sample)
    if not samples:
        raise UserError(
            f"none of the {len(records)} training records can be learnt from: {too_long} are longer than "
            f"training.max_length ({max_length} tokens), the others have no supervised token",
            hint="Raise training.max_length, or look at the data set's report in the dashboard.",
        )
    return samples, too_long


def train_adapter(
    records: Sequence[ChatRecord],
    model: ModelConfig,
    training: TrainingConfig,
    prompt: PromptTemplate,
    output: Path,
    on_progress: Callable[[Progress], None],
) -> TrainingOutcome:
    """Train a LoRA adapter and write it to ``output``.

    Raises:
        UserError: the base model cannot be loaded or no record can be learnt from.
        TunelineError: the loss became NaN or infinite; ``output`` stays empty.
    """
    torch.manual_seed(training.seed)
    tokenizer = load_tokenizer(model)
    samples, too_long = tokenise(records, tokenizer, prompt, training.max_length)
    base = load_base(model, quantization=model.quantization)
    packed = training.packing != "off" and packing_is_exact(base, samples)
    if training.packing == "on" and not packed:
        raise UserError(
            f"training.packing is 'on', but {model.base} lets packed conversations see each other",
            hint="Set training.packing to auto: rows then hold one conversation each, grouped by length.",
        )
    lengths = [len(sample.ids) for sample in samples]
    rows = Rows(samples, pack_best_fit(lengths, training.max_length) if packed else one_per_row(lengths))
    adapted = add_lora(base, model, training)
    adapted.config.use_cache = False
    with tempfile.TemporaryDirectory() as scratch:
        arguments = _arguments(training, model, rows, scratch)
        tokens = sum(lengths)
        rows_per_step = arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps
        watch = Watch(on_progress, tokens / len(rows) * rows_per_step, _seconds(training.max_minutes))
        trainer = PackedTrainer(
            model=adapted,
            args=arguments,
            train_dataset=rows,
            data_collator=partial(collate, pad_id=tokenizer.pad_token_id or 0),
            callbacks=[watch],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    last = watch.history[-1]
    run = TrainingRun(
        steps=last.step,
        final_loss=last.loss,
        samples=len(samples),
        too_long=too_long,
        tokens=tokens,
        supervised_tokens=sum(sample.supervised for sample in samples),
        packed=packed,
        trainable_parameters=sum(p.numel() for p in adapted.parameters() if p.requires_grad),
        seconds=last.seconds,
        tokens_per_second=last.tokens_per_second,
        peak_memory_gib=_peak_memory_gib(),
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        software={"tuneline": tuneline_version()} | {name: version(name) for name in ("torch", "transformers", "peft")},
    )
    adapter = _save(adapted, model, run, watch.history, output)
    return TrainingOutcome(adapter, run, tuple(watch.history))


def _arguments(training: TrainingConfig, model: ModelConfig, rows: Rows, scratch: str) -> TrainingArguments:
    rows_per_micro_batch = max(1, training.micro_batch_tokens // training.max_length)
    if training.packing == "off" or max(len(rows[i]) for i in range(len(rows))) == 1:
        mean = sum(rows.lengths) / len(rows)
        rows_per_micro_batch = max(1, int(training.micro_batch_tokens / mean))
    accumulation = max(1, round(training.batch_tokens / training.micro_batch_tokens))
    rows_per_step = rows_per_micro_batch * accumulation
    steps = training.max_steps or max(1, round((training.epochs or 1.0) * len(rows) / rows_per_step))
    cuda = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=scratch,
        max_steps=steps,
        per_device_train_batch_size=min(rows_per_micro_batch, len(rows)),
        gradient_accumulation_steps=accumulation,
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.scheduler,
        warmup_steps=round(training.warmup_ratio * steps),
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        optim="adamw_torch_fused",
        bf16=model.dtype == "bfloat16",
        fp16=model.dtype == "float16" and cuda,
        use_cpu=not cuda,
        seed=training.seed,
        train_sampling_strategy="random",
        logging_steps=max(1, steps // 50),
        logging_first_step=True,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_drop_last=False,
    )


def _save(
    adapted: PreTrainedModel, model: ModelConfig, run: TrainingRun, curve: Sequence[Progress], output: Path
) -> LoraAdapter:
    # No path of the training machine travels with the adapter; the release says which base it belongs to.
    adapted.peft_config["default"].base_model_name_or_path = Path(model.base).name if model.is_local else model.base
    adapted.save_pretrained(str(output), save_embedding_layers=False)
    (output / "README.md").unlink(missing_ok=True)  # PEFT's empty template
    (output / "training.json").write_text(json.dumps(asdict(run), indent=2))
    (output / "curve.json").write_text(json.dumps([asdict(moment) for moment in curve]))
    return LoraAdapter(output)


def _seconds(minutes: float | None) -> float | None:
    return None if minutes is None else minutes * 60


def _peak_memory_gib() -> float:
    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated() / 2**30)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
