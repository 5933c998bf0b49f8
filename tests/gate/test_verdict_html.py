"""The verdict's page says at once what was decided, and draws what was asked for beside what was found."""

from __future__ import annotations

import re

import pytest

from tests.evaluation.pages import Page, comparison_of, rule_of, verdict_of
from tuneline.gate.forest import asked
from tuneline.gate.verdict import Outcome
from tuneline.gate.verdict_html import to_html

SCRIPT = "<script>alert('é')</script>"


@pytest.mark.parametrize(
    ("outcome", "meaning", "colour"),
    [
        ("PASS", "this version may move on", "good"),
        ("FAIL", "this version stays where it is", "bad"),
        ("INCONCLUSIVE", "not known yet, so nothing moves", "wait"),
    ],
)
def test_the_page_begins_with_the_outcome_what_it_means_and_why(outcome: Outcome, meaning: str, colour: str) -> None:
    page = Page(to_html(verdict_of(rule_of(comparison_of()), outcome=outcome)))
    assert page.text.startswith(f"Verdict: {outcome} Verdict: {outcome} 1 target and no guards")
    places = [page.text.index(text) for text in (meaning, "The candidate is proven better.", "It beats the champion")]
    assert places == sorted(places)
    assert f'class="outcome {colour}"' in page.html


def test_warnings_stand_above_the_plot() -> None:
    page = Page(to_html(verdict_of(rule_of(comparison_of()), warnings=("The engine DISAGREES.",))))
    assert page.text.index("The engine DISAGREES.") < page.text.index("What was asked")


def test_every_opponent_of_every_rule_has_a_dot_in_the_colour_of_its_outcome() -> None:
    lost = comparison_of(-0.05, opponent="base", opponent_version=None, outcome="FAIL")
    html = to_html(verdict_of(rule_of(comparison_of(), lost), rule_of(comparison_of(outcome="INCONCLUSIVE"))))
    assert re.findall(r'<circle [^>]*fill="var\(--(\w+)\)"', html) == ["good", "bad", "wait"]
    text = Page(html).text
    assert "against the champion (version 3) +20.0 [+10.0 to +30.0]" in text
    assert "against the base model -5.0 [-15.0 to +5.0]" in text


def test_the_shaded_area_begins_at_what_was_asked_for() -> None:
    """Read from the drawing: dot, threshold and zero lie where their numbers say."""
    rule = rule_of(comparison_of(0.1, 0.3), role="guard", threshold=-0.1)
    html = to_html(verdict_of(rule))
    zero, dot, area = (
        float(re.search(pattern, html)[1])  # type: ignore[index]
        for pattern in (
            r'x1="([\d.]+)%"[^>]*stroke="var\(--ink\)"',
            r'<circle cx="([\d.]+)%"',
            r'<rect x="([\d.]+)%"',
        )
    )
    assert dot - zero == pytest.approx(zero - area, abs=0.02)
    assert area < zero < dot
    width = float(re.search(r'<rect x="[\d.]+%" y="0" width="([\d.]+)%"', html)[1])  # type: ignore[index]
    assert area + width == pytest.approx(100)


def test_units_that_cannot_share_an_axis_have_plots_of_their_own() -> None:
    html = to_html(
        verdict_of(
            rule_of(comparison_of(0.2)),
            rule_of(comparison_of(-0.082, 0.05), suite="short", metric="length", role="guard", threshold=-0.1),
            rule_of(comparison_of(0.031, 0.02), suite="style", metric="perplexity", role="guard", threshold=-0.05),
            rule_of(comparison_of(0.1), suite="wide", metric="chrf"),
        )
    )
    assert html.count('<div class="forest">') == 3
    text = Page(html).text
    assert "-8.2 % [-13.2 to -3.2 %]" in text
    assert "+0.031 [+0.011 to +0.051]" in text
    assert text.index("wide chrF") < text.index("Difference in percent")  # points are together


def test_a_rule_that_could_not_be_judged_shows_its_sentence_in_place_of_a_bar() -> None:
    broken = rule_of(suite="tools", outcome="FAIL", sentence=f"Item 17 has no score {SCRIPT}.")
    page = Page(to_html(verdict_of(rule_of(comparison_of()), broken, outcome="FAIL")))
    assert f"Item 17 has no score {SCRIPT}." in page.text
    assert page.tags.count("circle") == 1
    alone = Page(to_html(verdict_of(broken, outcome="FAIL")))
    assert "Item 17 has no score" in alone.text and "The numbers" not in alone.text


def test_a_verdict_without_rules_is_a_page_all_the_same() -> None:
    page = Page(to_html(verdict_of(outcome="FAIL", sentence="The evaluation is broken.")))
    assert "nothing could be compared" in page.text and "The evaluation is broken." in page.text
    assert "svg" not in page.tags


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "exact match must improve"),
        ({"threshold": 0.02}, "exact match must improve by more than 2 points"),
        ({"role": "guard", "threshold": -0.02}, "exact match must not get worse by 2 points or more"),
        ({"role": "guard"}, "exact match must not get worse at all"),
        ({"role": "guard", "threshold": -0.1, "metric": "length"}, "answer length must not get worse by 10 % or more"),
        (
            {"role": "guard", "threshold": -0.05, "metric": "perplexity"},
            "log-perplexity must not get worse by 0.05 nats per token or more",
        ),
    ],
)
def test_what_is_asked_for_is_said_in_the_unit_of_the_metric(changed: dict[str, object], words: str) -> None:
    assert asked(rule_of(**changed)) == words


def test_the_numbers_have_counts_p_values_and_what_more_questions_would_show() -> None:
    given = comparison_of(p_value=0.00001, needed_items=1430)
    page = Page(to_html(verdict_of(rule_of(given, adjusted_p=0.25))))
    row = "heldout, exact match champion (3) 70.0 50.0 +20.0 +10.0 to +30.0 31 7 62 <0.0001 0.25 3.2 1,430"
    assert row in page.text
    assert "95% interval" in page.text


def test_intervals_of_different_confidence_name_it_each() -> None:
    page = Page(to_html(verdict_of(rule_of(comparison_of(), confidence=0.975), rule_of(comparison_of(), suite="b"))))
    assert "+10.0 to +30.0 (97.5%)" in page.text and "+10.0 to +30.0 (95%)" in page.text


def test_how_it_was_decided_names_holm_and_clusters_only_where_they_were_used() -> None:
    plain = Page(to_html(verdict_of(rule_of(comparison_of())))).text
    assert "10,000 times (BCa bootstrap, seed 7)" in plain and "fewer than 50 questions" in plain
    assert "Holm" not in plain and "drawn together" not in plain
    both = Page(to_html(verdict_of(rule_of(comparison_of(clusters=20)), rule_of(comparison_of(), suite="b")))).text
    assert "Holm" in both and "drawn together" in both


def test_what_people_wrote_is_text_and_never_markup() -> None:
    rule = rule_of(comparison_of(opponent_version=SCRIPT), suite="heldout", sentence=SCRIPT)
    page = Page(to_html(verdict_of(rule, sentence=f"{SCRIPT}. {SCRIPT}", warnings=(SCRIPT,))))
    assert page.text.count(SCRIPT) == 5  # twice in the sentence, the warning, the plot, the numbers
    assert "script" not in page.tags
