"""One training in a process of its own: ours, or what somebody would run otherwise. Prints its numbers as JSON.

    python -m benchmarks.peers.train_once CONTENDER FILE

FILE is what ``benchmarks.training`` or ``benchmarks.gpu_training`` wrote: base model, tokenised conversations, steps,
conversations a step. All get the same conversations, the same supervised tokens, LoRA of rank 16 on all linear layers,
peak learning rate, schedule and number of steps; what differs is what their defaults, or their best settings, make of
it.

``trainer``: transformers' Trainer as ZenML's gamesense uses it: float32, random batches padded to their longest.
``trl``: TRL's SFTTrainer with its defaults. ``trl-grouped`` and ``trl-packed``: by hand, without gradient
checkpointing, grouped by length or packed.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    DataCollatorForSeq2Seq,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from tuneline.config import ModelConfig, TrainingConfig
from tuneline.training.arguments import training_arguments
from tuneline.training.base_model import load_base, load_tokenizer
from tuneline.training.batches import Plan, Steps, plan_batches
from tuneline.training.fast import at_full_speed, needs_autocast
from tuneline.training.methods import make_trainable
from tuneline.training.packing import Sample
from tuneline.training.plan import with_checkpointing_decided
from tuneline.training.progress import peak_memory_gib
from tuneline.training.trainer import PackedTrainer
from tuneline.training.validation import validation_batches, validation_loss

CONTENDERS = ("ours", "trainer", "trl", "trl-grouped", "trl-packed")
_RANK, _ALPHA = 16, 32


class Clock(TrainerCallback):  # type: ignore[misc]
    """Time from the end of the first step, which pays for what happens once, to the end of the last."""

    def __init__(self) -> None:
        self.first: tuple[float, float] = (0.0, 0.0)
        self.last: tuple[float, float] = (0.0, 0.0)
        self.seen: list[tuple[int, int]] = []  # useful and supervised tokens after each step
        self.tokens = 0
        self.supervised = 0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the time."""
        self.last = (time.perf_counter(), time.process_time())
        if not self.seen:
            self.first = self.last
        self.seen.append((self.tokens, self.supervised))

    def count(self, model: Any, args: Any, kwargs: Any) -> None:
        """Before each forward pass: count what is no padding."""
        ids, labels, mask = kwargs["input_ids"], kwargs.get("labels"), kwargs.get("attention_mask")
        self.tokens += ids.numel() if mask is None or mask.dim() != 2 else int(mask.sum())
        self.supervised += 0 if labels is None else int((labels != -100).sum())


def run(contender: str, job: dict[str, Any]) -> dict[str, float]:
    """Train and measure."""
    torch.manual_seed(job["seed"])
    model = ModelConfig(base=job["base"], quantization=job.get("quantization", "none"))
    samples = [Sample(row["ids"], row["weights"]) for row in job["training"]]
    clock = Clock()
    with tempfile.TemporaryDirectory() as scratch:
        if contender == "ours":
            trained = _ours(model, samples, job, clock, scratch)
        else:
            trained = _theirs(contender, model, samples, job, clock, scratch)
    peak = peak_memory_gib()
    held_out = [Sample(row["ids"], row["weights"]) for row in job["held_out"]]
    seconds, cpu = (b - a for a, b in zip(clock.first, clock.last, strict=True))
    tokens, supervised = (b - a for a, b in zip(clock.seen[0], clock.seen[-1], strict=True))
    return {
        "tokens_per_second": tokens / seconds,
        "supervised_tokens_per_second": supervised / seconds,
        "tokens_per_cpu_second": tokens / cpu,
        "seconds": seconds,
        "peak_gib": peak,
        "supervised_tokens": clock.supervised,
        **({"held_out_loss": _held_out_loss(trained.float(), held_out)} if held_out else {}),
    }


def _held_out_loss(model: Any, held_out: list[Sample]) -> float:
    batches = validation_batches(held_out, packed=False, micro_batch_tokens=4096, pad_id=0)
    return validation_loss(model, batches, model.device)


def _ours(model: ModelConfig, samples: list[Sample], job: dict[str, Any], clock: Clock, scratch: str) -> Any:
    training = TrainingConfig(
        r=_RANK,
        lora_alpha=_ALPHA,
        learning_rate=job["learning_rate"],
        max_steps=job["steps"],
        batch_tokens=job["batch_tokens"],
        micro_batch_tokens=job["batch_tokens"] // job["accumulation"],
        max_length=max(len(sample.ids) for sample in samples),
        seed=job["seed"],
    )
    training = with_checkpointing_decided(model, training)
    base = load_base(model, quantization=model.quantization)
    plan = plan_batches(base, samples, model, training)
    trained = make_trainable(base, model, training)
    trained.config.use_cache = False
    with at_full_speed(trained, training, packed=plan.packed):
        arguments = training_arguments(training, model, plan, scratch, autocast=needs_autocast(trained, training))
        steps = Steps(samples, plan, load_tokenizer(model).pad_token_id or 0)
        trainer = PackedTrainer(model=trained, args=arguments, train_dataset=steps, callbacks=[clock])
        trainer.train()
    clock.seen = _planned(plan, samples, len(clock.seen))
    clock.supervised = clock.seen[-1][1]
    return trained


def _planned(plan: Plan, samples: list[Sample], steps: int) -> list[tuple[int, int]]:
    seen, tokens, supervised = [], 0, 0
    for step in range(steps):
        tokens += sum(plan.lengths[i] for i in plan.samples(step))
        supervised += sum(samples[i].supervised for i in plan.samples(step))
        seen.append((tokens, supervised))
    return seen


def _theirs(
    contender: str, model: ModelConfig, samples: list[Sample], job: dict[str, Any], clock: Clock, scratch: str
) -> Any:
    from datasets import Dataset

    rows = [
        {
            "input_ids": sample.ids,
            "labels": [i if weight > 0 else -100 for i, weight in zip(sample.ids, sample.weights, strict=True)],
        }
        for sample in samples
    ]
    tokenizer = load_tokenizer(model)
    shared: dict[str, Any] = {
        "output_dir": scratch,
        "max_steps": job["steps"],
        "per_device_train_batch_size": job["rows"],
        "gradient_accumulation_steps": job["accumulation"],
        "learning_rate": job["learning_rate"],
        "lr_scheduler_type": "cosine",
        "warmup_steps": round(0.03 * job["steps"]),
        "use_cpu": not torch.cuda.is_available(),
        "seed": job["seed"],
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
    }
    lora = LoraConfig(task_type="CAUSAL_LM", r=_RANK, lora_alpha=_ALPHA, target_modules="all-linear")
    if contender == "trainer":
        device = "cuda" if torch.cuda.is_available() else "cpu"
        loaded = AutoModelForCausalLM.from_pretrained(
            model.base, dtype=torch.float32, device_map=device, quantization_config=_four_bit(model)
        )
        if model.quantization == "nf4":
            loaded = prepare_model_for_kbit_training(loaded)
        # gamesense's collator learns from padding's neighbours too; the labels here are everybody's.
        trainer: Any = Trainer(
            model=get_peft_model(loaded, lora),
            args=TrainingArguments(**shared),
            train_dataset=Dataset.from_list([row | {"attention_mask": [1] * len(row["input_ids"])} for row in rows]),
            data_collator=DataCollatorForSeq2Seq(tokenizer, padding=True),
            callbacks=[clock],
        )
    else:
        trainer = _trl(contender, model, tokenizer, Dataset.from_list(rows), lora, shared, job, clock)
    trainer.model.register_forward_pre_hook(clock.count, with_kwargs=True)
    trainer.train()
    return trainer.model


def _trl(
    contender: str,
    model: ModelConfig,
    tokenizer: PreTrainedTokenizerBase,
    rows: Any,
    lora: LoraConfig,
    shared: dict[str, Any],
    job: dict[str, Any],
    clock: Clock,
) -> Any:
    from trl import SFTConfig, SFTTrainer

    longest = max(len(ids) for ids in rows["input_ids"])
    by_hand: dict[str, dict[str, Any]] = {
        "trl": {},
        "trl-grouped": {"gradient_checkpointing": False, "train_sampling_strategy": "group_by_length"},
        "trl-packed": {
            "gradient_checkpointing": False,
            "packing": True,
            "max_length": longest,
            # A row is full here, so that a step of as many tokens has fewer of them.
            "per_device_train_batch_size": max(1, round(job["batch_tokens"] / job["accumulation"] / longest)),
        },
    }
    return SFTTrainer(
        model=model.base,
        args=SFTConfig(
            **shared | by_hand[contender],
            model_init_kwargs={"quantization_config": _four_bit(model)} if model.quantization == "nf4" else None,
        ),
        train_dataset=rows,
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=[clock],
    )


def _four_bit(model: ModelConfig) -> BitsAndBytesConfig | None:
    if model.quantization != "nf4":
        return None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()))))
