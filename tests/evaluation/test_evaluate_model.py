"""Base model, champion and candidate answer the same questions, each as it will be served, or nothing is reported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from tests.evaluation.conftest import MakeAdapter
from tuneline.data.records import ChatRecord
from tuneline.errors import TunelineError, UserError
from tuneline.evaluation import evaluate_model
from tuneline.evaluation.evaluate_model import AdapterSubject, evaluate_loaded
from tuneline.evaluation.golden import largest_difference, token_logprobs
from tuneline.evaluation.report import Decoding, EvaluationReport
from tuneline.prompts.template import PromptTemplate
from tuneline.release.files import FingerprintMismatch


@pytest.fixture
def ask(
    build_base: Callable[..., LlamaForCausalLM], tokenizer: PreTrainedTokenizerBase, records: list[ChatRecord]
) -> Callable[..., EvaluationReport]:
    def evaluate(candidate: AdapterSubject, champion: AdapterSubject | None = None, **how: Any) -> EvaluationReport:
        settings: dict[str, Any] = {
            "metrics": ("exact_match", "chrf"),
            "primary": "exact_match",
            "decoding": Decoding(max_new_tokens=8, batch_size=5, dtype="float32"),
            "golden_prompts": 4,
            "base_name": "tiny",
        }
        base = settings["base"] = how.pop("base", None) or build_base()
        records_asked = how.pop("records", records)
        settings.pop("base")
        return evaluate_loaded(
            base, tokenizer, records_asked, candidate=candidate, champion=champion, **(settings | how)
        )

    return evaluate


def _subject(role: Any, made: tuple[Any, str], version: str, **how: Any) -> AdapterSubject:
    return AdapterSubject(role, made[0], version, made[1], **how)


def test_all_three_answer_the_same_items_in_the_same_order(
    ask: Callable[..., EvaluationReport], make_adapter: MakeAdapter, records: list[ChatRecord]
) -> None:
    told: list[str] = []
    first, second = make_adapter(1), make_adapter(2)
    report = ask(_subject("candidate", second, "candidate"), _subject("champion", first, "7"), on_progress=told.append)
    assert [(s.role, s.version, s.adapter_sha256) for s in report.subjects] == [
        ("base", None, None),
        ("champion", "7", first[1]),
        ("candidate", "candidate", second[1]),
    ]
    for subject in report.subjects:
        assert [result.id for result in subject.results] == [record.id for record in records]
        assert all(set(result.scores) == {"exact_match", "chrf"} for result in subject.results)
    assert [item.reference for item in report.items] == [record.reference for record in records]
    assert report.decoding.stop_ids == (5,)
    assert "candidate: 12 of 12 answers" in told


def test_each_adapter_answers_for_itself_and_the_base_model_for_none_of_them(
    ask: Callable[..., EvaluationReport],
    make_adapter: MakeAdapter,
    build_base: Callable[..., LlamaForCausalLM],
) -> None:
    first, second = _subject("champion", make_adapter(1), "1"), _subject("candidate", make_adapter(2), "2")
    together = ask(second, first)
    alone = ask(second)
    answers = {s.role: [r.completion for r in s.results] for s in together.subjects}
    assert len({tuple(completions) for completions in answers.values()}) == 3
    assert [r.completion for r in alone.subjects[-1].results] == answers["candidate"]
    assert [r.completion for r in alone.subjects[0].results] == answers["base"]


def test_an_adapter_that_does_nothing_answers_like_the_base_model(
    ask: Callable[..., EvaluationReport], make_adapter: MakeAdapter
) -> None:
    base, candidate = ask(_subject("candidate", make_adapter(1, zero=True), "c")).subjects
    assert base.results == candidate.results


def test_golden_numbers_are_the_adapters_and_the_base_models_own(
    ask: Callable[..., EvaluationReport],
    make_adapter: MakeAdapter,
    build_base: Callable[..., LlamaForCausalLM],
) -> None:
    made = make_adapter(2)
    report = ask(_subject("candidate", made, "c"))
    assert [golden.id for golden in report.golden] == [report.items[n].id for n in (0, 3, 6, 9)]
    adapted = PeftModel.from_pretrained(build_base(), str(made[0]))
    for golden in report.golden:
        own = token_logprobs(adapted, golden.prompt_ids, golden.completion_ids)
        base = token_logprobs(build_base(), golden.prompt_ids, golden.completion_ids)
        assert largest_difference(own, golden.logprobs) < 1e-4
        assert largest_difference(base, golden.base_logprobs) < 1e-4
        assert largest_difference(own, base) > 0.1


def test_the_base_model_is_handed_back_as_it_was(
    ask: Callable[..., EvaluationReport], make_adapter: MakeAdapter, build_base: Callable[..., LlamaForCausalLM]
) -> None:
    base = build_base()
    before = {name: weight.clone() for name, weight in base.state_dict().items()}
    ask(_subject("candidate", make_adapter(2), "c"), _subject("champion", make_adapter(1), "1"), base=base)
    after = base.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], weight) for name, weight in before.items())


def test_adapters_are_held_in_the_base_models_dtype_as_the_engine_holds_them(
    make_adapter: MakeAdapter, build_base: Callable[..., LlamaForCausalLM]
) -> None:
    from tuneline.evaluation.subjects import with_adapters

    subjects = [_subject("champion", make_adapter(1), "1"), _subject("candidate", make_adapter(2), "2")]
    with with_adapters(build_base(dtype=torch.bfloat16), subjects) as model:
        assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}


def test_each_subject_is_asked_with_the_template_it_is_served_with(
    ask: Callable[..., EvaluationReport], make_adapter: MakeAdapter
) -> None:
    long, short = PromptTemplate(system="You are a careful assistant."), PromptTemplate(name="short")
    report = ask(
        _subject("candidate", make_adapter(2), "c", prompt=short),
        _subject("champion", make_adapter(1), "1", prompt=long),
    )
    base, champion, candidate = (subject.results[0].prompt_tokens for subject in report.subjects)
    assert base == candidate < champion
    assert [subject.prompt for subject in report.subjects] == [short, long, short]


def test_an_answer_ends_before_a_stop_string(ask: Callable[..., EvaluationReport], make_adapter: MakeAdapter) -> None:
    made = make_adapter(2)
    free = ask(_subject("candidate", made, "c")).subjects[-1].results
    longest = max(free, key=lambda result: len(result.completion.strip()))
    stop = longest.completion[2:5]
    report = ask(_subject("candidate", made, "c", prompt=PromptTemplate(stop=(stop,))))
    stopped = {result.id: result for result in report.subjects[-1].results}[longest.id]
    assert stopped.completion == longest.completion[: longest.completion.index(stop)]
    assert stopped.finished


def test_files_that_are_not_the_registered_ones_are_refused(
    ask: Callable[..., EvaluationReport], make_adapter: MakeAdapter
) -> None:
    with pytest.raises(FingerprintMismatch, match="not the ones that were registered"):
        ask(AdapterSubject("candidate", make_adapter(1)[0], "c", "0" * 64))


def test_an_adapter_of_another_base_model_is_refused(
    ask: Callable[..., EvaluationReport], make_adapter: MakeAdapter, build_base: Callable[..., LlamaForCausalLM]
) -> None:
    base = build_base()
    with pytest.raises(UserError, match=r"The champion \(version 3\) does not fit the base model"):
        ask(
            _subject("candidate", make_adapter(1), "c"),
            _subject("champion", make_adapter(2, hidden=64), "3"),
            base=base,
        )
    assert not any("lora" in name for name in base.state_dict())


def test_a_question_that_does_not_fit_and_an_empty_set_are_refused(
    ask: Callable[..., EvaluationReport], make_adapter: MakeAdapter
) -> None:
    candidate = _subject("candidate", make_adapter(1), "c")
    with pytest.raises(UserError, match=r"item 'eval-000000' has .* the model takes 10 in all"):
        ask(candidate, max_model_len=10)
    with pytest.raises(UserError, match="evaluation set is empty"):
        ask(candidate, records=[])


def test_an_evaluation_that_breaks_half_way_raises_and_reports_nothing(
    ask: Callable[..., EvaluationReport], make_adapter: MakeAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def broken_the_second_time(metric: str, completions: list[str], references: list[str]) -> list[float]:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise TunelineError("the metric broke")
        return [0.0] * len(completions)

    monkeypatch.setattr(evaluate_model, "score", broken_the_second_time)
    with pytest.raises(TunelineError, match="the metric broke"):
        ask(_subject("candidate", make_adapter(1), "c"))
