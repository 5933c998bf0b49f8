"""Golden log-probabilities are the model's own, token by token."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from transformers import LlamaForCausalLM

from tuneline.errors import TunelineError
from tuneline.evaluation.golden import token_logprobs


def test_they_are_the_log_softmax_at_each_completion_token(build_base: Callable[..., LlamaForCausalLM]) -> None:
    model = build_base()
    prompt, completion = [9, 8, 7, 30], [12, 13, 5]
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([[*prompt, *completion]])).logits[0].log_softmax(-1)
    expected = [float(logits[len(prompt) - 1 + n, token]) for n, token in enumerate(completion)]
    assert token_logprobs(model, prompt, completion) == pytest.approx(expected, abs=1e-5)


def test_in_bfloat16_the_probabilities_are_still_float32(build_base: Callable[..., LlamaForCausalLM]) -> None:
    values = token_logprobs(build_base(dtype=torch.bfloat16), [9, 8, 7], [12, 13])
    rounded = torch.tensor(values).to(torch.bfloat16).float().tolist()
    assert values != rounded


def test_broken_weights_are_an_error_and_no_number(build_base: Callable[..., LlamaForCausalLM]) -> None:
    model = build_base()
    torch.nn.init.constant_(model.model.norm.weight, float("nan"))
    with pytest.raises(TunelineError, match="no numbers"):
        token_logprobs(model, [9], [12])


@pytest.mark.parametrize(("prompt", "completion"), [([], [1]), ([1], [])])
def test_an_empty_side_is_refused(
    prompt: list[int], completion: list[int], build_base: Callable[..., LlamaForCausalLM]
) -> None:
    with pytest.raises(ValueError, match="at least one"):
        token_logprobs(build_base(), prompt, completion)
