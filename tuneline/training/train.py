"""One training run: chat records in, an adapter's folder out; from the beginning, or from where it was interrupted."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch
from transformers import PrinterCallback

from tuneline.training.arguments import training_arguments
from tuneline.training.base_model import load_base, load_tokenizer
from tuneline.training.batches import Steps, plan_batches
from tuneline.training.distributed.launch import train_in_processes
from tuneline.training.distributed.sharded import whole_model
from tuneline.training.distributed.strategy import device_of_process
from tuneline.training.durable.faults import LossGuard
from tuneline.training.durable.fingerprint import job_fingerprint
from tuneline.training.durable.interruption import Interruption, ended, interruption
from tuneline.training.durable.keeper import Keeper
from tuneline.training.durable.memory import is_out_of_memory, no_memory
from tuneline.training.durable.result import find_checkpoint, find_result, keep_result
from tuneline.training.durable.start import Start
from tuneline.training.durable.store import CheckpointStore
from tuneline.training.durable.trainer import DurableTrainer
from tuneline.training.durable.upload import Upload
from tuneline.training.export import export
from tuneline.training.fast import at_full_speed, needs_autocast
from tuneline.training.job import TrainingJob
from tuneline.training.methods import make_trainable
from tuneline.training.outcome import TrainingOutcome, TrainingRun
from tuneline.training.plan.checkpointing import with_checkpointing_decided
from tuneline.training.progress import Watch, peak_memory_gib
from tuneline.training.samples import tokenise
from tuneline.training.validation import planned_validation
from tuneline.training.vocabulary import check_vocabulary, split_markers
from tuneline.version import tuneline_version


def train(job: TrainingJob) -> TrainingOutcome:
    """Train and write the result to ``job.output``; go on from a checkpoint if this job left one.

    Raises:
        UserError: the base model cannot be loaded, no record can be learnt from, or memory does not suffice.
        Interrupted: SIGTERM or SIGINT came; what was learnt is saved.
        TunelineError: the loss became NaN or infinite, or exploded; ``job.output`` stays empty.
    """
    store = None
    if job.checkpoints is not None:
        store = CheckpointStore(job.checkpoints, job.storage_options, job_fingerprint(job))
        if (found := find_result(store, job)) is not None:
            return found
    with tempfile.TemporaryDirectory(prefix="tuneline-training-") as scratch:
        start = Start(Path(scratch), store)
        if store is not None:
            start = replace(start, step=find_checkpoint(store, job, start.checkpoint))
        if job.training.distributed.processes > 1:
            outcome = train_in_processes(job, start)
        else:
            # Without a place for checkpoints there is nothing to do before the end.
            with nullcontext(Interruption()) if store is None else interruption() as asked:
                alone = train_here(job, start, asked)
            assert alone is not None, "a single process is the first"
            outcome = alone
    if store is not None:
        keep_result(store, outcome, job)
    return outcome


def train_here(job: TrainingJob, start: Start, asked: Interruption) -> TrainingOutcome | None:
    """Train in this process, alone or as one of several, to the end or until it is asked for.

    Returns:
        The outcome; None in all processes but the first.
    """
    model = job.model
    tokenizer = load_tokenizer(model)
    training = with_checkpointing_decided(model, job.training)
    torch.manual_seed(training.seed)
    samples = tokenise(
        job.records,
        tokenizer,
        job.prompt,
        training.max_length,
        validation_share=training.validation.share if training.validation else 0.0,
        seed=training.seed,
    )
    base = load_base(model, quantization=model.quantization, device=device_of_process(training))
    check_vocabulary(tokenizer, base)
    if split := split_markers(tokenizer, job.prompt):
        job.say(f"no tokens of this tokenizer, so split into pieces: {', '.join(split)} in prompt.chat_template")
    plan = plan_batches(base, samples.training, model, training)
    trained = make_trainable(base, model, training)
    trained.config.use_cache = False
    pad_id = tokenizer.pad_token_id or 0
    validation = planned_validation(training, samples.validation, packed=plan.packed, pad_id=pad_id)
    watch = Watch(job.on_progress, training.max_minutes, validation)
    with at_full_speed(trained, training, packed=plan.packed):
        trainer_folder = str(start.scratch / "trainer")
        arguments = training_arguments(
            training, model, plan, trainer_folder, autocast=needs_autocast(trained, training)
        )
        first = arguments.process_index == 0
        steps = Steps(samples.training, plan, pad_id, process=arguments.process_index, processes=arguments.world_size)
        upload = None
        if start.store is not None and first:
            upload = Upload(start.store, training.checkpoints.keep, job.say, start.step)
        keeper = Keeper(training.checkpoints, upload, asked)
        trainer = DurableTrainer(
            training=training,
            guard=LossGuard(samples.training, job.records, None if start.store is None else start.store.note),
            upload=upload,
            say=job.say,
            cut=start.cut,
            model=trained,
            args=arguments,
            train_dataset=steps,
            # In this order: the watch may end the run, the validation then measures once more.
            callbacks=[watch, *([validation] if validation else []), keeper],
            loraplus_lr_ratio=training.loraplus_lr_ratio,
        )
        trainer.remove_callback(PrinterCallback)
        try:
            trainer.train_from(None if start.step is None else start.checkpoint)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise no_memory(str(error), training, halved=training.on_oom == "halve") from error
        finally:
            if upload is not None:
                upload.close()
    if keeper.ended:
        saved = None if upload is None else upload.last_step
        raise ended(asked.by, trainer.state.global_step, arguments.max_steps, saved)
    whole = whole_model(trainer, job, start.scratch)
    if not first:
        return None
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
        processes=arguments.world_size,
        micro_batch_tokens=training.micro_batch_tokens // trainer.run_state.cut,
        resumed_from=trainer.run_state.resumed_from,
        stopped=watch.stopped or (validation.stopped if validation else None),
        validation_samples=len(samples.validation),
        best_validation_loss=validation.best_loss if validation else None,
        best_step=validation.best_step if validation else None,
    )
    return TrainingOutcome(export(whole, job, samples.training, run, watch.history), run, tuple(watch.history))
