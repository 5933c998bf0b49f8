"""Scores per item, offline, from 0 to 1."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tuneline.errors import TunelineError
from tuneline.evaluation import metrics
from tuneline.evaluation.metrics import METRICS, score


@pytest.mark.parametrize("metric", METRICS)
def test_a_right_answer_scores_1_and_an_unrelated_one_0_in_the_order_given(metric: str) -> None:
    completions = ["git log -n 5", "zzzz", "git log -n 5"]
    references = ["git log -n 5", "helm list", "git log -n 5"]
    assert score(metric, completions, references) == pytest.approx([1.0, 0.0, 1.0], abs=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_an_empty_answer_scores_0_and_scoring_twice_gives_the_same(metric: str) -> None:
    assert score(metric, [""], ["git log"]) == score(metric, [""], ["git log"]) == [0.0]
    assert score(metric, [], []) == []


def test_exact_match_forgives_white_space_at_the_ends_and_nothing_else() -> None:
    completions = [" git log\n", "git  log", "Git log", "git log."]
    assert score("exact_match", completions, ["git log"] * 4) == [1.0, 0.0, 0.0, 0.0]


def test_chrf_and_rouge_l_give_part_of_the_score_for_part_of_the_answer() -> None:
    completion, reference = "kubectl get pods -n shop", "kubectl get pods -n prod"
    assert 0.5 < score("chrf", [completion], [reference])[0] < 1
    # Four of five words in common, in order: precision = recall = 0.8.
    assert score("rouge_l", [completion], [reference]) == pytest.approx([0.8])


def test_rouge_l_sees_options_and_other_alphabets() -> None:
    assert score("rouge_l", ["git push --force"], ["git push force"])[0] < 1
    assert score("rouge_l", ["안녕하세요 세계"], ["안녕하세요 세계"]) == [1.0]


def test_unknown_metrics_and_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown metric 'bleurt'"):
        score("bleurt", ["a"], ["a"])
    with pytest.raises(ValueError, match="2 completions for 1 references"):
        score("chrf", ["a", "b"], ["a"])


@pytest.mark.parametrize("scores", [[float("nan"), 1.0], [1.0], [1.5, 0.0]])
def test_a_metric_that_gives_no_score_is_an_error_and_no_score(
    scores: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def compute(self, predictions: list[str], references: list[str]) -> dict[str, list[float]]:
            return {"scores": scores}

    monkeypatch.setattr(metrics, "_load", lambda metric: Broken())
    with pytest.raises(TunelineError, match="proves nothing"):
        score("chrf", ["a", "b"], ["a", "b"])


@pytest.mark.parametrize("metric", METRICS)
def test_metric_scripts_import_one_module_a_line(metric: str) -> None:
    # evaluate reads these lines by itself and would ask for a package named "datasets,".
    script = Path(metrics.__file__).parent / "metric_scripts" / f"{metric}.py"
    imports = [node for node in ast.parse(script.read_text()).body if isinstance(node, ast.Import)]
    assert imports
    assert all(len(node.names) == 1 for node in imports)
