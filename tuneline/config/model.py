"""Section ``model``: the base model and how it is held in memory while an adapter is trained on it."""

from __future__ import annotations

import os
from typing import Literal, Self

from pydantic import Field

from tuneline.config.section import Section

DType = Literal["bfloat16", "float16", "float32"]
Quantization = Literal["none", "nf4", "int8"]


class ModelConfig(Section):
    """The base model. Its files are never changed: training makes an adapter beside it, or another whole model."""

    base: str
    """A hub id (``Qwen/Qwen3-0.6B``) or the path of a folder with config.json, weights and tokenizer."""

    revision: str | None = None
    """Branch, tag or commit on the hub. A commit keeps the base model from moving under the adapter."""

    dtype: DType = "bfloat16"
    """Type of the frozen weights, of the matrix products and of a merged model; weights are trained in float32."""

    quantization: Quantization = "none"
    """``nf4`` is QLoRA: 4-bit weights, about a quarter of bfloat16's memory. ``int8`` is LLM.int8(), about half."""

    trust_remote_code: bool = False
    """Run Python code that comes with the model. Only for models whose code you have read."""

    license: str | None = Field(default=None, min_length=1)
    """The base model's licence, such as ``apache-2.0``. The model card shows it; it decides nothing."""

    def as_loaded(self) -> Self:
        """The part that decides the weights. A cached step takes it, so that a corrected licence trains nothing."""
        return self.model_copy(update={"license": None})

    @property
    def is_local(self) -> bool:
        """Whether ``base`` is a folder of this machine (a loaded config holds it as an absolute path)."""
        return os.path.isabs(self.base)  # noqa: PTH117 - a hub id is no path
