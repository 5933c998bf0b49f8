"""The loss counts supervised tokens, and only them, over a whole optimizer step."""

from __future__ import annotations

import pytest
import torch

from tuneline.training.loss import supervised_loss


def _batch(rows: int, tokens: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(rows * tokens)
    labels = torch.randint(0, 50, (rows, tokens))
    weights = (torch.rand(rows, tokens) > 0.5).float()
    return torch.randn(rows, tokens, 50), torch.where(weights > 0, labels, -100), weights


def test_it_is_the_mean_cross_entropy_of_the_supervised_next_tokens() -> None:
    logits, labels, weights = _batch(3, 11)
    ours = supervised_loss(logits, labels, weights, weights[:, 1:].sum())
    theirs = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
    assert float(ours) == pytest.approx(float(theirs), abs=1e-6)


def test_accumulated_micro_batches_give_the_loss_of_the_whole_batch() -> None:
    logits, labels, weights = _batch(4, 9)
    total = weights[:, 1:].sum()
    whole = supervised_loss(logits, labels, weights, total)
    parts = sum(supervised_loss(logits[i : i + 1], labels[i : i + 1], weights[i : i + 1], total) for i in range(4))
    assert float(parts) == pytest.approx(float(whole), abs=1e-6)


def test_a_token_of_weight_two_counts_twice() -> None:
    logits, labels, _ = _batch(1, 5)
    labels = labels.clamp(min=0)
    weights = torch.tensor([[0.0, 1.0, 0.0, 2.0, 0.0]])
    labels = torch.where(weights > 0, labels, -100)
    losses = torch.nn.functional.cross_entropy(logits[0, :-1], labels[0, 1:].clamp(min=0), reduction="none")
    assert float(supervised_loss(logits, labels, weights, 3.0)) == pytest.approx(
        float((losses[0] + 2 * losses[2]) / 3), abs=1e-6
    )
