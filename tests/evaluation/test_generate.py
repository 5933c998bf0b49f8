"""Batched greedy answers are those that one question at a time would get."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from tuneline.evaluation.generate import generate, stop_ids


def _prompts(tokenizer: PreTrainedTokenizerBase, count: int) -> list[list[int]]:
    rng = random.Random(3)
    return [[rng.randrange(6, len(tokenizer)) for _ in range(rng.randint(3, 30))] for _ in range(count)]  # type: ignore[arg-type]


def _greedy(model: LlamaForCausalLM, prompt: list[int], stop: int, limit: int) -> list[int]:
    """The definition: the most likely token, again and again, without cache, batch or padding."""
    ids = list(prompt)
    with torch.inference_mode():
        while len(ids) - len(prompt) < limit:
            ids.append(int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
            if ids[-1] == stop:
                break
    return ids[len(prompt) :]


def test_batches_give_the_answers_of_one_by_one_in_the_order_asked(
    build_base: Callable[..., LlamaForCausalLM], tokenizer: PreTrainedTokenizerBase
) -> None:
    model, prompts = build_base(), _prompts(tokenizer, 17)
    # A token that this model does say ends its answers here, so that some end early and some are cut.
    spoken = [token for prompt in prompts for token in _greedy(model, prompt, -1, 12)]
    stop = max(set(spoken), key=lambda token: (spoken.count(token) in range(3, 9), spoken.count(token)))
    done: list[int] = []
    answers = generate(model, prompts, pad_id=1, stop=[stop], max_new_tokens=12, batch_size=5, on_progress=done.append)
    assert [list(answer.ids) for answer in answers] == [_greedy(model, prompt, stop, 12) for prompt in prompts]
    assert [answer.finished for answer in answers] == [stop in answer.ids for answer in answers]
    assert {answer.finished for answer in answers} == {True, False}
    assert done == [5, 10, 15, 17]


def test_the_models_own_sampling_settings_change_nothing(
    build_base: Callable[..., LlamaForCausalLM], tokenizer: PreTrainedTokenizerBase
) -> None:
    model, prompts = build_base(), _prompts(tokenizer, 3)
    how = {"pad_id": 1, "stop": [5], "max_new_tokens": 12, "batch_size": 3}
    plain = generate(model, prompts, **how)  # type: ignore[arg-type]
    settings = model.generation_config
    settings.update(do_sample=True, temperature=0.1, repetition_penalty=5.0, no_repeat_ngram_size=1, max_length=9)
    settings.update(min_new_tokens=3, bad_words_ids=[[plain[0].ids[0]]], suppress_tokens=[plain[1].ids[0]])
    assert generate(model, prompts, **how) == plain  # type: ignore[arg-type]


@pytest.mark.parametrize(("declared", "expected"), [(None, (5,)), (5, (5,)), ([7, 5], (5, 7))])
def test_answers_end_where_tokenizer_or_generation_config_say(
    declared: object,
    expected: tuple[int, ...],
    build_base: Callable[..., LlamaForCausalLM],
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    model = build_base()
    model.generation_config.eos_token_id = declared
    assert tokenizer.eos_token_id == 5
    assert stop_ids(model, tokenizer) == expected
