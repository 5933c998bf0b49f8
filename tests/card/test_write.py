"""What a card takes from the lineage, and which limits it finds by itself."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.card.cards import adapter_in, card, config, report, suite, verdict
from tuneline.card import ModelCard, to_markdown
from tuneline.card.limits import restriction
from tuneline.evaluation.report import EngineAgreement


def limits(made: ModelCard) -> str:
    return "\n".join(made.limits)


def test_a_card_names_the_version_by_what_it_was_made_from(tmp_path: Path) -> None:
    made = card(tmp_path)
    assert made.training_key == "k" * 64
    assert made.adapter.sha256 == adapter_in(tmp_path / "adapter").sha256
    assert made.base.sha256 == "b" * 64
    text = to_markdown(made)
    for trace in (made.training_key, made.adapter.sha256, made.base.sha256, "d" * 64, "e" * 64, "torch 2.13.0"):
        assert trace in text


def test_no_path_of_the_machine_that_trained_stands_in_a_card(tmp_path: Path) -> None:
    given = config("alpaca-file.yaml")
    made = card(tmp_path, given, sources={"devops-alpaca.json": 180})
    assert (made.base.name, made.sources[0].name) == ("tiny-base", "devops-alpaca.json")
    assert str(Path(given.model.base).parent) not in made.model_dump_json()


def test_each_sources_records_are_counted_by_their_labels(tmp_path: Path) -> None:
    sources = (
        "[{type: synthetic, tools: [git], size: 9}, {type: synthetic, tools: [helm], size: 9}, "
        "{type: hub, dataset: some/data, license: mit}]"
    )
    given = config("tiny.yaml", f"data.sources={sources}")
    made = card(tmp_path, given, sources={"git/log": 5, "git/show": 2, "helm/list": 1, "some/data/qa": 4})
    assert [(source.name, source.license, source.records) for source in made.sources] == [
        ("git", None, 7),
        ("helm", None, 1),
        ("some/data", "mit", 4),
    ]


def test_records_that_two_sources_may_have_made_are_counted_for_neither(tmp_path: Path) -> None:
    sources = "[{type: synthetic, tools: [git, helm], size: 9}, {type: synthetic, tools: [git], size: 9, seed: 3}]"
    made = card(tmp_path, config("tiny.yaml", f"data.sources={sources}"), sources={"git/log": 5, "helm/list": 1})
    assert [source.records for source in made.sources] == [None, None]
    other = card(tmp_path, config("tiny.yaml", f"data.sources={sources}"), sources={"helm/list": 1})
    assert [source.records for source in other.sources] == [1, 0]


def test_scores_stand_by_suite_metric_and_subject_with_the_deciding_metric_first(tmp_path: Path) -> None:
    heldout, general, judged = card(tmp_path).suites
    assert list(heldout.scores) == ["exact_match", "length"]
    assert heldout.scores["exact_match"] == pytest.approx({"base": 0.1, "champion": 0.8, "candidate": 0.95})
    assert (general.role, general.items) == ("guard", 320)
    assert judged.scores == {"preference": {"champion": 0.5}}  # of three answers, the fourth was none


@pytest.mark.parametrize(
    ("license_", "asks"),
    [
        ("cc-by-nc-4.0", "forbids commercial use"),
        ("CC BY-NC-SA 3.0", "forbids commercial use"),
        ("non-commercial research only", "forbids commercial use"),
        ("cc-by-sa-3.0", "shared under the same licence"),
        ("gpl-3.0", "shared under the same licence"),
        ("apache-2.0", None),
        ("mit", None),
        ("ncsa", None),
        ("llama2", None),
        (None, None),
    ],
)
def test_licences_that_ask_for_more_are_known_by_their_names(license_: str | None, asks: str | None) -> None:
    found = restriction(license_)
    assert found is None if asks is None else asks in str(found)


def test_data_for_non_commercial_use_are_a_limit_and_the_adapter_does_not_inherit_the_bases_licence(
    tmp_path: Path,
) -> None:
    made = card(tmp_path, config("llama-2-7b-lora-24gb.yaml"), sources={"tatsu-lab/alpaca": 20000})
    first = made.limits[0]
    assert first.startswith("LICENCE")
    for said in (
        "tatsu-lab/alpaca",
        "cc-by-nc-4.0",
        "forbids commercial use",
        "The base model's licence (llama2) does not lift that",
    ):
        assert said in first
    assert made.license is None
    named = card(tmp_path, config("llama-2-7b-lora-24gb.yaml", "card.license=mit"), sources={"tatsu-lab/alpaca": 9})
    assert named.license == "mit"
    assert "Calling the adapter mit does not lift that" in named.limits[0]


def test_without_such_data_the_adapter_has_the_bases_licence_and_no_warning(tmp_path: Path) -> None:
    made = card(tmp_path)
    assert made.license == "apache-2.0"
    assert "licence" not in limits(made).lower()


def test_an_unstated_licence_is_a_limit(tmp_path: Path) -> None:
    made = card(tmp_path, config("alpaca-file.yaml", "model.license=null"), sources={"devops-alpaca.json": 180})
    assert "Nobody has stated the licence of devops-alpaca.json, tiny-base (the base model)." in made.limits
    assert made.license is None


def test_what_the_numbers_show_becomes_limits_and_the_configs_own_come_last(tmp_path: Path) -> None:
    made = card(
        tmp_path,
        config("tiny.yaml", "card.limits=[It cannot count.]"),
        report=report(
            suite(cut_off=12, failed=3), agreement=EngineAgreement(items=32, same=20, least=0.9), engine="vllm"
        ),
        verdict=verdict("FAIL", warnings=("The engine disagrees.",)),
    )
    told = limits(made)
    for said in (
        "The gate did not pass this version (FAIL).",
        "With 320 questions, the suite heldout proves a difference of 3.2 points",
        "The engine disagrees.",
        "12 of 320 answers to heldout were cut off at 64 tokens.",
        "3 of 320 questions of heldout got no answer.",
        "20 of 32 answers are the same",
        "No suite guards",
        "Questions were generated from templates",
        "Safety, bias",
        "10 conversations longer than 256 tokens were left out",
        "7 rows could not be read",
        "Training ended after 190 of 200 steps",
    ):
        assert said in told
    assert made.limits[-1] == "It cannot count."


def test_limits_that_are_none_are_not_told(tmp_path: Path) -> None:
    told = limits(card(tmp_path))
    for said in ("did not pass", "cut off", "no answer", "No suite guards", "kept back"):
        assert said not in told


def test_questions_kept_back_from_the_training_data_are_a_limit(tmp_path: Path) -> None:
    made = card(tmp_path, config("qwen3-0.6b-lora-8gb.yaml"), sources={"databricks/databricks-dolly-15k/open_qa": 9})
    assert "kept back from its own training data" in limits(made)
    assert made.sources[0].records == 9


def test_a_broken_evaluation_gets_a_card_that_survives_being_written(tmp_path: Path) -> None:
    broken = suite()
    candidate = broken.subjects[2]
    results = (candidate.results[0].model_copy(update={"scores": {"exact_match": math.nan}}), *candidate.results[1:])
    broken = broken.model_copy(
        update={"subjects": (*broken.subjects[:2], candidate.model_copy(update={"results": results}))}
    )
    rules = (verdict("FAIL").rules[0].model_copy(update={"comparisons": ()}),)
    made = card(tmp_path, report=report(broken), verdict=verdict("FAIL", rules=rules))
    again = ModelCard.model_validate_json(made.model_dump_json())
    assert math.isnan(again.suites[0].scores["exact_match"]["candidate"])
    assert to_markdown(again) == to_markdown(made)
    assert "| 10.0 | 80.0 | – |" in to_markdown(again)  # noqa: RUF001
