"""Whether a base model works on this machine: loaded once, asked a few questions, measured.

Each precision gets a process of its own (``python -m tuneline.training.base_check``, a request as JSON on stdin, the
answer as the last line of stdout), because memory once taken is not given back and a peak is a process's.
"""

from __future__ import annotations

import importlib
import json
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tuneline.config import ModelConfig
from tuneline.data.records import Message
from tuneline.errors import TunelineError
from tuneline.prompts.render import render_prompt
from tuneline.prompts.template import PromptTemplate
from tuneline.training.base_model import load_base, load_tokenizer

if TYPE_CHECKING:
    from tuneline.training.base_model import Quantization

_FIRST_TOKENS = 3  # measurements of the latency; their median counts
_WIDE = 8  # questions at once in the second measurement of speed


@dataclass(frozen=True)
class BaseCheck:
    """What a base model does in one precision.

    Attributes:
        quantization: ``none``, ``int8`` or ``nf4``.
        device: the GPU's name, or ``CPU``.
        parameters: of the model, quantized ones counted as what they stand for.
        load_seconds: from the files to a model that answers; the imports are not counted.
        first_token_seconds: prompt to first token of one question, median of three after one that warms up.
        tokens_per_second: new tokens with one question, ``tokens_per_second_8`` with eight at once, over all.
        weights_gib: what the loaded weights take.
        peak_memory_gib: of the process (resident), libraries included; ``peak_gpu_gib`` of the GPU, 0 without one.
        texts: what it answered to each question, greedily.
    """

    quantization: str
    device: str
    parameters: int
    load_seconds: float
    first_token_seconds: float
    tokens_per_second: float
    tokens_per_second_8: float
    weights_gib: float
    peak_memory_gib: float
    peak_gpu_gib: float
    texts: tuple[str, ...]


def check_base(
    model: ModelConfig,
    quantization: Quantization,
    prompt: PromptTemplate,
    questions: Sequence[str],
    max_new_tokens: int,
) -> BaseCheck:
    """Load the base model in this process and let it answer.

    Args:
        model: the config's ``model`` section; its own quantization is not looked at.
        quantization: how to load it.
        prompt: what is put around a question.
        questions: at least one.
        max_new_tokens: longest answer, and how many tokens are made for a measurement of speed.

    Raises:
        UserError: the model cannot be loaded, or has no chat template.
    """
    tokenizer = load_tokenizer(model)
    prompts = [render_prompt(tokenizer, [Message(role="user", content=text)], prompt) for text in questions]
    if quantization != "none":
        importlib.import_module("bitsandbytes")  # three seconds that are none of the model's
    began = time.perf_counter()
    base = load_base(model, quantization=quantization).eval()
    load_seconds = time.perf_counter() - began
    texts = []
    for ids in prompts:  # the first of them warms up, too
        made = _generate(base, tokenizer, [ids], max_new_tokens, least=1)[0]
        texts.append(str(tokenizer.decode(made, skip_special_tokens=True)).strip())
    first = statistics.median(_seconds(base, tokenizer, prompts[:1], 1) for _ in range(_FIRST_TOKENS))
    one = _seconds(base, tokenizer, prompts[:1], max_new_tokens)
    wide = [prompts[place % len(prompts)] for place in range(_WIDE)]
    many = _seconds(base, tokenizer, wide, max_new_tokens)
    cuda = torch.cuda.is_available()
    return BaseCheck(
        quantization=quantization,
        device=torch.cuda.get_device_name() if cuda else "CPU",
        parameters=int(base.num_parameters()),
        load_seconds=load_seconds,
        first_token_seconds=first,
        tokens_per_second=max_new_tokens / one,
        tokens_per_second_8=_WIDE * max_new_tokens / many,
        weights_gib=base.get_memory_footprint() / 2**30,
        peak_memory_gib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        peak_gpu_gib=torch.cuda.max_memory_allocated() / 2**30 if cuda else 0.0,
        texts=tuple(texts),
    )


def _seconds(
    base: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[list[int]], tokens: int
) -> float:
    """Time to make exactly so many tokens for each prompt."""
    began = time.perf_counter()
    _generate(base, tokenizer, prompts, tokens, least=tokens)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


@torch.inference_mode()
def _generate(
    base: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[list[int]], most: int, *, least: int
) -> list[list[int]]:
    width = max(map(len, prompts))
    pad = int(tokenizer.pad_token_id or 0)
    ids = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts], device=base.device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=base.device)
    made: Any = base.generate(
        input_ids=ids,
        attention_mask=mask,
        min_new_tokens=least,
        max_new_tokens=most,
        do_sample=False,
        use_cache=True,
        pad_token_id=pad,
    )
    return [row[width:].tolist() for row in made]


def main() -> None:
    """Answer the request on stdin."""
    request = json.load(sys.stdin)
    try:
        found = check_base(
            ModelConfig(**request["model"]),
            request["quantization"],
            PromptTemplate(**request["prompt"]),
            request["questions"],
            request["max_new_tokens"],
        )
        answer: dict[str, Any] = asdict(found)
    except TunelineError as error:
        answer = {"error": error.what, "hint": error.hint}
    except (torch.OutOfMemoryError, MemoryError) as error:
        answer = {"error": f"there is not enough memory: {str(error).splitlines()[0]}", "hint": ""}
    print(f"\n{json.dumps(answer)}", flush=True)


if __name__ == "__main__":
    main()
