"""Loading the base model, the same way for training, evaluation and the parity check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from tuneline.errors import UserError
from tuneline.training.quantized import keep_gradients_flowing

if TYPE_CHECKING:
    from tuneline.config import ModelConfig

Quantization = Literal["none", "nf4", "int8"]


def load_tokenizer(model: ModelConfig) -> PreTrainedTokenizerBase:
    """Load the base model's tokenizer, with a padding token that is never the end-of-turn token.

    Raises:
        UserError: the folder or hub id cannot be loaded.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            model.base, revision=model.revision, trust_remote_code=model.trust_remote_code
        )
    except (OSError, ValueError) as error:
        raise _cannot_load(model, error) from error
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        # Padding never reaches the loss here (it has weight 0), so any other known token will do.
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.bos_token or tokenizer.eos_token
    return tokenizer


def load_base(
    model: ModelConfig, *, quantization: Quantization = "none", dtype: str | None = None, device: str | None = None
) -> PreTrainedModel:
    """Load the base model, on the GPU when there is one.

    Args:
        model: the config's ``model`` section.
        quantization: ``nf4`` loads 4-bit NormalFloat with double quantization (Dettmers et al.,
            2023, arXiv:2305.14314), ``int8`` loads LLM.int8().
        dtype: overrides the config's dtype, e.g. with the one that serving uses.
        device: overrides where it goes, for a process that shares the machine's GPUs with others.

    Raises:
        UserError: the folder or hub id cannot be loaded.
    """
    torch_dtype = getattr(torch, dtype or model.dtype)
    quantized = None
    if quantization == "nf4":
        quantized = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch_dtype,
        )
    elif quantization == "int8":
        quantized = BitsAndBytesConfig(load_in_8bit=True)
    try:
        loaded: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            model.base,
            revision=model.revision,
            trust_remote_code=model.trust_remote_code,
            dtype=torch_dtype,
            quantization_config=quantized,
            device_map=device or ("auto" if torch.cuda.is_available() else "cpu"),
            attn_implementation="sdpa",
        )
    except (OSError, ValueError) as error:
        raise _cannot_load(model, error) from error
    if quantization == "nf4":
        keep_gradients_flowing(loaded)
    return loaded


def _cannot_load(model: ModelConfig, error: Exception) -> UserError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return UserError(
        f"model.base {model.base!r} cannot be loaded: {reason}",
        hint="Give a folder with config.json, safetensors and a tokenizer, or a hub id that this machine can reach "
        "(HF_TOKEN for gated models, HF_HUB_OFFLINE=0).",
    )
