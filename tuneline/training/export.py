"""Writing what was trained: the folder that is evaluated, registered and served."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from peft import PeftModel
from safetensors.torch import save_file
from transformers import AutoTokenizer, PreTrainedModel

from tuneline.training import pissa
from tuneline.training.adapter import MERGED, LoraAdapter
from tuneline.training.agreement import check_agreement, log_probabilities, tolerance
from tuneline.training.base_model import load_base
from tuneline.training.identity import write_identity_adapter
from tuneline.training.job import TrainingJob
from tuneline.training.merge import write_merged
from tuneline.training.outcome import TrainingRun
from tuneline.training.packing import Sample
from tuneline.training.progress import Progress

if TYPE_CHECKING:
    from tuneline.config import ModelConfig


def export(
    trained: PreTrainedModel | PeftModel,
    job: TrainingJob,
    samples: Sequence[Sample],
    run: TrainingRun,
    curve: Sequence[Progress],
) -> LoraAdapter:
    """Write the adapter, or the whole model with the adapter that stands for it, with its numbers and its curve.

    Args:
        trained: as ``make_trainable`` made it, after the loop.
        job: says what is wanted and where.
        samples: of which a few prove that a merged model answers as the trained one does.
        run: the numbers.
        curve: the moments.

    Raises:
        TunelineError: the merged model answers otherwise than the trained one. ``job.output`` stays empty.
    """
    job.output.mkdir(parents=True, exist_ok=True)
    if job.training.export == "merged":
        difference = export_merged(trained, job.model, samples, job.output / MERGED)
        job.say(f"merged; it differs from the trained model by {difference:.4f} nats per token")
    else:
        write_adapter(trained, job.model, job.output)
    (job.output / "training.json").write_text(json.dumps(asdict(run), indent=2))
    (job.output / "curve.json").write_text(json.dumps([asdict(moment) for moment in curve]))
    return LoraAdapter(job.output)


def write_adapter(trained: PeftModel, model: ModelConfig, folder: Path) -> None:
    """Write PEFT's two files, such that they work on the original base model."""
    # No path of the training machine travels with the adapter; the release says which base it belongs to.
    trained.peft_config["default"].base_model_name_or_path = Path(model.base).name if model.is_local else model.base
    trained.save_pretrained(str(folder), save_embedding_layers=False)
    if trained.peft_config["default"].init_lora_weights == pissa.PEFT_NAME:
        config, tensors = pissa.as_plain_lora(trained)
        config.inference_mode = True
        config.save_pretrained(str(folder))
        save_file(tensors, str(folder / "adapter_model.safetensors"), metadata={"format": "pt"})
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty template
    _in_order(folder / "adapter_config.json")


def export_merged(
    trained: PreTrainedModel | PeftModel, model: ModelConfig, samples: Sequence[Sample], folder: Path
) -> float:
    """Write the whole model with its tokenizer, compare it, read back, with the trained one, and write its adapter.

    Args:
        trained: as ``make_trainable`` made it.
        model: the base model.
        samples: of which a few are asked.
        folder: for the model; the adapter that stands for it comes beside it.

    Returns:
        Their mean difference, nats per token.

    Raises:
        TunelineError: it is more than rounding makes. The folder is gone again.
    """
    try:
        write_whole(trained, model, folder)
        expected = log_probabilities(trained, samples, model.dtype)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # what training kept for itself has room for the model that is read back
        written = load_base(model.model_copy(update={"base": str(folder.resolve()), "revision": None}))
        found = log_probabilities(written, samples, model.dtype)
        difference = check_agreement(expected, found, tolerance(model))
        write_identity_adapter(folder, folder.parent, trust_remote_code=model.trust_remote_code)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return difference


def write_whole(trained: PreTrainedModel | PeftModel, model: ModelConfig, folder: Path) -> None:
    """Write the merged weights with the base model's own tokenizer."""
    write_merged(trained, folder, model.dtype)
    # Not the tokenizer of the training, which may have been given another padding token.
    AutoTokenizer.from_pretrained(
        model.base, revision=model.revision, trust_remote_code=model.trust_remote_code
    ).save_pretrained(str(folder))


def _in_order(file: Path) -> None:
    """PEFT writes sets as lists in any order: sorted, equal adapters have equal files."""
    config = json.loads(file.read_text())
    for key in ("target_modules", "modules_to_save"):
        if isinstance(config.get(key), list):
            config[key].sort()
    file.write_text(json.dumps(config, indent=2, sort_keys=True))
