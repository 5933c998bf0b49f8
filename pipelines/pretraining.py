"""Pretraining: the tiny base model, from nothing."""

from zenml import pipeline
from zenml.enums import ExecutionMode

from steps.pretraining.build_tokenizer import build_tokenizer
from steps.pretraining.install_base import install_base
from steps.pretraining.pretrain_base import pretrain_base
from tuneline.config import PretrainingConfig


@pipeline(name="pretraining", execution_mode=ExecutionMode.FAIL_FAST)
def pretraining_pipeline(config: PretrainingConfig) -> None:
    """Train the tokenizer, train the model, put both into place."""
    tokenizer = build_tokenizer(config)
    base_model = pretrain_base(tokenizer, config)
    install_base(base_model, config)
