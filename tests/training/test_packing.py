"""Conversations that share a row are computed as if each were alone."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    Phi3Config,
    PreTrainedModel,
    Qwen3Config,
)

from tuneline.training.block_attention import block_attention
from tuneline.training.exactness import TOLERANCE, packing_difference, packing_is_exact
from tuneline.training.layout import Block
from tuneline.training.packing import Sample, collate

SHAPE = {
    "vocab_size": 128,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,
}
ARCHITECTURES: dict[str, Callable[[], object]] = {
    "llama": lambda: LlamaConfig(**SHAPE),
    "mistral": lambda: MistralConfig(**SHAPE, sliding_window=8),
    "qwen3": lambda: Qwen3Config(**SHAPE, head_dim=16),
    "gemma3": lambda: Gemma3TextConfig(**SHAPE, head_dim=16, sliding_window=8),
    "phi3": lambda: Phi3Config(**SHAPE, pad_token_id=0),
}


def _samples(*lengths: int) -> list[Sample]:
    rng = random.Random(3)
    return [Sample([rng.randrange(2, 128) for _ in range(n)], [1.0] * n) for n in lengths]


@pytest.fixture(params=ARCHITECTURES)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    torch.manual_seed(0)
    built: PreTrainedModel = AutoModelForCausalLM.from_config(ARCHITECTURES[request.param]()).eval()
    return built


def test_a_row_of_blocks_has_the_logits_of_its_conversations_alone(model: PreTrainedModel) -> None:
    samples = _samples(20, 33, 30, 7)
    blocks = (Block((1, 2), 33), Block((0,), 20), Block((3,), 7))
    batch = collate(samples, blocks, 0, ragged=True)
    places = {1: 0, 2: 33, 0: 66, 3: 86}
    with torch.no_grad():
        with block_attention(model):
            row = model(
                input_ids=batch["input_ids"],
                position_ids=batch["position_ids"],
                blocks=batch["blocks"],
                use_cache=False,
            ).logits[0]
        for index, begin in places.items():
            alone = model(input_ids=torch.tensor([samples[index].ids]), use_cache=False).logits[0]
            assert (row[begin : begin + len(alone)] - alone).abs().max() < 1e-4


def test_a_model_attends_as_before_once_blocks_are_taken_off(model: PreTrainedModel) -> None:
    before = model.config._attn_implementation
    with block_attention(model):
        assert model.config._attn_implementation != before
    assert model.config._attn_implementation == before


def test_the_exactness_check_sees_samples_that_see_each_other() -> None:
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SHAPE)).eval()
    samples = _samples(30, 30, 25)
    conversations = [sample.ids for sample in samples]
    assert packing_difference(model, conversations) < TOLERANCE
    forward = model.forward

    def leaky(*, blocks: object = None, **inputs: object) -> object:
        if blocks is not None:
            inputs["blocks"] = ((1, inputs["input_ids"].shape[1]),)  # type: ignore[attr-defined]  # one long block
        return forward(**inputs)

    model.forward = leaky
    assert packing_difference(model, conversations) > TOLERANCE
    assert not packing_is_exact(model, samples)


def test_a_model_that_caps_its_scores_is_not_packed() -> None:
    from transformers import Gemma2Config

    model = AutoModelForCausalLM.from_config(Gemma2Config(**SHAPE, head_dim=16))
    assert not packing_is_exact(model, _samples(9, 8, 7))


def test_a_batch_has_no_mask_and_supervises_no_first_token() -> None:
    samples = [Sample([5, 6, 7], [1.0, 1.0, 0.0]), Sample([8, 9], [1.0, 2.0])]
    batch = collate(samples, (Block((0, 1), 3),), pad_id=1, ragged=True)
    assert "attention_mask" not in batch
    assert batch["blocks"] == ((2, 3),)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 9, 1]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 0, 1, 2]]
    assert batch["labels"].tolist() == [[-100, 6, -100, -100, 9, -100]]
    assert batch["loss_weights"].tolist() == [[0.0, 1.0, 0.0, 0.0, 2.0, 0.0]]


def test_grouped_by_length_each_conversation_has_a_row() -> None:
    samples = [Sample([6, 7, 8], [1.0] * 3), Sample([5], [1.0])]
    batch = collate(samples, (Block((0, 1), 3),), pad_id=1, ragged=False)
    assert batch["input_ids"].tolist() == [[6, 7, 8], [5, 1, 1]]
    assert "blocks" not in batch
    assert batch["labels"][1].tolist() == [-100, -100, -100]


def test_an_empty_micro_batch_has_tokens_and_no_loss() -> None:
    batch = collate([], (), pad_id=1, ragged=True)
    assert batch["input_ids"].numel() > 0
    assert float(batch["loss_weights"].sum()) == 0
