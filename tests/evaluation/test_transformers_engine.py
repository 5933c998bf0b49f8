"""Base model, champion and candidate answer in shared batches, and each says what it would have said alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen3Config,
)

from tests.evaluation.conftest import MakeAdapter
from tuneline import paths
from tuneline.errors import TunelineError
from tuneline.evaluation.engines.engine import Request
from tuneline.evaluation.engines.transformers_engine import TransformersEngine, stop_ids
from tuneline.evaluation.golden import token_logprobs
from tuneline.evaluation.perplexity import reference_nll
from tuneline.evaluation.subjects import AdapterSubject, switched_to, with_adapters

LIMIT = 12
SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 300,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
}
ARCHITECTURES: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
    # Shorter than most prompts, so that the window moves on while answers are decoded.
    "mistral": lambda: AutoModelForCausalLM.from_config(MistralConfig(**SHAPE, sliding_window=8)),
    "qwen3": lambda: AutoModelForCausalLM.from_config(Qwen3Config(**SHAPE, head_dim=16)),
    "tiny-base": lambda: AutoModelForCausalLM.from_pretrained(paths.ASSETS / "tiny-base", dtype=torch.float32),
}


def _prompts(count: int, vocabulary: int = 300, seed: int = 3) -> list[tuple[int, ...]]:
    rng = random.Random(seed)
    return [tuple(rng.randrange(6, vocabulary) for _ in range(rng.randint(3, 30))) for _ in range(count)]


def _alone(model: Any, prompt: Sequence[int], stop: int, limit: int = LIMIT) -> tuple[int, ...]:
    """The definition: the most likely token, again and again, without cache, batch or padding."""
    ids = list(prompt)
    with torch.inference_mode():
        while len(ids) - len(prompt) < limit:
            ids.append(int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
            if ids[-1] == stop:
                break
    return tuple(ids[len(prompt) :])


def _spoken(answers: Sequence[Sequence[int]]) -> int:
    """A token that ends some of the answers early, but not all."""
    counts = {token: sum(token in answer for answer in answers) for answer in answers for token in answer}
    return min(counts, key=lambda token: abs(counts[token] - len(answers) / 2))


def _engine(model: Any, stop: int, **how: int) -> TransformersEngine:
    return TransformersEngine(model, pad_id=1, stop_ids=[stop], **{"max_new_tokens": LIMIT, "batch_size": 5} | how)


@pytest.fixture
def adapted(build_base: Callable[..., LlamaForCausalLM], make_adapter: MakeAdapter) -> Iterator[PeftModel]:
    """A base model with a champion and a candidate over it."""
    made = {"champion": make_adapter(1), "candidate": make_adapter(2)}
    subjects = [AdapterSubject(role, *made[role][:1], role, made[role][1]) for role in made]  # type: ignore[arg-type]
    with with_adapters(build_base(), subjects) as model:
        yield model


def _mixed(prompts: Sequence[tuple[int, ...]]) -> list[Request]:
    return [Request(role, prompt) for prompt in prompts for role in ("candidate", "base", "champion")]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_batch_answers_as_one_question_at_a_time_would(name: str) -> None:
    torch.manual_seed(0)
    model, prompts = ARCHITECTURES[name]().eval(), _prompts(17)
    stop = _spoken([_alone(model, prompt, -1) for prompt in prompts])
    answers = _engine(model, stop).answer([Request("base", prompt) for prompt in prompts])
    assert [answer.ids for answer in answers] == [_alone(model, prompt, stop) for prompt in prompts]
    assert [answer.finished for answer in answers] == [stop in answer.ids for answer in answers]
    assert {answer.finished for answer in answers} == {True, False}
    assert len({len(answer.ids) for answer in answers}) > 2, "rows have to leave the batch at different times"


@pytest.mark.parametrize("name", ["llama", "mistral", "qwen3"])
def test_adapters_in_one_batch_answer_as_each_would_alone(name: str) -> None:
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=16, target_modules="all-linear", init_lora_weights=False)
    model = get_peft_model(ARCHITECTURES[name]().eval(), config, adapter_name="champion")
    model.add_adapter("candidate", config)
    model.eval()
    requests, expected = _mixed(_prompts(9)), []
    for request in requests:
        with switched_to(model, request.subject):
            expected.append(_alone(model, request.prompt_ids, -1))
    stop = _spoken(expected)
    answers = _engine(model, stop, batch_size=4).answer(requests)
    cut = [ids[: ids.index(stop) + 1] if stop in ids else ids for ids in expected]
    assert [answer.ids for answer in answers] == cut
    assert len({answers[0].ids, answers[1].ids, answers[2].ids}) == 3


def test_the_model_is_handed_back_as_it_was(adapted: PeftModel) -> None:
    adapted.train()
    core = adapted.get_base_model()
    _engine(adapted, 5).answer(_mixed(_prompts(2)))
    assert core.training and core.config._attn_implementation == "sdpa"
    assert not [name for name, module in adapted.named_modules() if "forward" in vars(module)]


def test_batches_are_only_memory_and_speed(adapted: PeftModel) -> None:
    requests = _mixed(_prompts(7))
    answers = [_engine(adapted, 5, batch_size=size).answer(requests) for size in (1, 3, 50)]
    assert answers[0] == answers[1] == answers[2]


def test_progress_is_told_and_ends_with_all(adapted: PeftModel) -> None:
    done: list[int] = []
    _engine(adapted, 5, batch_size=2).answer(_mixed(_prompts(5)), done.append)
    assert done == [6, 12, 15]
    assert _engine(adapted, 5).answer([]) == []


def test_an_answer_is_no_longer_than_the_limit(adapted: PeftModel) -> None:
    answers = _engine(adapted, -1, max_new_tokens=3).answer(_mixed(_prompts(2)))
    assert {(len(answer.ids), answer.finished) for answer in answers} == {(3, False)}


def test_an_adapter_that_is_not_there_does_not_answer_as_the_base_model(
    build_base: Callable[..., LlamaForCausalLM],
) -> None:
    with pytest.raises(TunelineError, match="'candidate' is not loaded"):
        _engine(build_base(), 5).answer([Request("candidate", (7, 8))])


@pytest.mark.parametrize("more", [{"use_dora": True}, {"modules_to_save": ["lm_head"]}])
def test_adapters_that_are_more_than_lora_are_refused(
    build_base: Callable[..., LlamaForCausalLM], more: dict[str, Any]
) -> None:
    model = get_peft_model(build_base(), LoraConfig(target_modules=["q_proj"], **more), adapter_name="candidate")
    with pytest.raises(TunelineError, match="more than LoRA over linear layers"):
        _engine(model, 5).answer([Request("candidate", (7, 8))])


def test_in_bfloat16_answers_are_nearly_all_those_of_one_at_a_time() -> None:
    model = AutoModelForCausalLM.from_pretrained(paths.ASSETS / "tiny-base", dtype=torch.bfloat16).eval()
    prompts = _prompts(40)
    answers = _engine(model, 5, batch_size=40).answer([Request("base", prompt) for prompt in prompts])
    same = sum(answer.ids == _alone(model, prompt, 5) for answer, prompt in zip(answers, prompts, strict=True))
    assert same >= 32, same


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
    assert stop_ids(model.generation_config, tokenizer) == expected


def test_likelihoods_in_batches_are_those_of_one_at_a_time(adapted: PeftModel) -> None:
    prompts, references = _prompts(11), _prompts(11, seed=4)
    with switched_to(adapted, "candidate"):
        batched = reference_nll(adapted, prompts, references, batch_size=4)
        for prompt, reference, value in zip(prompts, references, batched, strict=True):
            logprobs = token_logprobs(adapted, prompt, reference)
            assert value == pytest.approx(-sum(logprobs) / len(logprobs), abs=1e-5)
        with pytest.raises(ValueError, match="has no token"):
            reference_nll(adapted, [[1]], [[]], batch_size=1)
