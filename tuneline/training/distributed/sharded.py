"""From a model that is shared out among processes to one that can be exported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from peft import PeftModel

from tuneline.training.base_model import load_base
from tuneline.training.distributed.strategy import is_sharded
from tuneline.training.methods import make_trainable

if TYPE_CHECKING:
    from transformers import PreTrainedModel, Trainer

    from tuneline.training.job import TrainingJob


def whole_model(trainer: Trainer, job: TrainingJob, scratch: Path) -> PreTrainedModel | PeftModel | None:
    """The trained model in whole. All processes have to call this; only the first gets a sharded one.

    A sharded one is saved, which gathers it piece by piece, and loaded into a fresh model without a GPU: gathering it
    in place would need the memory for want of which it was shared out.
    """
    if not is_sharded(job.training):
        return trainer.accelerator.unwrap_model(trainer.model)
    folder = scratch / "whole"
    trainer.save_model(str(folder))
    if not trainer.is_world_process_zero():
        return None
    if not isinstance(trainer.accelerator.unwrap_model(trainer.model), PeftModel):
        return load_base(job.model.model_copy(update={"base": str(folder), "revision": None}), device="cpu")
    fresh = make_trainable(
        load_base(job.model, quantization=job.model.quantization, device="cpu"), job.model, job.training
    )
    fresh.load_adapter(str(folder), "default")
    return fresh
