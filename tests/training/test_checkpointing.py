"""Gradient checkpointing follows the config, and memory where the config leaves it open."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaMLP

from tuneline import paths
from tuneline.config import ModelConfig, TrainingConfig
from tuneline.config.training_parts import DistributedConfig
from tuneline.training.plan import checkpointing_needed, with_checkpointing_decided
from tuneline.training.plan.architecture import read_architecture
from tuneline.training.plan.memory import training_memory
from tuneline.training.plan.step import UnplannableError

GIB = 2**30
TINY = ModelConfig(base=str(paths.ASSETS / "tiny-base"))
TRAINING = TrainingConfig(max_steps=1)


def _gpus(monkeypatch: pytest.MonkeyPatch, *, free: int, totals: tuple[int, ...]) -> None:
    cuda = torch.cuda
    monkeypatch.setattr(cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "mem_get_info", lambda: (free, totals[0]))
    monkeypatch.setattr(cuda, "memory_reserved", lambda: 0)
    monkeypatch.setattr(cuda, "memory_allocated", lambda: 0)
    monkeypatch.setattr(cuda, "get_device_properties", lambda index: SimpleNamespace(total_memory=totals[index]))


def test_what_the_config_says_is_done_and_a_cpu_keeps_its_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert with_checkpointing_decided(TINY, TRAINING).gradient_checkpointing is False
    for said in (True, False):
        training = TRAINING.model_copy(update={"gradient_checkpointing": said})
        assert with_checkpointing_decided(TINY, training) == training


@pytest.mark.parametrize(("free", "twice"), [(GIB // 2, True), (64 * GIB, False)])
def test_auto_is_on_where_a_gpu_would_not_hold_the_activations(
    free: int, twice: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    _gpus(monkeypatch, free=free, totals=(80 * GIB,))
    assert with_checkpointing_decided(TINY, TRAINING).gradient_checkpointing is twice


def test_several_processes_ask_the_smallest_gpu_whatever_is_free_on_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    two = TRAINING.model_copy(update={"distributed": DistributedConfig(processes=2)})
    _gpus(monkeypatch, free=1, totals=(80 * GIB, 64 * GIB))
    assert with_checkpointing_decided(TINY, two).gradient_checkpointing is False
    _gpus(monkeypatch, free=80 * GIB, totals=(80 * GIB, GIB // 2))
    assert with_checkpointing_decided(TINY, two).gradient_checkpointing is True


def test_a_model_that_looks_at_its_numbers_computes_its_activations_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LlamaMLP, "forward", lambda self, x: x * float(x.mean()))
    with pytest.raises(UnplannableError, match="cannot be planned"):
        training_memory(read_architecture(TINY), TINY, TRAINING, "cuda", checkpointing=False)
    assert checkpointing_needed(TINY, TRAINING, 1024 * GIB)
