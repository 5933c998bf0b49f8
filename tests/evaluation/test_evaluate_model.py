"""Base model, champion and candidate answer the same questions, each as it will be served, or nothing is reported."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from tests.evaluation.conftest import MakeAdapter
from tuneline.config import EvaluationConfig, GateConfig, HeldoutSuite, LatencySuite, PromptsSuite, ServingConfig
from tuneline.config.suites import HELDOUT
from tuneline.data.records import ChatRecord
from tuneline.errors import TunelineError, UserError
from tuneline.evaluation import scoring
from tuneline.evaluation.ask import Asked, Subject, render_all
from tuneline.evaluation.engines.engine import Answer
from tuneline.evaluation.evaluate_model import AdapterSubject, evaluate_loaded
from tuneline.evaluation.golden import token_logprobs
from tuneline.evaluation.report import Check, EvaluationItem, EvaluationReport
from tuneline.prompts.render import render_prompt
from tuneline.prompts.template import PromptTemplate
from tuneline.release.files import FingerprintMismatch


@pytest.fixture
def ask(
    build_base: Callable[..., LlamaForCausalLM], tokenizer: PreTrainedTokenizerBase, records: list[ChatRecord]
) -> Callable[..., EvaluationReport]:
    def evaluate(
        candidate: AdapterSubject,
        champion: AdapterSubject | None = None,
        *,
        base: LlamaForCausalLM | None = None,
        questions: dict[str, tuple[EvaluationItem, ...]] | None = None,
        max_model_len: int | None = None,
        on_progress: Callable[[str], None] | None = None,
        **how: Any,
    ) -> EvaluationReport:
        settings: dict[str, Any] = {
            "metrics": ("exact_match", "chrf"),
            "max_new_tokens": 8,
            "batch_size": 5,
            "golden_prompts": 4,
        }
        return evaluate_loaded(
            base or build_base(),
            tokenizer,
            EvaluationConfig(**(settings | how)),
            GateConfig(),
            ServingConfig(dtype="float32", max_model_len=max_model_len),
            {"heldout": items_of(records)} if questions is None else questions,
            candidate=candidate,
            champion=champion,
            base_name="tiny",
            on_progress=on_progress,
        )

    return evaluate


def items_of(records: list[ChatRecord]) -> tuple[EvaluationItem, ...]:
    return tuple(
        EvaluationItem(id=r.id, source=r.source, messages=tuple(r.prompt), reference=r.reference) for r in records
    )


def _subject(role: Any, made: tuple[Any, str], version: str, **how: Any) -> AdapterSubject:
    return AdapterSubject(role, made[0], version, made[1], **how)


def test_all_three_answer_the_same_items_in_the_same_order(
    ask: Callable[..., EvaluationReport], make_adapter: MakeAdapter, records: list[ChatRecord]
) -> None:
    told: list[str] = []
    first, second = make_adapter(1), make_adapter(2)
    report = ask(_subject("candidate", second, "candidate"), _subject("champion", first, "7"), on_progress=told.append)
    assert [(s.role, s.version, s.adapter_sha256) for s in report.lead.subjects] == [
        ("base", None, None),
        ("champion", "7", first[1]),
        ("candidate", "candidate", second[1]),
    ]
    for subject in report.lead.subjects:
        assert [result.id for result in subject.results] == [record.id for record in records]
        assert all(set(result.scores) == {"exact_match", "chrf"} for result in subject.results)
    assert [item.reference for item in report.lead.items] == [record.reference for record in records]
    assert report.decoding.stop_ids == (5,)
    assert "36 of 36 answers" in told


def test_each_adapter_answers_for_itself_and_the_base_model_for_none_of_them(
    ask: Callable[..., EvaluationReport],
    make_adapter: MakeAdapter,
    build_base: Callable[..., LlamaForCausalLM],
) -> None:
    first, second = _subject("champion", make_adapter(1), "1"), _subject("candidate", make_adapter(2), "2")
    together = ask(second, first)
    alone = ask(second)
    answers = {s.role: [r.completion for r in s.results] for s in together.lead.subjects}
    assert len({tuple(completions) for completions in answers.values()}) == 3
    assert [r.completion for r in alone.lead.subjects[-1].results] == answers["candidate"]
    assert [r.completion for r in alone.lead.subjects[0].results] == answers["base"]


def test_an_adapter_that_does_nothing_answers_like_the_base_model(
    ask: Callable[..., EvaluationReport], make_adapter: MakeAdapter
) -> None:
    base, candidate = ask(_subject("candidate", make_adapter(1, zero=True), "c")).lead.subjects
    assert base.results == candidate.results


def test_golden_numbers_are_the_adapters_and_the_base_models_own(
    ask: Callable[..., EvaluationReport],
    make_adapter: MakeAdapter,
    build_base: Callable[..., LlamaForCausalLM],
) -> None:
    made = make_adapter(2)
    report = ask(_subject("candidate", made, "c"))
    assert [golden.id for golden in report.golden] == [report.lead.items[n].id for n in (0, 3, 6, 9)]
    adapted = PeftModel.from_pretrained(build_base(), str(made[0]))
    for golden in report.golden:
        own = token_logprobs(adapted, golden.prompt_ids, golden.completion_ids)
        base = token_logprobs(build_base(), golden.prompt_ids, golden.completion_ids)
        assert own == pytest.approx(golden.logprobs, abs=1e-4)
        assert base == pytest.approx(golden.base_logprobs, abs=1e-4)
        assert own != pytest.approx(base, abs=0.1)


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
    base, champion, candidate = (subject.results[0].prompt_tokens for subject in report.lead.subjects)
    assert base == candidate < champion
    assert [subject.prompt for subject in report.lead.subjects] == [short, long, short]


def test_an_answer_ends_before_a_stop_string(ask: Callable[..., EvaluationReport], make_adapter: MakeAdapter) -> None:
    made = make_adapter(2)
    free = ask(_subject("candidate", made, "c")).lead.subjects[-1].results
    longest = max(free, key=lambda result: len(result.completion.strip()))
    stop = longest.completion[2:5]
    report = ask(_subject("candidate", made, "c", prompt=PromptTemplate(stop=(stop,))))
    stopped = {result.id: result for result in report.lead.subjects[-1].results}[longest.id]
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
    with pytest.raises(UserError, match=r"item 'eval-000000' of suite 'heldout' has .* the model takes 10 in all"):
        ask(candidate, max_model_len=10)
    with pytest.raises(UserError, match="suite 'heldout' has no questions"):
        ask(candidate, questions={"heldout": ()})


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

    monkeypatch.setattr(scoring, "score", broken_the_second_time)
    with pytest.raises(TunelineError, match="the metric broke"):
        ask(_subject("candidate", make_adapter(1), "c"))


def test_every_suite_is_measured_by_its_own_metrics_and_asked_once(
    ask: Callable[..., EvaluationReport], make_adapter: MakeAdapter, records: list[ChatRecord]
) -> None:
    told: list[str] = []
    items = items_of(records)
    prompts = tuple(item.model_copy(update={"checks": (Check(kind="contains", value="g"),)}) for item in items[:4])
    report = ask(
        _subject("candidate", make_adapter(2), "c"),
        suites=(
            HeldoutSuite(type="heldout", name="heldout", role="target", metrics=("exact_match", "perplexity")),
            PromptsSuite(type="prompts", name="short", role="guard", path="x", metrics=("check", "length"), margin=0.1),
        ),
        questions={"heldout": items, "short": prompts},
        on_progress=told.append,
    )
    heldout, short = report.suites
    assert (heldout.role, heldout.primary, short.role, short.primary) == ("target", "exact_match", "guard", "check")
    assert short.margin == 0.1 and heldout.min_difference is None
    assert "24 of 24 answers" in told, "the four prompts are the first four of the other suite"
    for subject in short.subjects:
        for result in subject.results:
            assert result.scores == {
                "check": float("g" in result.completion),
                "length": float(result.completion_tokens),
            }
    assert set(report.scores("candidate")) == {"exact_match", "perplexity", "short/check", "short/length"}


def test_perplexity_is_that_of_the_right_answer_with_its_end(
    ask: Callable[..., EvaluationReport],
    make_adapter: MakeAdapter,
    build_base: Callable[..., LlamaForCausalLM],
    tokenizer: PreTrainedTokenizerBase,
    records: list[ChatRecord],
) -> None:
    made = make_adapter(2)
    report = ask(_subject("candidate", made, "c"), metrics=("perplexity",), primary="perplexity")
    adapted = PeftModel.from_pretrained(build_base(), str(made[0]))
    for record, base, candidate in zip(records, *(s.results for s in report.lead.subjects), strict=True):
        prompt = render_prompt(tokenizer, record.prompt, PromptTemplate())
        answer = [*tokenizer(record.reference, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        for model, result in ((build_base(), base), (adapted, candidate)):
            expected = -fmean(token_logprobs(model, prompt, answer))
            assert result.scores["perplexity"] == pytest.approx(expected, abs=1e-3)


def test_latency_is_the_time_of_one_answer_alone(
    ask: Callable[..., EvaluationReport], make_adapter: MakeAdapter
) -> None:
    report = ask(
        _subject("candidate", make_adapter(2), "c"),
        suites=(HELDOUT, LatencySuite(type="latency", name="speed", role="guard", questions="heldout", limit=3)),
    )
    speed = report.suites[1]
    assert [item.id for item in speed.items] == [report.lead.items[n].id for n in (0, 4, 8)]
    for subject in speed.subjects:
        assert all(0 < result.scores["latency"] < 60 for result in subject.results)
        together = {result.id: result.completion for result in report.lead.subject(subject.role).results}  # type: ignore[union-attr]
        assert all(result.completion == together[result.id] for result in subject.results)


def test_answers_of_another_engine_are_scored_and_held_against_transformers(
    ask: Callable[..., EvaluationReport],
    make_adapter: MakeAdapter,
    build_base: Callable[..., LlamaForCausalLM],
    tokenizer: PreTrainedTokenizerBase,
    records: list[ChatRecord],
) -> None:
    candidate = _subject("candidate", make_adapter(2), "c")
    own = ask(candidate)

    def asked(wrong: int) -> Asked:
        """What an engine gave back that answers the first ``wrong`` questions with nothing but an end."""
        subjects = [Subject("base", None, None, PromptTemplate()), Subject("candidate", "c", None, PromptTemplate())]
        prompts = render_all(tokenizer, {"heldout": items_of(records)}, subjects, None)
        nothing = Answer((tokenizer.eos_token_id,), finished=True)
        texts = {s.role: [r.completion for r in s.results] for s in own.lead.subjects}
        answers = {
            (role, prompt): nothing
            if place < wrong
            else Answer(tuple(tokenizer(texts[role][place], add_special_tokens=False)["input_ids"]), finished=False)
            for (_, role), rendered in prompts.items()
            for place, prompt in enumerate(rendered)
        }
        return Asked(prompts, answers, 1.0)

    bad = evaluate_loaded(
        build_base(),
        tokenizer,
        EvaluationConfig(engine="vllm", max_new_tokens=8, golden_prompts=4),
        GateConfig(),
        ServingConfig(dtype="float32"),
        {"heldout": items_of(records)},
        candidate=candidate,
        champion=None,
        base_name="tiny",
        asked=asked(wrong=12),
    )
    assert bad.engine == "vllm"
    assert bad.agreement is not None and (bad.agreement.items, bad.agreement.same) == (4, 0)
    assert not bad.agreement.agrees and "DISAGREES" in bad.agreement.sentence
    assert all(result.completion == "" for result in bad.lead.subjects[0].results), "its answers are what is scored"
    assert bad.golden == own.golden, "golden prompts are those of transformers"
