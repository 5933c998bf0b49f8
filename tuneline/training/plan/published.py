"""The numbers of published models' config.json, for planning where the hub cannot be reached or is gated.

Only what decides sizes and kernels is kept: the same names as in transformers' configuration classes.
"""

from __future__ import annotations

from typing import Any


def _shape(
    model_type: str, vocabulary: int, hidden: int, inner: int, layers: int, heads: tuple[int, int], **more: Any
) -> dict[str, Any]:
    """One model; ``heads`` are those of the queries and those of keys and values."""
    return {
        "model_type": model_type,
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads[0],
        "num_key_value_heads": heads[1],
        "tie_word_embeddings": False,
    } | more


_QWEN3 = {"head_dim": 128, "max_position_embeddings": 40960}
_GEMMA3 = {"head_dim": 256, "max_position_embeddings": 32768, "query_pre_attn_scalar": 256, "tie_word_embeddings": True}
_PHI = {"max_position_embeddings": 131072, "pad_token_id": 0}

PUBLISHED: dict[str, dict[str, Any]] = {
    "mistralai/Mistral-7B-Instruct-v0.3": _shape(
        "mistral", 32768, 4096, 14336, 32, (32, 8), sliding_window=None, max_position_embeddings=32768
    ),
    "meta-llama/Llama-2-7b-chat-hf": _shape("llama", 32000, 4096, 11008, 32, (32, 32), max_position_embeddings=4096),
    "meta-llama/Llama-3.1-8B-Instruct": _shape(
        "llama", 128256, 4096, 14336, 32, (32, 8), max_position_embeddings=131072
    ),
    "meta-llama/Llama-3.2-1B-Instruct": _shape(
        "llama", 128256, 2048, 8192, 16, (32, 8), tie_word_embeddings=True, max_position_embeddings=131072
    ),
    "meta-llama/Llama-3.2-3B-Instruct": _shape(
        "llama", 128256, 3072, 8192, 28, (24, 8), tie_word_embeddings=True, max_position_embeddings=131072
    ),
    "Qwen/Qwen3-0.6B": _shape("qwen3", 151936, 1024, 3072, 28, (16, 8), **_QWEN3 | {"tie_word_embeddings": True}),
    "Qwen/Qwen3-4B": _shape("qwen3", 151936, 2560, 9728, 36, (32, 8), **_QWEN3 | {"tie_word_embeddings": True}),
    "Qwen/Qwen3-8B": _shape("qwen3", 151936, 4096, 12288, 36, (32, 8), **_QWEN3),
    "google/gemma-3-1b-it": _shape("gemma3_text", 262144, 1152, 6912, 26, (4, 1), **_GEMMA3 | {"sliding_window": 512}),
    # The language part alone: pictures are not trained on.
    "google/gemma-3-4b-it": _shape(
        "gemma3_text", 262208, 2560, 10240, 34, (8, 4), **_GEMMA3 | {"sliding_window": 1024}
    ),
    "microsoft/Phi-4-mini-instruct": _shape(
        "phi3", 200064, 3072, 8192, 32, (24, 8), **_PHI | {"tie_word_embeddings": True}
    ),
    "microsoft/Phi-3.5-mini-instruct": _shape("phi3", 32064, 3072, 8192, 32, (32, 32), **_PHI),
}
# Names that share a shape: what is published once untuned and once tuned.
_TWINS = {
    "mistralai/Mistral-7B-v0.3": "mistralai/Mistral-7B-Instruct-v0.3",
    "meta-llama/Llama-2-7b-hf": "meta-llama/Llama-2-7b-chat-hf",
    "meta-llama/Llama-3.1-8B": "meta-llama/Llama-3.1-8B-Instruct",
    "meta-llama/Llama-3.2-1B": "meta-llama/Llama-3.2-1B-Instruct",
    "meta-llama/Llama-3.2-3B": "meta-llama/Llama-3.2-3B-Instruct",
    "google/gemma-3-1b-pt": "google/gemma-3-1b-it",
}
PUBLISHED |= {name: PUBLISHED[twin] for name, twin in _TWINS.items()}
