"""A merged model is the trained one, loads without PEFT, and is told from others by the adapter beside it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.training.tiny import job, write_base
from tuneline.errors import TunelineError, UserError
from tuneline.training import export as export_module
from tuneline.training.agreement import check_agreement, log_probabilities
from tuneline.training.identity import write_identity_adapter
from tuneline.training.merge import write_merged
from tuneline.training.packing import Sample
from tuneline.training.train import train

ASKED = [Sample(list(range(7, 60)), [1.0] * 53)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("merge") / "base")


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("merge") / "tied", tied=True)


@pytest.mark.parametrize(
    ("dtype", "quantization", "training"),
    [
        ("bfloat16", "none", {"use_dora": True}),
        ("float32", "none", {"init_lora_weights": "pissa", "r": 32, "modules_to_save": ("lm_head", "embed_tokens")}),
        ("bfloat16", "nf4", {"use_dora": True, "target_modules": ("q_proj", "down_proj")}),
        ("float32", "nf4", {"init_lora_weights": "loftq"}),
        ("float32", "int8", {}),
        ("bfloat16", "none", {"method": "full", "learning_rate": 1e-3}),
    ],
)
def test_a_whole_model_comes_out_and_agrees_with_what_was_trained(
    base: Path, tmp_path: Path, dtype: str, quantization: str, training: dict[str, Any]
) -> None:
    said: list[str] = []
    wanted = job(base, tmp_path / "out", dtype=dtype, quantization=quantization, export="merged", **training)
    outcome = train(dataclasses.replace(wanted, say=said.append))  # compares, and stops if they differ
    assert outcome.curve[-1].loss < outcome.curve[0].loss - 1
    assert "differs from the trained model by" in said[-1]
    merged = outcome.adapter.merged
    assert merged is not None
    config = json.loads((merged / "config.json").read_text())
    assert (config["dtype"], config["use_cache"]) == (dtype, True)
    assert "quantization_config" not in config
    for file in merged.glob("*.json"):
        assert str(base.parent) not in file.read_text(), f"{file.name} names a folder of the training machine"
    model = AutoModelForCausalLM.from_pretrained(merged)
    ids = AutoTokenizer.from_pretrained(merged)("show me the pods", return_tensors="pt")["input_ids"]
    assert model.generate(ids, max_new_tokens=2, do_sample=False).shape[1] > ids.shape[1]


@pytest.mark.parametrize("training", [{"modules_to_save": ("embed_tokens",)}, {"target_modules": ("embed_tokens",)}])
def test_one_matrix_trained_in_one_of_its_two_places_becomes_two(
    tied: Path, tmp_path: Path, training: dict[str, Any]
) -> None:
    merged = train(job(tied, tmp_path / "out", export="merged", **training)).adapter.merged
    assert merged is not None
    model = AutoModelForCausalLM.from_pretrained(merged)
    assert not model.config.tie_word_embeddings
    assert not torch.equal(model.get_input_embeddings().weight, model.get_output_embeddings().weight)


def test_a_tied_model_trained_in_full_stays_tied(tied: Path, tmp_path: Path) -> None:
    merged = train(job(tied, tmp_path / "out", method="full", learning_rate=1e-3)).adapter.merged
    assert merged is not None
    model = AutoModelForCausalLM.from_pretrained(merged)
    assert model.config.tie_word_embeddings
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight


def test_the_adapter_beside_a_whole_model_changes_nothing_and_tells_versions_apart(base: Path, tmp_path: Path) -> None:
    (write_base(tmp_path / "other", tied=True), write_identity_adapter(tmp_path / "other", tmp_path / "o"))
    for name in ("a", "b"):
        write_identity_adapter(base, tmp_path / name)
    weights = {name: (tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("a", "b", "o")}
    assert weights["a"] == weights["b"] != weights["o"]
    plain = AutoModelForCausalLM.from_pretrained(base)
    before = log_probabilities(plain, ASKED, "float32")
    loaded = PeftModel.from_pretrained(plain, tmp_path / "a")
    assert torch.equal(log_probabilities(loaded, ASKED, "float32"), before)
    config = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert (config["r"], config["target_modules"], config["use_dora"]) == (1, ["q_proj"], False)
    assert str(base) not in json.dumps(config)


def test_a_merge_that_loses_the_adapter_is_refused_and_leaves_nothing(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forget(trained: Any, folder: Path, dtype: str) -> None:
        trained.get_base_model().config.save_pretrained(folder)
        AutoModelForCausalLM.from_pretrained(base).save_pretrained(folder)

    monkeypatch.setattr(export_module, "write_merged", forget)
    with pytest.raises(TunelineError, match=r"log-probabilities differ by \d\.\d+ nats per token"):
        train(job(base, tmp_path / "out", dtype="bfloat16", export="merged", max_steps=3))
    assert not list((tmp_path / "out").iterdir())


def test_nothing_is_merged_into_a_checkpoint_that_came_quantized(base: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(base)
    model.config.quantization_config = {"quant_method": "awq", "bits": 4}
    with pytest.raises(UserError, match=r"come quantized \(awq\)"):
        write_merged(model, tmp_path / "out", "float32")
    assert not (tmp_path / "out").exists()


def test_a_model_that_answers_with_no_number_does_not_agree() -> None:
    with pytest.raises(TunelineError, match="nan"):
        check_agreement(torch.zeros(3), torch.tensor([0.0, float("nan"), 0.0]), 0.05)
