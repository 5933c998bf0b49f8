"""Every method learns, and what it writes does on the original base model what it did in training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerBase

from tests.training.tiny import job, write_base
from tuneline.config import ModelConfig, TrainingConfig
from tuneline.errors import UserError
from tuneline.prompts.template import PromptTemplate
from tuneline.training import train as training_module
from tuneline.training.agreement import log_probabilities
from tuneline.training.base_model import load_base, load_tokenizer
from tuneline.training.loftq import low_rank
from tuneline.training.methods import make_trainable
from tuneline.training.optimizer import let_b_learn_faster, optimizer_name
from tuneline.training.packing import Sample
from tuneline.training.quantized import weight_of
from tuneline.training.train import train
from tuneline.training.vocabulary import check_vocabulary, split_markers

ASKED = [Sample(list(range(7, 60)), [1.0] * 53), Sample(list(range(300, 340)), [1.0] * 40)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("methods") / "base")


@pytest.mark.parametrize(
    ("quantization", "training"),
    [
        ("none", {"use_rslora": True, "loraplus_lr_ratio": 4.0, "optimizer": "adamw_8bit"}),
        ("none", {"init_lora_weights": "gaussian", "target_modules": ("q_proj", "down_proj")}),
        ("none", {"init_lora_weights": "pissa", "use_rslora": True}),
        ("nf4", {}),
        ("nf4", {"init_lora_weights": "loftq"}),
        ("int8", {}),
    ],
)
def test_an_adapter_learns_and_plain_peft_on_the_original_base_answers_as_training_did(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quantization: str, training: dict[str, Any]
) -> None:
    kept: list[PeftModel] = []

    def keeping(*args: Any) -> Any:
        kept.append(make_trainable(*args))
        return kept[0]

    monkeypatch.setattr(training_module, "make_trainable", keeping)
    wanted = job(base, tmp_path / "out", quantization=quantization, **training)
    outcome = train(wanted)
    assert outcome.curve[-1].loss < outcome.curve[0].loss - 1
    original = load_base(wanted.model, quantization=quantization)  # type: ignore[arg-type]
    loaded = PeftModel.from_pretrained(original, outcome.adapter.folder)
    there, here = (log_probabilities(model, ASKED, "float32") for model in (kept[0], loaded))
    # int8 rounds activations as they come, and by 1e-2 otherwise when they differ by less than that.
    assert (there - here).abs().mean() < (0.02 if quantization == "int8" else 2e-4)
    written = (outcome.adapter.folder / "adapter_config.json").read_text()
    assert str(base) not in written
    assert outcome.adapter.rank == (32 if training.get("init_lora_weights") == "pissa" else 16)
    assert outcome.adapter.config["init_lora_weights"] in (True, "gaussian")  # all that the engine takes


def test_four_bit_layers_pass_gradients_down_after_a_pass_in_evaluation_mode(base: Path) -> None:
    model = ModelConfig(base=str(base), dtype="float32", quantization="nf4")
    loaded = load_base(model, quantization="nf4")
    loaded.eval()
    ids = torch.tensor([ASKED[0].ids])
    with torch.no_grad():
        loaded(input_ids=ids)  # here bitsandbytes would pack the weights for a kernel without a backward pass
    trainable = make_trainable(loaded, model, TrainingConfig(max_steps=1))
    trainable.eval()
    with torch.no_grad():
        trainable(input_ids=ids)
    trainable.train()
    trainable(input_ids=ids, labels=ids).loss.backward()
    # B's gradients in the first block come through every layer above it.
    grads = {name: p.grad for name, p in trainable.named_parameters() if "layers.0.self_attn.v_proj.lora_B" in name}
    dense = make_trainable(load_base(model), model.model_copy(update={"quantization": "none"}), TrainingConfig())
    with torch.no_grad():
        for name, layer in loaded.named_modules():
            if type(layer).__name__ == "Linear4bit":
                dense.get_base_model().get_submodule(name).weight.copy_(weight_of(layer))
        dense.load_state_dict({n: p for n, p in trainable.state_dict().items() if "lora_" in n}, strict=False)
    dense(input_ids=ids, labels=ids).loss.backward()
    for name, parameter in dense.named_parameters():
        if name in grads:
            assert torch.allclose(parameter.grad, grads[name], rtol=1e-3, atol=1e-6)
    assert grads


def test_loftq_starts_nearer_to_the_original_weights_than_rounding_left_them(base: Path) -> None:
    model = ModelConfig(base=str(base), dtype="float32", quantization="nf4")
    loftq = TrainingConfig(max_steps=1, init_lora_weights="loftq", use_rslora=True)
    layer = make_trainable(load_base(model, quantization="nf4"), model, loftq).get_base_model().model.layers[0].mlp
    original = load_base(model).model.layers[0].mlp.up_proj.weight
    rounded = weight_of(layer.up_proj.get_base_layer())
    fitted = rounded + layer.up_proj.get_delta_weight("default")
    assert (fitted - original).norm() < 0.8 * (rounded - original).norm()


def test_a_low_rank_product_is_the_nearest_there_is() -> None:
    torch.manual_seed(0)
    exact = torch.randn(20, 3) @ torch.randn(3, 30)
    left, right = low_rank(exact, 3)
    assert (left.shape, right.shape) == ((20, 3), (3, 30))
    assert torch.allclose(left @ right, exact, atol=1e-4)


def test_all_weights_trained_in_bfloat16_keep_updates_that_bfloat16_would_lose(base: Path, tmp_path: Path) -> None:
    model = ModelConfig(base=str(base), dtype="bfloat16")
    full = make_trainable(load_base(model), model, TrainingConfig(method="full", max_steps=1))
    weight = full.model.layers[0].mlp.up_proj.weight
    before = weight.detach().clone()
    optimizer = torch.optim.AdamW(full.parameters(), lr=1e-5, weight_decay=0.0)
    for _ in range(2):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            full(input_ids=torch.tensor([ASKED[0].ids]), labels=torch.tensor([ASKED[0].ids])).loss.backward()
        optimizer.step()
    assert (weight != before).float().mean() > 0.99
    assert (weight.bfloat16() == before.bfloat16()).float().mean() > 0.5  # and so they would have been lost


def test_lora_plus_trains_b_faster_than_everything_else(base: Path, tmp_path: Path) -> None:
    model = ModelConfig(base=str(base), dtype="float32")
    adapted = make_trainable(load_base(model), model, TrainingConfig(max_steps=1, modules_to_save=("lm_head",)))
    trained = {name: weight for name, weight in adapted.named_parameters() if weight.requires_grad}
    optimizer = torch.optim.AdamW([{"params": list(trained.values()), "weight_decay": 0.1}], lr=1e-3)
    let_b_learn_faster(optimizer, adapted, 16.0)
    rates = {id(weight): group["lr"] for group in optimizer.param_groups for weight in group["params"]}
    assert len(rates) == len(trained)
    assert {name: rates[id(weight)] for name, weight in trained.items()} == {
        name: pytest.approx(16e-3 if "lora_B" in name else 1e-3) for name in trained
    }
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.1}


def test_the_trainer_takes_the_ratio_and_every_optimizer_by_its_name(base: Path, tmp_path: Path) -> None:
    slow = train(job(base, tmp_path / "slow", max_steps=1, warmup_ratio=0.0, scheduler="constant"))
    fast = train(job(base, tmp_path / "fast", max_steps=1, warmup_ratio=0.0, scheduler="constant", loraplus_lr_ratio=8))
    moved = [load_file(o.adapter.folder / "adapter_model.safetensors") for o in (slow, fast)]
    name = next(key for key in moved[0] if "lora_B" in key)
    assert torch.allclose(moved[1][name], 8 * moved[0][name], rtol=1e-3, atol=1e-6)  # AdamW's first step is the rate
    for optimizer, known in [("auto", "adamw_torch_fused"), ("paged_adamw_8bit", "paged_adamw_8bit")]:
        assert optimizer_name(TrainingConfig(max_steps=1, optimizer=optimizer)) == known  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("training", "said"),
    [
        ({"target_modules": ("q_proj", "w_pack")}, "training.target_modules: 'w_pack' is no layer of the model"),
        ({"target_modules": ("input_layernorm",)}, "'input_layernorm' is a LlamaRMSNorm, not a linear layer"),
        ({"modules_to_save": ("embeddings",)}, "training.modules_to_save: 'embeddings' is no layer of the model"),
    ],
)
def test_names_that_the_model_does_not_have_are_told_with_those_it_has(
    base: Path, tmp_path: Path, training: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        train(job(base, tmp_path / "out", **training))
    assert "q_proj" in caught.value.hint
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_with_tokens_that_the_model_has_no_embedding_for_is_refused(base: Path) -> None:
    model = ModelConfig(base=str(base), dtype="float32")
    tokenizer: PreTrainedTokenizerBase = load_tokenizer(model)
    loaded = load_base(model)
    check_vocabulary(tokenizer, loaded)
    tokenizer.add_tokens(["<|mine|>", "<|yours|>"])
    with pytest.raises(UserError, match="knows 1026 tokens, but the base model has embeddings for 1024"):
        check_vocabulary(tokenizer, loaded)


def test_markers_of_a_chat_template_that_are_no_tokens_are_told(base: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(ModelConfig(base=str(base)))
    known = next(token for token in tokenizer.get_vocab() if token.startswith("<|"))
    template = known + "{% for m in messages %}<|turn_begins|>{{ m.content }}" + known + "{% endfor %}<|turn_begins|>"
    assert split_markers(tokenizer, PromptTemplate(chat_template=template)) == ("<|turn_begins|>",)
    assert split_markers(tokenizer, PromptTemplate()) == ()


def test_equal_trainings_write_equal_files(base: Path, tmp_path: Path) -> None:
    twice = [train(job(base, tmp_path / name, max_steps=1)) for name in ("a", "b")]
    assert twice[0].adapter.sha256 == twice[1].adapter.sha256
    targets = json.loads((tmp_path / "a" / "adapter_config.json").read_text())["target_modules"]
    assert targets == sorted(targets)  # PEFT keeps them in a set, whose order changes between processes
