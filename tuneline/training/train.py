"""One training run: chat records in, an adapter's folder out."""

from __future__ import annotations

import tempfile
from importlib.metadata import version

import torch
from transformers import PrinterCallback

from tuneline.training.activations import needs_checkpointing
from tuneline.training.arguments import training_arguments
from tuneline.training.base_model import load_base, load_tokenizer
from tuneline.training.batches import Steps, plan_batches
from tuneline.training.export import export
from tuneline.training.fast import at_full_speed, needs_autocast
from tuneline.training.job import TrainingJob
from tuneline.training.methods import make_trainable
from tuneline.training.outcome import TrainingOutcome, TrainingRun
from tuneline.training.progress import Watch, peak_memory_gib
from tuneline.training.samples import tokenise
from tuneline.training.trainer import PackedTrainer
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
    samples = tokenise(job.records, tokenizer, job.prompt, training.max_length)
    base = load_base(model, quantization=model.quantization)
    plan = plan_batches(base, samples.training, model, training)
    training = training.model_copy(update={"gradient_checkpointing": needs_checkpointing(base, training)})
    trained = make_trainable(base, model, training)
    trained.config.use_cache = False
    with tempfile.TemporaryDirectory() as scratch, at_full_speed(trained, training, packed=plan.packed):
        arguments = training_arguments(training, model, plan, scratch, autocast=needs_autocast(trained, training))
        steps = Steps(
            samples.training,
            plan,
            tokenizer.pad_token_id or 0,
            process=arguments.process_index,
            processes=arguments.world_size,
        )
        max_seconds = None if training.max_minutes is None else training.max_minutes * 60
        watch = Watch(job.on_progress, plan.tokens / plan.steps_per_epoch, max_seconds)
        trainer = PackedTrainer(model=trained, args=arguments, train_dataset=steps, callbacks=[watch])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    last = watch.history[-1]
    run = TrainingRun(
        method=training.method,
        steps=last.step,
        final_loss=last.loss,
        samples=len(samples.training),
        too_long=samples.too_long,
        tokens=plan.tokens,
        supervised_tokens=sum(sample.supervised for sample in samples.training),
        packed=plan.packed,
        trainable_parameters=sum(p.numel() for p in trained.parameters() if p.requires_grad),
        seconds=last.seconds,
        tokens_per_second=last.tokens_per_second,
        peak_memory_gib=peak_memory_gib(),
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        software={"tuneline": tuneline_version()} | {name: version(name) for name in ("torch", "transformers", "peft")},
        micro_batch_tokens=training.micro_batch_tokens,
    )
    return TrainingOutcome(export(trained, model, run, watch.history, job.output), run, tuple(watch.history))
