"""A registered version as a whole model: its adapter merged into its base, and proven by its evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from peft import PeftModel

from tuneline.errors import UserError
from tuneline.evaluation.golden import token_logprobs
from tuneline.release.parity import GoldenPrompt
from tuneline.training.agreement import check_agreement, tolerance
from tuneline.training.base_model import load_base
from tuneline.training.export import write_whole

if TYPE_CHECKING:
    from tuneline.config import ModelConfig


def merge_version(model: ModelConfig, adapter: Path, folder: Path) -> None:
    """Merge an adapter into the base model as it was served, and write the whole model.

    Args:
        model: the base model; with ``quantization: nf4`` its rounded weights are the ones that were judged and
            served, so they are the ones that are written, in ``dtype``.
        adapter: PEFT's two files.
        folder: gets the model and its tokenizer.
    """
    base = load_base(model, quantization=model.quantization)
    write_whole(PeftModel.from_pretrained(base, str(adapter)), model, folder)


def check_golden(model: ModelConfig, folder: Path, golden: Sequence[GoldenPrompt]) -> float:
    """Ask the written model what the version was asked in its evaluation.

    Returns:
        The mean difference of the log-probabilities, nats per token.

    Raises:
        UserError: nothing was recorded.
        TunelineError: the difference is more than rounding makes.
    """
    if not golden:
        raise UserError(
            "the version's evaluation recorded no golden prompts, so the merged model could not be checked",
            hint="Export its adapter, without --merged.",
        )
    written = load_base(model.model_copy(update={"base": str(folder.resolve()), "revision": None})).eval()
    found = [value for asked in golden for value in token_logprobs(written, asked.prompt_ids, asked.completion_ids)]
    recorded = [value for asked in golden for value in asked.logprobs]
    return check_agreement(torch.tensor(recorded), torch.tensor(found), tolerance(model))
