"""lm-eval's tasks over local files, asked of a tiny model with and without an adapter."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.test_evaluate_model import items_of
from tuneline.config import EvaluationConfig, GateConfig, LmEvalSuite, ServingConfig
from tuneline.config.suites import HELDOUT
from tuneline.data.dataset import ChatDataset
from tuneline.data.records import ChatRecord, Message
from tuneline.errors import TunelineError, UserError
from tuneline.evaluation.evaluate_model import evaluate_loaded
from tuneline.evaluation.subjects import AdapterSubject, switched_to, with_adapters
from tuneline.evaluation.suites.lm_eval_tasks import check_lm_eval, run_lm_eval
from tuneline.gate.decide import decide

ROWS = [{"question": f"Is {n} even?", "answer": n % 2, "word": "yes" if n % 2 == 0 else "no"} for n in range(12)]
CHOICE = """\
task: tiny_choice
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: ["yes", "no"]
doc_to_target: "{{{{answer}}}}"
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
  - {{metric: mcc}}
"""
WRITE = """\
task: tiny_write
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{word}}}}"
generation_kwargs: {{max_gen_toks: 4, until: ["."], do_sample: false}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
filter_list:
  - {{name: strict, filter: [{{function: take_first}}]}}
  - {{name: flexible, filter: [{{function: regex, regex_pattern: "(.)"}}, {{function: take_first}}]}}
"""


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "choice.yaml").write_text(CHOICE.format(rows=tmp_path / "rows.jsonl"))
    (folder / "write.yaml").write_text(WRITE.format(rows=tmp_path / "rows.jsonl"))
    gone = CHOICE.format(rows=tmp_path / "gone.jsonl").replace("tiny_choice", "tiny_gone")
    (folder / "gone.yaml").write_text(gone)
    hub = CHOICE.replace("dataset_path: json", "dataset_path: nobody/nothing").replace("tiny_choice", "tiny_hub")
    (folder / "hub.yaml").write_text(hub.format(rows="rows.jsonl"))
    pairs = CHOICE.format(rows=tmp_path / "rows.jsonl").replace("tiny_choice", "tiny_pairs")
    pairs = pairs[: pairs.index("metric_list")] + "metric_list:\n  - {metric: mcc}\n"
    (folder / "pairs.yaml").write_text(pairs)
    return folder


def _suite(folder: Path, *names: str, **settings: Any) -> LmEvalSuite:
    return LmEvalSuite(type="lm_eval", name="known", tasks=names, include_path=str(folder), **settings)


def test_every_subject_answers_the_same_items_and_is_scored_item_by_item(
    build_base: Callable[..., Any], make_adapter: Any, tokenizer: Any, tasks: Path
) -> None:
    folder, sha256 = make_adapter(7)
    suite = _suite(tasks, "tiny_choice", limit=10)
    candidate = AdapterSubject(role="candidate", folder=folder, version="1", sha256=sha256)
    with with_adapters(build_base(), [candidate]) as model:
        with switched_to(model, "base"):
            base = run_lm_eval(model, tokenizer, suite, 4)
        with switched_to(model, "candidate"):
            adapted = run_lm_eval(model, tokenizer, suite, 3)
    assert base.items == adapted.items
    assert base.completions != adapted.completions  # another model, so other choices
    assert [item.id for item in base.items] == [f"tiny_choice/{n}" for n in range(10)]
    assert (base.items[1].messages[0].content, base.items[1].reference) == ("Is 1 even?", "no")
    assert {item.source for item in base.items} == {"tiny_choice"}
    assert base.primary == "acc"
    assert set(base.scores) == {"acc", "acc_norm"}
    right = [float(said == item.reference) for said, item in zip(base.completions, base.items, strict=True)]
    assert list(base.scores["acc"]) == right


def test_tasks_with_different_metrics_are_joined_under_one_name(
    build_base: Callable[..., Any], tokenizer: Any, tasks: Path
) -> None:
    answers = run_lm_eval(build_base(), tokenizer, _suite(tasks, "tiny_write", "tiny_choice", limit=2), 4)
    assert [item.id for item in answers.items] == ["tiny_write/0", "tiny_write/1", "tiny_choice/0", "tiny_choice/1"]
    assert answers.primary == "score"
    assert {name: len(values) for name, values in answers.scores.items()} == {"score": 4}
    assert answers.items[0].reference == "yes"
    assert all(isinstance(said, str) for said in answers.completions)


def test_the_deciding_metric_and_its_filter_can_be_named(
    build_base: Callable[..., Any], tokenizer: Any, tasks: Path
) -> None:
    model = build_base()
    assert run_lm_eval(model, tokenizer, _suite(tasks, "tiny_choice", metric="acc_norm"), 4).primary == "acc_norm"
    named = run_lm_eval(model, tokenizer, _suite(tasks, "tiny_write", metric="exact_match,flexible", limit=3), 4)
    assert (named.primary, len(named.items)) == ("exact_match", 3)
    for metric, said in (("f1", "no such metric"), ("mcc", "no score from 0 to 1"), ("acc,loose", "no filter 'loose'")):
        with pytest.raises(UserError, match=said) as caught:
            run_lm_eval(model, tokenizer, _suite(tasks, "tiny_choice", metric=metric, limit=3), 4)
        assert ("acc, acc_norm" if "," not in metric else "It has none") in str(caught.value)
    with pytest.raises(UserError, match=r"'mcc'.*\n.*Take another task"):
        run_lm_eval(model, tokenizer, _suite(tasks, "tiny_pairs", limit=3), 4)


def test_a_model_that_the_task_does_not_fit_is_an_error_and_no_score(
    build_base: Callable[..., Any], tokenizer: Any, tasks: Path
) -> None:
    path = tasks / "write.yaml"
    path.write_text(path.read_text().replace("max_gen_toks: 4", "max_gen_toks: 400"))
    with pytest.raises(TunelineError, match="lm-eval broke on the suite 'known'"):
        run_lm_eval(build_base(), tokenizer, _suite(tasks, "tiny_write", limit=1), 1)


def test_unknown_tasks_and_missing_data_are_told_before_training(tasks: Path) -> None:
    nothing = ChatDataset(records=[])
    check_lm_eval(_suite(tasks, "tiny_choice"), nothing)
    with pytest.raises(UserError, match=r"'tiny_choise', which lm-eval does not have(.|\n)*Did you mean tiny_choice"):
        check_lm_eval(_suite(tasks, "tiny_choise"), nothing)
    for task in ("tiny_gone", "tiny_hub"):
        with pytest.raises(UserError, match=rf"{task}\) cannot be loaded(.|\n)*HF_HUB_OFFLINE"):
            check_lm_eval(_suite(tasks, task), nothing)


def test_a_question_of_a_task_that_is_trained_on_is_refused(tasks: Path) -> None:
    messages = [Message(role="user", content="is 3  even?"), Message(role="assistant", content="no")]
    training = ChatDataset(records=[ChatRecord(id="r", source="s", messages=messages)])
    with pytest.raises(UserError, match=r"1 of 12 prompts of the suite 'known'.*tiny_choice/3 = r"):
        check_lm_eval(_suite(tasks, "tiny_choice"), training)
    check_lm_eval(_suite(tasks, "tiny_choice", limit=3), training)


def test_a_task_is_a_guard_in_a_whole_evaluation(
    tasks: Path,
    build_base: Callable[..., Any],
    tokenizer: Any,
    make_adapter: Callable[..., tuple[Path, str]],
    records: list[ChatRecord],
) -> None:
    guard = _suite(tasks, "tiny_choice", role="guard", min_items=10)
    folder, sha256 = make_adapter(3)
    report = evaluate_loaded(
        build_base(),
        tokenizer,
        EvaluationConfig(suites=(HELDOUT, guard), max_new_tokens=4, golden_prompts=2),
        GateConfig(),
        ServingConfig(dtype="float32"),
        {"heldout": items_of(records)},
        candidate=AdapterSubject("candidate", folder, "candidate", sha256),
        champion=None,
        base_name="tiny",
    )
    known = report.suites[1]
    assert (known.kind, known.role, known.primary, known.min_items) == ("lm_eval", "guard", "acc", 10)
    assert [item.id for item in known.items] == [f"tiny_choice/{n}" for n in range(12)]
    assert set(report.scores("candidate")) == {"exact_match", "chrf", "rouge_l", "known/acc", "known/acc_norm"}
    (_, rule) = decide(report, GateConfig(min_items=10)).rules
    assert (rule.suite, rule.role, rule.metric, len(rule.comparisons)) == ("known", "guard", "acc", 1)
