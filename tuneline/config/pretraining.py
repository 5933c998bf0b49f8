"""The config of the tiny base model's pretraining: its shape, what it reads, and for how long."""

from __future__ import annotations

from pydantic import Field

from tuneline.config.section import Section
from tuneline.release.document import ENDPOINT_NAME


class ModelShape(Section):
    """A Llama's shape. Names are those of transformers' ``LlamaConfig``."""

    hidden_size: int = Field(default=256, gt=0)
    """Width: numbers per token between the layers. A multiple of ``num_attention_heads``."""

    intermediate_size: int = Field(default=704, gt=0)
    """Width inside the feed-forward part."""

    num_hidden_layers: int = Field(default=4, gt=0)
    """Depth. Copying needs two layers at least."""

    num_attention_heads: int = Field(default=8, gt=0)
    """Attention heads in a layer."""

    num_key_value_heads: int = Field(default=8, gt=0)
    """Heads that keep keys and values; fewer than ``num_attention_heads`` shrink the KV cache."""

    max_position_embeddings: int = Field(default=1024, gt=0)
    """Longest text the model is made for, tokens."""

    rope_theta: float = Field(default=10_000.0, gt=0)
    """Base of the rotary position embedding."""

    tie_word_embeddings: bool = True
    """Use the embedding as the head: a quarter of a million parameters less at this size."""


class TokenizerTraining(Section):
    """The byte-level BPE tokenizer, trained before the model."""

    vocab_size: int = Field(default=1024, ge=300)
    """Tokens, special ones and the 256 bytes included."""

    documents: int = Field(default=20_000, gt=0)
    """Documents of the corpus it is trained on."""

    seed: int = 0
    """Of those documents."""


class Reading(Section):
    """The optimizer and what it is fed."""

    steps: int = Field(gt=0)
    """Optimizer steps of ``rows * row_tokens`` tokens."""

    learning_rate: float = Field(gt=0)
    """AdamW's peak, for embedding and norms."""

    muon_learning_rate: float = Field(gt=0)
    """Muon's peak, for the matrices."""

    warmup_steps: int = Field(default=50, gt=0)
    """Steps in which both learning rates rise; afterwards they fall linearly to zero."""

    rows: int = Field(gt=0)
    """Rows in a step."""

    row_tokens: int = Field(gt=8)
    """Tokens in a row."""

    repeat_share: float = Field(ge=0, le=1)
    """Share of the rows that repeat a random stretch of tokens, which teaches copying (arXiv:2209.11895)."""

    seed: int = 0
    """Of weights, documents and rows."""


class PretrainingConfig(Section):
    """How the tiny base model is made from nothing. Made by ``load_pretraining_config``."""

    name: str = Field(pattern=ENDPOINT_NAME)
    """The model's name: in its card and in the pipeline's runs."""

    model: ModelShape = ModelShape()
    """The shape."""

    tokenizer: TokenizerTraining = TokenizerTraining()
    """The tokenizer."""

    training: Reading
    """The training."""

    output: str
    """The folder to write model, tokenizer and card to; a relative path begins in the current directory."""
