"""A judge's suite through a whole evaluation and the gate."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from tests.evaluation.conftest import MakeAdapter
from tests.evaluation.suites.judge_server import Reply, Server, serve
from tests.evaluation.test_evaluate_model import items_of
from tuneline.config import EvaluationConfig, GateConfig, HeldoutSuite, JudgeSuite, ServingConfig
from tuneline.data.synthetic import generate_records
from tuneline.evaluation.evaluate_model import AdapterSubject, evaluate_loaded
from tuneline.evaluation.report import EvaluationReport
from tuneline.gate.decide import decide

__all__ = ["serve"]  # a fixture


@pytest.fixture
def judged(
    build_base: Callable[..., LlamaForCausalLM],
    tokenizer: PreTrainedTokenizerBase,
    make_adapter: MakeAdapter,
    serve: Callable[[Reply], Server],
) -> Callable[[Reply, int], EvaluationReport]:
    def evaluate(reply: Reply, questions: int) -> EvaluationReport:
        records = list(generate_records(("git", "helm"), questions, seed=1, split="eval"))
        url = serve(reply).url
        suites = (
            HeldoutSuite(type="heldout", name="heldout"),
            JudgeSuite(type="judge", name="judge", role="target", questions="heldout", limit=12, model="m", url=url),
        )
        folder, sha256 = make_adapter(2)
        return evaluate_loaded(
            build_base(),
            tokenizer,
            EvaluationConfig(suites=suites, max_new_tokens=6, golden_prompts=2),
            GateConfig(),
            ServingConfig(dtype="float32"),
            {"heldout": items_of(records)},
            candidate=AdapterSubject("candidate", folder, "candidate", sha256),
            champion=None,
            base_name="tiny",
        )

    return evaluate


def test_a_judge_that_prefers_the_candidate_is_a_target_like_any_other(
    judged: Callable[[Reply, int], EvaluationReport],
) -> None:
    nobody = judged(lambda _: (200, "TIE"), 24)
    assert nobody.suites[1].preferences[0].values == (0.0,) * 12
    candidate = nobody.suites[0].subject("candidate")
    assert candidate is not None
    own = {result.completion.strip() for result in candidate.results}

    def prefers_the_candidate(prompt: str) -> tuple[int, str]:
        shown = re.findall(r"<answer_[AB] \w+>\n(.*?)\n</answer_[AB]", prompt, re.DOTALL)
        return 200, "AB"[[answer.strip() in own for answer in shown].index(True)]

    report = judged(prefers_the_candidate, 24)
    suite = report.suites[1]
    assert (suite.primary, len(suite.items)) == ("preference", 12)
    assert [item.id for item in suite.items] == [item.id for item in report.suites[0].items][::2]
    (found,) = suite.preferences
    assert found.opponent == "base" and found.agreement == 1.0
    assert "m was asked in both orders" in suite.note
    verdict = decide(report, GateConfig(min_items=10))
    assert (verdict.rules[0].suite, verdict.outcome) == ("judge", "PASS")
    assert "the judge preferred it on" in verdict.sentence


def test_a_judge_that_says_nothing_usable_on_one_item_proves_nothing(
    judged: Callable[[Reply, int], EvaluationReport],
) -> None:
    replies = iter(["A", "B"] * 4)
    report = judged(lambda _: (200, next(replies, "no idea")), 12)
    verdict = decide(report, GateConfig(min_items=10))
    assert verdict.outcome == "FAIL"
    assert "The evaluation is broken" in verdict.sentence
