"""Scores per item, offline, from 0 to 1."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tuneline.errors import TunelineError, UserError
from tuneline.evaluation import metrics
from tuneline.evaluation.metrics import SCORED, score

SCRIPTS = sorted((Path(metrics.__file__).parent / "metric_scripts").glob("*.py"))


def test_the_metrics_that_need_a_reference_are_scored_here() -> None:
    assert SCORED == ("exact_match", "f1", "chrf", "bleu", "rouge_1", "rouge_l")


@pytest.mark.parametrize("metric", SCORED)
def test_a_right_answer_scores_1_and_an_unrelated_one_0_in_the_order_given(metric: str) -> None:
    completions = ["git log -n 5", "zzzz", "git log -n 5"]
    references = ["git log -n 5", "helm list", "git log -n 5"]
    assert score(metric, completions, references) == pytest.approx([1.0, 0.0, 1.0], abs=1e-9)


@pytest.mark.parametrize("metric", SCORED)
def test_an_empty_answer_scores_0_and_scoring_twice_gives_the_same(metric: str) -> None:
    assert score(metric, [""], ["git log"]) == score(metric, [""], ["git log"]) == [0.0]
    assert score(metric, [], []) == []


@pytest.mark.parametrize("metric", SCORED)
def test_a_right_answer_of_one_word_scores_1(metric: str) -> None:
    assert score(metric, ["ls"], ["ls"]) == pytest.approx([1.0])


def test_exact_match_forgives_white_space_at_the_ends_and_nothing_else() -> None:
    completions = [" git log\n", "git  log", "Git log", "git log."]
    assert score("exact_match", completions, ["git log"] * 4) == [1.0, 0.0, 0.0, 0.0]


def test_a_part_of_the_answer_gives_a_part_of_the_score() -> None:
    completion, reference = "kubectl get pods -n shop", "kubectl get pods -n prod"
    assert 0.5 < score("chrf", [completion], [reference])[0] < 1
    # Four of five words in common, in order: precision = recall = 0.8.
    for metric in ("f1", "rouge_1", "rouge_l"):
        assert score(metric, [completion], [reference]) == pytest.approx([0.8])
    # n-grams in common: 4 of 5, 3 of 4, 2 of 3 and 1 of 2.
    assert score("bleu", ["a b c d x"], ["a b c d y"]) == pytest.approx([0.2**0.25])


def test_rouge_l_minds_the_order_of_words_and_rouge_1_does_not() -> None:
    assert score("rouge_1", ["b a"], ["a b"]) == [1.0]
    assert score("rouge_l", ["b a"], ["a b"]) == [0.5]


def test_f1_forgives_case_punctuation_articles_and_order_as_squad_does() -> None:
    assert score("f1", ["The Eiffel Tower!", "tower, a Eiffel"], ["Eiffel tower"] * 2) == [1.0, 1.0]
    # Two of three words given are right, and two of the two asked for: 2 * 2 / (3 + 2).
    assert score("f1", ["eiffel tower paris", "the", "the"], ["Eiffel tower", "a", "b"]) == [0.8, 1.0, 0.0]


def test_rouge_sees_options_and_other_alphabets() -> None:
    assert score("rouge_l", ["git push --force"], ["git push force"])[0] < 1
    assert score("rouge_1", ["안녕하세요 세계"], ["안녕하세요 세계"]) == [1.0]


def test_unknown_metrics_and_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown metric 'bleurt'"):
        score("bleurt", ["a"], ["a"])
    with pytest.raises(ValueError, match="unknown metric 'length'"):
        score("length", ["a"], ["a"])
    with pytest.raises(ValueError, match="2 completions for 1 references"):
        score("chrf", ["a", "b"], ["a"])


def _script(folder: Path, returned: str, name: str = "mine") -> str:
    path = folder / f"{name}.py"
    path.write_text(f"""\
import datasets
import evaluate

_FEATURES = datasets.Features({{"predictions": datasets.Value("string"), "references": datasets.Value("string")}})


class Mine(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(description="", citation="", features=_FEATURES)

    def _compute(self, predictions, references):
        return {returned}
""")
    return str(path)


def test_a_script_of_ones_own_gives_a_score_per_item(tmp_path: Path) -> None:
    script = _script(tmp_path, '{"scores": [float(p[0] == r[0]) for p, r in zip(predictions, references)]}')
    assert score(script, ["ab", "b"], ["ac", "c"]) == [1.0, 0.0]


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ('{"scores": [1.0, float("nan")]}', "'mine' gave nan for item 2 of 2"),
        ('{"scores": [float("inf"), 1.0]}', "gave inf for item 1 of 2"),
        ('{"scores": [0.0, 1.5]}', "gave 1.5 for item 2 of 2"),
        ('{"scores": [-0.1, 1.0]}', "gave -0.1 for item 1 of 2"),
        ('{"scores": [None, 1.0]}', "gave None for item 1 of 2"),
        ('{"scores": [1.0]}', "gave 1 scores for 2 items"),
        ('{"score": 1.0}', "a dictionary with 'score' and no list of \"scores\""),
        ('{"scores": 1.0}', 'no list of "scores"'),
        ("1 / 0", "failed (ZeroDivisionError: division by zero)"),
    ],
)
def test_a_metric_that_gives_no_score_is_an_error_and_no_score(tmp_path: Path, returned: str, said: str) -> None:
    with pytest.raises(TunelineError, match="proves nothing") as caught:
        score(_script(tmp_path, returned), ["a", "b"], ["a", "b"])
    assert said in str(caught.value)


@pytest.mark.parametrize(("text", "said"), [("x = (", "cannot be loaded"), ("import nosuchmodule_x", "nosuchmodule_x")])
def test_a_script_that_cannot_be_loaded_is_the_users_mistake(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "broken.py").write_text(f"{text}\n")
    with pytest.raises(UserError, match=said):
        score(str(tmp_path / "broken.py"), ["a"], ["a"])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_metric_scripts_import_one_module_a_line(script: Path) -> None:
    # evaluate reads these lines by itself and would ask for a package named "datasets,".
    imports = [node for node in ast.parse(script.read_text()).body if isinstance(node, ast.Import)]
    assert imports
    assert all(len(node.names) == 1 for node in imports)
