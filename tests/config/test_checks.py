"""What must fit together."""

from __future__ import annotations

from typing import Any

import pytest

from tests.config.conftest import Fail, Load
from tuneline.config import EvaluationData
from tuneline.config.suites import HELDOUT


@pytest.mark.parametrize(
    ("overrides", "path", "said"),
    [
        (["training.r=32"], ("training", "r"), "the engine takes ranks up to 16"),
        (["serving.max_lora_rank=1024"], ("serving", "max_lora_rank"), "no kernels above rank 512"),
        (["serving.quantization=awk"], ("serving", "quantization"), "does not have"),
        (["serving.max_num_batched_tokens=16"], ("serving", "max_num_batched_tokens"), "less than a token for each"),
        (
            ["serving.max_num_batched_tokens=2048", "serving.max_model_len=4096", "serving.chunked_prefill=false"],
            ("serving", "max_num_batched_tokens"),
            "chunked_prefill is off",
        ),
        (["serving.speculative={method: ngram}"], ("serving", "speculative"), "num_speculative_tokens"),
        (["serving.max_model_len=512"], ("training", "max_length"), "the engine takes 512"),
        (["serving.max_model_len=64", "training.max_length=64"], ("evaluation", "max_new_tokens"), "leaves no token"),
        (["training.max_steps="], ("training", "max_steps"), "is missing, and so is epochs"),
        (["training.epochs=1"], ("training", "epochs"), "is given twice"),
        (["training.batch_tokens=5000"], ("training", "batch_tokens"), "not a multiple of micro_batch_tokens (4096)"),
        (["training.max_length=8192"], ("training", "micro_batch_tokens"), "less than one row"),
        (["training.distributed={processes: 17}"], ("training", "batch_tokens"), "16 rows of max_length for 17"),
        (["training.distributed={strategy: fsdp}"], ("training", "distributed", "strategy"), "a single process"),
        (
            ["training.distributed={strategy: fsdp, processes: 2}", "model.quantization=nf4"],
            ("training", "distributed", "strategy"),
            "cannot share out a model of quantization nf4",
        ),
        (["model.base=/", "model.revision=main"], ("model", "base"), "no config.json"),
        (["data.evaluation.holdout=0.1"], ("data", "evaluation", "holdout"), "given beside sources"),
        (["data.evaluation={seed: 1}"], ("data", "evaluation"), "neither sources nor holdout"),
        (["data.evaluation={holdout: 70.5}"], ("data", "evaluation", "holdout"), "is 70.5"),
        (["data.evaluation.sources=[]"], ("data", "evaluation", "sources"), "is an empty list"),
        (["data.evaluation.sources.0.split=train"], ("data", "evaluation", "sources", 0, "split"), "trained on"),
        (["data.sources.0.split=eval"], ("data", "sources", 0, "split"), "must never be trained on"),
        (["data.evaluation.sources.0.size=49"], ("data", "evaluation"), "gives at most 49 questions"),
        (["data.evaluation={holdout: 0.4}"], ("data", "evaluation"), "gives at most 40 questions"),
        (["data.evaluation={holdout: 49}"], ("data", "evaluation"), "gives at most 49 questions"),
        (["evaluation.golden_prompts=61"], ("evaluation", "golden_prompts"), "gives at most 60 questions"),
        (["evaluation.metrics=[chrf]"], ("evaluation", "primary"), "not among evaluation.metrics"),
        (["evaluation.metrics=[exact_match]", "gate.metric=chrf"], ("gate", "metric"), "not among evaluation.metrics"),
        (["gate.confidence=0.995", "gate.resamples=1000"], ("gate", "resamples"), "too few"),
    ],
)
def test_what_does_not_fit_is_refused_at_its_key(
    fail: Fail, overrides: list[str], path: tuple[str | int, ...], said: str
) -> None:
    told = {problem.path: problem for problem in fail(overrides=overrides).problems}
    assert path in told
    assert said in told[path].what


def test_a_refused_rank_says_both_ways_out(fail: Fail) -> None:
    (problem,) = fail("  max_steps: 10", "  max_steps: 10\n  r: 64").problems
    assert problem.place.line == 12
    assert problem.allowed == "a rank of at most 16, or serving.max_lora_rank: 64"


def test_a_file_cannot_be_trained_on_and_asked(fail: Fail, tmp_path: Any) -> None:
    (tmp_path / "rows.json").write_text("[]")
    source = "{type: file, path: rows.json}"
    problems = fail(overrides=[f"data.sources=[{source}]", f"data.evaluation={{sources: [{source}]}}"]).problems
    assert [problem.path for problem in problems] == [("data", "evaluation", "sources", 0)]


def test_a_folder_has_no_revision(fail: Fail, tmp_path: Any) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.json").write_text("{}")
    (problem,) = fail(overrides=["model.base=./tiny", "model.revision=main"]).problems
    assert problem.path == ("model", "revision")


def test_nothing_is_said_about_questions_whose_number_is_not_known(load: Load) -> None:
    assert load(overrides=["data.evaluation={sources: [{type: hub, dataset: a/b}]}"])


@pytest.mark.parametrize(("holdout", "total", "count"), [(0.25, 100, 25), (60, 100, 60), (60, 40, 39), (0.001, 100, 1)])
def test_a_holdout_leaves_something_on_both_sides(holdout: float, total: int, count: int) -> None:
    assert EvaluationData(holdout=holdout).holdout_count(total) == count


def test_the_gate_compares_the_primary_metric_unless_told_otherwise(load: Load) -> None:
    evaluation = load().evaluation
    assert evaluation.metric_of(HELDOUT, load().gate.metric) == "exact_match"
    assert evaluation.metric_of(HELDOUT, load(overrides=["gate.metric=chrf"]).gate.metric) == "chrf"


def test_the_engines_part_of_serving_goes_into_the_release_alone(load: Load) -> None:
    serving = load(overrides=["serving.max_loras=3", "serving.parity_tolerance=0.1"]).serving
    assert serving.engine().max_loras == 3
    assert "parity_tolerance" not in serving.engine().model_dump()
