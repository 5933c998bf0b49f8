"""The planner counts what a run really takes: published sizes to the weight, activations as an allocator sees them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch.profiler import ProfilerActivity, profile
from transformers import AutoConfig
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from tuneline import paths
from tuneline.config import Config, ModelConfig, TrainingConfig, load_config
from tuneline.errors import UserError
from tuneline.training.base_model import load_base
from tuneline.training.fast import at_full_speed, needs_autocast
from tuneline.training.head import bare_head
from tuneline.training.layout import Block
from tuneline.training.lora import add_lora
from tuneline.training.loss import batch_loss
from tuneline.training.methods import make_trainable
from tuneline.training.packing import Sample, collate
from tuneline.training.plan import Plan, card, card_of_size, checkpointing_needed, plan, this_machine
from tuneline.training.plan.architecture import read_architecture
from tuneline.training.plan.memory import held, training_memory
from tuneline.training.plan.step import step_bytes

# As their model cards and safetensors headers say; Gemma 3 4B without its 419,816,304 weights for pictures.
PARAMETERS = {
    "mistralai/Mistral-7B-Instruct-v0.3": 7_248_023_552,
    "meta-llama/Llama-2-7b-chat-hf": 6_738_415_616,
    "meta-llama/Llama-3.1-8B-Instruct": 8_030_261_248,
    "meta-llama/Llama-3.2-1B-Instruct": 1_235_814_400,
    "meta-llama/Llama-3.2-3B-Instruct": 3_212_749_824,
    "Qwen/Qwen3-0.6B": 596_049_920,
    "Qwen/Qwen3-4B": 4_022_468_096,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "google/gemma-3-1b-it": 999_885_952,
    "google/gemma-3-4b-it": 4_300_079_472 - 419_816_304,
    "microsoft/Phi-4-mini-instruct": 3_836_021_760,
    "microsoft/Phi-3.5-mini-instruct": 3_821_079_552,
}
SMALL: dict[str, Any] = {
    "model_type": "qwen3",
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 512,
}
TRAINING = TrainingConfig(max_steps=1, max_length=256, micro_batch_tokens=512, batch_tokens=1024)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_published_model_has_its_published_number_of_weights(name: str) -> None:
    architecture = read_architecture(ModelConfig(base=name))
    assert (architecture.parameters, architecture.source) == (PARAMETERS[name], "its published shape")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.for_model(**SMALL), dtype=torch.bfloat16).save_pretrained(folder)
    return folder


def _allocated(work: Callable[[], object]) -> int:
    """Most bytes that were allocated at once, beside what there was before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        work()
    live = peak = 0
    for event in profiled.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak


@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "checkpointed"])
@pytest.mark.parametrize(
    ("quantization", "changes"),
    [
        ("none", {}),
        ("nf4", {}),
        ("none", {"lora_dropout": 0.05}),
        ("none", {"use_dora": True}),
        ("none", {"modules_to_save": ("lm_head",)}),
        ("none", {"modules_to_save": ("embed_tokens",)}),
        ("none", {"method": "full", "export": "model"}),
        ("none", {"packing": "off"}),
    ],
    ids=["plain", "nf4", "dropout", "dora", "trained-head", "trained-embedding", "full", "unpacked"],
)
def test_a_pass_is_planned_as_the_allocator_sees_trainings_own(
    small: Path, quantization: Any, changes: dict[str, Any], checkpointing: bool
) -> None:
    model = ModelConfig(base=str(small), quantization=quantization)
    training = TRAINING.model_copy(update=changes | {"gradient_checkpointing": checkpointing})
    planned = step_bytes(read_architecture(model), model, training, "cpu", checkpointing=checkpointing)

    packed = training.packing != "off"
    trained = make_trainable(load_base(model, quantization=quantization), model, training)
    trained.train()
    sample = Sample([1] * 256, [0.0] * 128 + [1.0] * 128)
    batch = collate([sample] * 2, (Block((0, 1), 256),), pad_id=0, ragged=packed)
    for parameter in trained.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    with at_full_speed(trained, training, packed=packed):
        AcceleratorState._reset_state(reset_partial_state=True)  # another test's precision
        accelerator = Accelerator(mixed_precision="bf16" if needs_autocast(trained, training) else "no", cpu=True)
        prepared = accelerator.prepare_model(trained)
        peak = _allocated(lambda: batch_loss(prepared, batch, 1.0, bare_head(trained)).backward())
    assert planned == pytest.approx(peak, rel=0.15)
    assert peak > 2**20


def test_what_a_model_holds_is_what_the_loaded_one_holds(small: Path) -> None:
    for quantization in ("none", "nf4"):
        model = ModelConfig(base=str(small), quantization=quantization)  # type: ignore[arg-type]
        planned = held(read_architecture(model), model, TRAINING, "cpu")
        adapted = add_lora(load_base(model, quantization=model.quantization), model, TRAINING)
        trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
        frozen = sum(p.numel() * p.element_size() for p in adapted.parameters() if not p.requires_grad)
        assert planned.trainable == trained
        assert (planned.adapter, planned.gradients, planned.optimizer) == (4 * trained, 4 * trained, 8 * trained)
        assert planned.weights == pytest.approx(frozen, rel=0.03)  # 4-bit weights have their scales beside them


MISTRAL = "mistralai/Mistral-7B-Instruct-v0.3"
HUB = {"type": "hub", "dataset": "tatsu-lab/alpaca", "format": "alpaca"}


def _config(**training: Any) -> Config:
    return Config.model_validate(
        {
            "name": "planned",
            "model": {"base": MISTRAL},
            "data": {"sources": [HUB], "evaluation": {"holdout": 0.1}},
            "training": {"epochs": 1, "max_length": 1024} | training,
            "serving": {"max_model_len": 4096},
        }
    )


@pytest.fixture(scope="module")
def too_large() -> Plan:
    return plan(_config(), card_of_size(10))


def test_what_does_not_fit_comes_with_overrides_with_which_it_does(too_large: Plan, tmp_path: Path) -> None:
    assert not too_large.fits and too_large.remedy is not None
    assert "model.quantization=nf4" in too_large.remedy and "serving.quantization=bitsandbytes" in too_large.remedy
    (tmp_path / "c.yaml").write_text(_config().to_yaml())
    assert plan(load_config(tmp_path / "c.yaml", list(too_large.remedy)), card_of_size(10)).fits


def test_micro_batches_shrink_before_anything_that_changes_the_result() -> None:
    assert plan(_config(micro_batch_tokens=16384), card("A10G")).remedy == ("training.micro_batch_tokens=8192",)


def test_checkpointing_is_chosen_where_the_activations_would_not_fit() -> None:
    assert plan(_config(), card("RTX 4090")).checkpointing
    model, training = _config().model, _config().training
    architecture = read_architecture(model)
    kept = training_memory(architecture, model, training, "cuda", checkpointing=False).total
    assert checkpointing_needed(model, training, kept - 1)
    assert not checkpointing_needed(model, training, kept)


def test_shards_take_their_part_of_the_weights_and_copies_take_all() -> None:
    model = _config().model
    architecture = read_architecture(model)
    alone, copied, shared = (
        training_memory(
            architecture, model, _config(distributed=distributed).training, "cuda", checkpointing=True
        ).weights
        for distributed in ({}, {"processes": 4}, {"processes": 4, "strategy": "fsdp"})
    )
    assert copied == alone and alone / 4 < shared < alone / 3


def test_a_local_config_is_planned_with_its_time_on_this_machine() -> None:
    made = plan(load_config(paths.CONFIGS / "tiny.yaml"), this_machine())
    assert made.fits and made.tokens == 200 * 2048 and made.seconds is not None and made.seconds > 0
    epochs = ["training.max_steps=null", "training.epochs=2", "data.sources.0.size=600"]
    made = plan(load_config(paths.CONFIGS / "tiny.yaml", epochs), this_machine())
    assert made.tokens is not None and 2 * 600 * 20 < made.tokens < 2 * 600 * 100


def test_an_unknown_model_and_an_unknown_gpu_are_told_with_what_is_known() -> None:
    with pytest.raises(UserError, match="nobody/nothing' cannot be planned") as refused:
        read_architecture(ModelConfig(base="nobody/nothing"))
    assert "Qwen/Qwen3-8B" in refused.value.hint
    with pytest.raises(UserError, match="no GPU 'Voodoo 2'"):
        card("Voodoo 2")
    assert card("nvidia a100-40gb").gib < card("A100 80GB").gib
