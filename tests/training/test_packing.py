"""Packing wastes nothing and mixes nothing."""

from __future__ import annotations

import random

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tuneline.training.exactness import TOLERANCE, packing_difference, packing_is_exact
from tuneline.training.packing import Sample, collate, one_per_row, pack_best_fit


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=128,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            initializer_range=0.2,
        )
    ).eval()


def test_every_sample_is_packed_once_and_no_row_overflows() -> None:
    lengths = [random.Random(1).randint(1, 100) for _ in range(500)]
    rows = pack_best_fit(lengths, 100)
    assert sorted(index for row in rows for index in row) == list(range(500))
    assert max(sum(lengths[index] for index in row) for row in rows) <= 100


def test_packing_fills_rows_almost_completely() -> None:
    rng = random.Random(2)
    lengths = [rng.randint(20, 60) for _ in range(1000)]
    rows = pack_best_fit(lengths, 256)
    assert sum(lengths) / (len(rows) * 256) > 0.97


def test_a_sample_longer_than_a_row_is_refused() -> None:
    with pytest.raises(ValueError, match="sample 1 has 11 tokens, a row takes 10"):
        pack_best_fit([3, 11], 10)


def test_packed_samples_have_the_logits_they_have_alone(model: LlamaForCausalLM) -> None:
    rng = random.Random(3)
    samples = [Sample([rng.randrange(2, 128) for _ in range(n)], [1.0] * n) for n in (20, 7, 33)]
    batch = collate([samples[:2], samples[2:]], pad_id=0)
    with torch.no_grad():
        packed = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False).logits
        places = [(0, 0), (0, 20), (1, 0)]
        for sample, (row, at) in zip(samples, places, strict=True):
            alone = model(input_ids=torch.tensor([sample.ids]), use_cache=False).logits[0]
            assert (packed[row, at : at + len(sample.ids)] - alone).abs().max() < 1e-4


def test_the_exactness_check_sees_samples_that_see_each_other(model: LlamaForCausalLM) -> None:
    rng = random.Random(4)
    first, second = ([rng.randrange(2, 128) for _ in range(30)] for _ in range(2))
    assert packing_difference(model, first, second) < TOLERANCE

    class Leaky(torch.nn.Module):
        device = torch.device("cpu")

        def forward(self, input_ids: torch.Tensor, position_ids: torch.Tensor | None = None, use_cache: bool = False):  # type: ignore[no-untyped-def]
            return model(input_ids=input_ids, use_cache=False)  # positions run on: one long sample

    leaky = Leaky()
    assert packing_difference(leaky, first, second) > TOLERANCE  # type: ignore[arg-type]
    assert not packing_is_exact(leaky, [Sample(first, [1.0] * 30), Sample(second, [1.0] * 30)])  # type: ignore[arg-type]


def test_a_batch_has_no_mask_and_supervises_no_first_token() -> None:
    batch = collate([[Sample([5, 6, 7], [1.0, 1.0, 0.0]), Sample([8, 9], [1.0, 2.0])]], pad_id=0)
    assert "attention_mask" not in batch
    assert batch["position_ids"].tolist() == [[0, 1, 2, 0, 1]]
    assert batch["labels"].tolist() == [[-100, 6, -100, -100, 9]]
    assert batch["loss_weights"].tolist() == [[0.0, 1.0, 0.0, 0.0, 2.0]]


def test_padding_is_a_segment_of_its_own_without_loss() -> None:
    batch = collate([[Sample([5], [1.0])], [Sample([6, 7, 8], [1.0] * 3)]], pad_id=1)
    assert batch["input_ids"].tolist() == [[5, 1, 1], [6, 7, 8]]
    assert batch["position_ids"].tolist() == [[0, 0, 1], [0, 1, 2]]
    assert batch["labels"][0].tolist() == [-100, -100, -100]


def test_one_per_row_keeps_samples_apart() -> None:
    assert one_per_row([3, 4]) == [[0], [1]]
