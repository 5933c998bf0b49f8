"""A whole model answers with its own weights, whoever it is compared with, and no two models are in memory at once."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from tests.evaluation.conftest import MakeAdapter
from tests.evaluation.test_evaluate_model import items_of
from tuneline.config import EvaluationConfig, GateConfig, HeldoutSuite, LatencySuite, ModelConfig, ServingConfig
from tuneline.data.records import ChatRecord
from tuneline.errors import UserError
from tuneline.evaluation import weights
from tuneline.evaluation.engines.engine import Answer, Request
from tuneline.evaluation.engines.vllm_engine import VllmEngine
from tuneline.evaluation.evaluate_model import AdapterSubject, evaluate
from tuneline.evaluation.golden import token_logprobs
from tuneline.evaluation.report import EvaluationReport
from tuneline.release.files import ADAPTER_FILES, FingerprintMismatch, fingerprint

MakeWhole = Callable[[Any, int], AdapterSubject]
PERPLEXITY = HeldoutSuite(type="heldout", name="heldout", metrics=("exact_match", "perplexity"), metric="exact_match")


@pytest.fixture
def base(
    build_base: Callable[..., LlamaForCausalLM], tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> ModelConfig:
    build_base().save_pretrained(str(tmp_path / "base"))
    tokenizer.save_pretrained(str(tmp_path / "base"))
    return ModelConfig(base=str(tmp_path / "base"), dtype="float32")


@pytest.fixture
def make_whole(
    build_base: Callable[..., LlamaForCausalLM], tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> MakeWhole:
    """A whole model with other weights than the base model, and the identity beside it."""

    def make(role: Any, seed: int) -> AdapterSubject:
        folder = tmp_path / f"whole-{seed}"
        config = LoraConfig(r=8, target_modules=["q_proj"], init_lora_weights=True)
        get_peft_model(build_base(), config).save_pretrained(str(folder))
        model = build_base()
        torch.manual_seed(seed)
        with torch.no_grad():
            for weight in model.parameters():
                weight += 0.1 * torch.randn_like(weight)
        model.save_pretrained(str(folder / "merged"))
        tokenizer.save_pretrained(str(folder / "merged"))
        merged = folder / "merged"
        sha256 = fingerprint(folder, ADAPTER_FILES)
        return AdapterSubject(role, folder, str(seed), sha256, whole=merged, whole_sha256=fingerprint(merged))

    return make


@pytest.fixture
def judge(base: ModelConfig, records: list[ChatRecord]) -> Callable[..., EvaluationReport]:
    def run(candidate: AdapterSubject, champion: AdapterSubject | None = None, **how: Any) -> EvaluationReport:
        settings: dict[str, Any] = {"suites": (PERPLEXITY,), "max_new_tokens": 6, "golden_prompts": 3}
        return evaluate(
            base,
            EvaluationConfig(**(settings | how)),
            GateConfig(),
            ServingConfig(dtype="float32"),
            {"heldout": items_of(records)},
            candidate=candidate,
            champion=champion,
        )

    return run


def merged_model(subject: AdapterSubject) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(str(subject.whole), dtype=torch.float32)
    return model.eval()


def said(report: EvaluationReport, role: Any) -> list[tuple[str, float]]:
    subject = report.lead.subject(role)
    assert subject is not None
    return [(result.completion, result.scores["perplexity"]) for result in subject.results]


def test_a_whole_model_is_asked_with_its_own_weights_and_its_golden_numbers_are_theirs(
    judge: Callable[..., EvaluationReport],
    make_whole: MakeWhole,
    make_adapter: MakeAdapter,
    build_base: Callable[..., LlamaForCausalLM],
) -> None:
    candidate = make_whole("candidate", 1)
    report = judge(candidate)
    assert [s.role for s in report.lead.subjects] == ["base", "candidate"]
    plain = judge(AdapterSubject("candidate", candidate.folder, "c", candidate.sha256))
    assert said(plain, "candidate") == said(plain, "base"), "the adapter beside it alone changes nothing"
    assert said(report, "base") == said(plain, "base") != said(report, "candidate")
    for golden in report.golden:
        own = token_logprobs(merged_model(candidate), golden.prompt_ids, golden.completion_ids)
        assert golden.logprobs == pytest.approx(own, abs=1e-4)
        original = token_logprobs(build_base(), golden.prompt_ids, golden.completion_ids)
        assert golden.base_logprobs == pytest.approx(original, abs=1e-4)
        assert own != pytest.approx(original, abs=0.1)


def test_each_kind_can_be_candidate_and_champion_and_answers_as_it_does_alone(
    judge: Callable[..., EvaluationReport], make_whole: MakeWhole, make_adapter: MakeAdapter
) -> None:
    folder, sha256 = make_adapter(2)

    def adapter(role: Any) -> AdapterSubject:
        return AdapterSubject(role, folder, "2", sha256)

    alone = said(judge(make_whole("candidate", 1)), "candidate"), said(judge(adapter("candidate")), "candidate")
    assert alone[0] != alone[1]
    report = judge(make_whole("candidate", 1), adapter("champion"))
    assert (said(report, "candidate"), said(report, "champion")) == alone
    report = judge(adapter("candidate"), make_whole("champion", 1))
    assert (said(report, "champion"), said(report, "candidate")) == alone
    report = judge(make_whole("candidate", 3), make_whole("champion", 1))
    assert said(report, "champion") == alone[0] != said(report, "candidate")
    assert [s.role for s in report.lead.subjects] == ["base", "champion", "candidate"]


def test_no_two_models_are_in_memory_at_once(
    judge: Callable[..., EvaluationReport], make_whole: MakeWhole, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = weights.load_base
    seen: list[weakref.ref[Any]] = []

    def watched(*args: Any, **how: Any) -> Any:
        gc.collect()
        assert not [model for model in seen if model() is not None], "one of them is still there"
        model = real(*args, **how)
        seen.append(weakref.ref(model))
        return model

    monkeypatch.setattr(weights, "load_base", watched)
    latency = LatencySuite(type="latency", name="speed", role="guard", questions="heldout", limit=2)
    report = judge(make_whole("candidate", 1), make_whole("champion", 3), suites=(PERPLEXITY, latency))
    assert len(seen) == 3
    assert "one model after the other" in report.suites[1].note
    assert [len(subject.results) for subject in report.suites[1].subjects] == [2, 2, 2]


def test_vllm_is_started_once_for_each_set_of_weights_with_the_adapters_that_belong_there(
    judge: Callable[..., EvaluationReport],
    make_whole: MakeWhole,
    make_adapter: MakeAdapter,
    base: ModelConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[tuple[str, dict[Any, Path], set[str]]] = []

    def answer(self: VllmEngine, requests: list[Request], *_: Any) -> list[Answer]:
        started.append((self._base.model, dict(self._adapters), {request.subject for request in requests}))
        return [Answer((9, 5), finished=True) for _ in requests]

    monkeypatch.setattr(VllmEngine, "answer", answer)
    candidate = make_whole("candidate", 1)
    folder, sha256 = make_adapter(2)
    report = judge(candidate, AdapterSubject("champion", folder, "2", sha256), engine="vllm")
    assert started == [
        (str(candidate.whole), {"candidate": candidate.folder}, {"candidate"}),
        (base.base, {"champion": folder}, {"base", "champion"}),
    ]
    assert report.agreement is not None and not report.agreement.agrees
    assert len(report.golden) == 3


def test_a_whole_model_that_is_not_the_registered_one_and_a_server_without_it_are_refused(
    judge: Callable[..., EvaluationReport], make_whole: MakeWhole
) -> None:
    candidate = make_whole("candidate", 1)
    endpoint = {"url": "http://127.0.0.1:9/v1", "base": "org/base"}
    with pytest.raises(UserError, match=r"the candidate \(version 1\) is a whole model"):
        judge(candidate, engine="endpoint", endpoint=endpoint)
    assert candidate.whole is not None
    (candidate.whole / "extra.json").write_text("{}")
    with pytest.raises(FingerprintMismatch, match=r"whole model .* not the ones that were registered"):
        judge(candidate)
