"""One training run: chat records in, an adapter's folder out."""

from __future__ import annotations

import tempfile
from functools import partial
from importlib.metadata import version

import torch
from transformers import PrinterCallback

from tuneline.training.arguments import training_arguments
from tuneline.training.base_model import load_base, load_tokenizer
from tuneline.training.batches import plan_rows
from tuneline.training.export import export
from tuneline.training.job import TrainingJob
from tuneline.training.methods import make_trainable
from tuneline.training.outcome import TrainingOutcome, TrainingRun
from tuneline.training.packing import collate
from tuneline.training.progress import Watch, peak_memory_gib
from tuneline.training.samples import tokenise
from tuneline.training.trainer import PackedTrainer
from tuneline.training.validation import planned_validation
from tuneline.version import tuneline_version


def train(job: TrainingJob) -> TrainingOutcome:
    """Train and write the result to ``job.output``.

    Raises:
        UserError: the base model cannot be loaded or no record can be learnt from.
        TunelineError: the loss became NaN or infinite; ``job.output`` stays empty.
    """
    return train_here(job)


def train_here(job: TrainingJob) -> TrainingOutcome:
    """Train in this process, from the beginning to the end."""
    model, training = job.model, job.training
    torch.manual_seed(training.seed)
    tokenizer = load_tokenizer(model)
    samples = tokenise(
        job.records,
        tokenizer,
        job.prompt,
        training.max_length,
        validation_share=training.validation.share if training.validation else 0.0,
        seed=training.seed,
    )
    base = load_base(model, quantization=model.quantization)
    rows = plan_rows(base, samples.training, model, training)
    trained = make_trainable(base, model, training)
    trained.config.use_cache = False
    tokens = sum(rows.lengths)
    pad_id = tokenizer.pad_token_id or 0
    with tempfile.TemporaryDirectory() as scratch:
        arguments = training_arguments(training, model, rows, scratch)
        validation = planned_validation(training, samples.validation, packed=rows.packed, pad_id=pad_id)
        watch = Watch(job.on_progress, training.max_minutes, validation)
        trainer = PackedTrainer(
            model=trained,
            args=arguments,
            train_dataset=rows,
            data_collator=partial(collate, pad_id=pad_id),
            # In this order: the watch may end the run, the validation then measures once more.
            callbacks=[watch, *([validation] if validation else [])],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    last = watch.history[-1]
    run = TrainingRun(
        method=training.method,
        steps=last.step,
        final_loss=last.loss,
        samples=len(samples.training),
        too_long=samples.too_long,
        tokens=tokens,
        supervised_tokens=sum(sample.supervised for sample in samples.training),
        packed=rows.packed,
        trainable_parameters=sum(p.numel() for p in trained.parameters() if p.requires_grad),
        seconds=last.seconds,
        tokens_per_second=last.tokens_per_second,
        peak_memory_gib=peak_memory_gib(),
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        software={"tuneline": tuneline_version()} | {name: version(name) for name in ("torch", "transformers", "peft")},
        micro_batch_tokens=training.micro_batch_tokens,
        stopped=watch.stopped or (validation.stopped if validation else None),
        validation_samples=len(samples.validation),
        best_validation_loss=validation.best_loss if validation else None,
        best_step=validation.best_step if validation else None,
    )
    return TrainingOutcome(export(trained, model, run, watch.history, job.output), run, tuple(watch.history))
