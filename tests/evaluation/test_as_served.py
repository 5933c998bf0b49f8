"""A model is judged in the precision and quantization in which it will be served, whatever it was trained over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from tests.evaluation.conftest import MakeAdapter
from tests.evaluation.test_evaluate_model import items_of
from tuneline.config import EvaluationConfig, GateConfig, ModelConfig, ServingConfig
from tuneline.data.records import ChatRecord
from tuneline.evaluation import evaluate_model
from tuneline.evaluation.evaluate_model import AdapterSubject, evaluate


@pytest.mark.parametrize(
    ("trained_over", "served_in", "layer"),
    [("nf4", None, torch.nn.Linear), ("none", "bitsandbytes", Linear4bit)],
    ids=["QLoRA served in full", "LoRA served in 4 bits"],
)
def test_the_base_model_is_loaded_as_it_is_served(
    trained_over: Any,
    served_in: str | None,
    layer: type,
    build_base: Callable[..., LlamaForCausalLM],
    tokenizer: PreTrainedTokenizerBase,
    make_adapter: MakeAdapter,
    records: list[ChatRecord],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build_base(hidden=64).save_pretrained(str(tmp_path / "base"))
    tokenizer.save_pretrained(str(tmp_path / "base"))
    judged: list[LlamaForCausalLM] = []
    real = evaluate_model.measure

    def watched(base: LlamaForCausalLM, *rest: Any, **how: Any) -> Any:
        judged.append(base)
        return real(base, *rest, **how)

    monkeypatch.setattr(evaluate_model, "measure", watched)
    folder, sha256 = make_adapter(1, hidden=64)
    report = evaluate(
        ModelConfig(base=str(tmp_path / "base"), dtype="float32", quantization=trained_over),
        EvaluationConfig(max_new_tokens=4, golden_prompts=2),
        GateConfig(),
        ServingConfig(dtype="bfloat16", quantization=served_in),
        {"heldout": items_of(records[:3])},
        candidate=AdapterSubject("candidate", folder, "candidate", sha256),
    )
    (base,) = judged
    assert type(base.model.layers[0].self_attn.q_proj) is layer
    assert base.model.norm.weight.dtype == torch.bfloat16
    assert (report.decoding.dtype, report.decoding.quantization) == ("bfloat16", served_in)
