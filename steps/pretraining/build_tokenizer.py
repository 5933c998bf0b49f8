"""Train the tiny base model's tokenizer."""

from pathlib import Path
from typing import Annotated

from zenml import step

from steps.scratch import scratch_folder
from tuneline.config import PretrainingConfig
from tuneline.pretraining.recipe import make_tokenizer


@step
def build_tokenizer(config: PretrainingConfig) -> Annotated[Path, "tokenizer"]:
    """Train a byte-level BPE on the corpus."""
    folder = scratch_folder("tokenizer")
    make_tokenizer(config, folder)
    return folder
