"""The report's page: the verdict on top, the scores by suite, the worst regressions first; text is text."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from tests.evaluation.pages import Page, comparison_of, item_of, report_with, rule_of, suite_of, verdict_of
from tuneline.evaluation.report import Check, EngineAgreement, EvaluationItem, Preferences, SuiteReport
from tuneline.evaluation.report_html import to_html

SCRIPT = "<script>alert('x')</script> & \"quotes\""


def answers(suite: SuiteReport, role: str, **changed: Any) -> SuiteReport:
    """The suite with something changed in each of a subject's results."""
    return suite.model_copy(
        update={
            "subjects": tuple(
                subject.model_copy(update={"results": tuple(r.model_copy(update=changed) for r in subject.results)})
                if subject.role == role
                else subject
                for subject in suite.subjects
            )
        }
    )


def shown(html: str) -> list[str]:
    """The questions of the page in their order."""
    return re.findall(r'<p class="q" dir="auto">Question (\d+)\?', html)


def test_a_verdict_stands_above_the_scores_with_its_forest_plot() -> None:
    report = report_with(suite_of({"champion": [0.0], "candidate": [1.0]}))
    page = Page(to_html(report, verdict_of(rule_of(comparison_of()))))
    places = [page.text.index(text) for text in ("✓ PASS", "What was asked", "Scores, points", "Better than champion")]
    assert places == sorted(places)
    assert "circle" in page.tags
    assert "What was asked" not in Page(to_html(report)).text


def test_means_that_the_gate_lowered_for_answers_that_were_cut_off_are_explained() -> None:
    report = report_with(suite_of({"champion": [0.0], "candidate": [1.0]}))
    explained = "The gate counted those of the candidate's answers that were cut off as wrong"
    assert explained in Page(to_html(report, verdict_of(rule_of(comparison_of(), truncated=2)))).text
    assert explained not in Page(to_html(report, verdict_of(rule_of(comparison_of())))).text


def test_regressions_against_the_champion_come_worst_first_and_before_gains() -> None:
    html = to_html(report_with(suite_of({"base": [0] * 4, "champion": [0.9, 1, 0, 1], "candidate": [0.8, 0, 1, 1]})))
    assert "Worse than champion (version 3): 2" in html
    assert "Better than champion (version 3): 1" in html
    assert shown(html) == ["1", "0", "2"]


def test_where_lower_is_better_the_longest_answer_is_the_worst() -> None:
    suite = suite_of({"champion": [20, 20, 20], "candidate": [25, 90, 5]}, metric="length")
    html = to_html(report_with(suite))
    assert "Worse than champion (version 3): 2" in html
    assert shown(html) == ["1", "0", "2"]
    assert '<b class="bad">-70.0</b>' in html and '<b class="good">+15.0</b>' in html
    assert "answer length, tokens (lower is better)" in Page(html).text


def test_without_a_champion_the_base_model_is_the_opponent() -> None:
    assert "Worse than base: 1" in to_html(report_with(suite_of({"base": [1, 0], "candidate": [0, 1]})))


def test_every_suite_has_a_block_that_leads_to_its_answers() -> None:
    guard = suite_of({"candidate": [0.82]}, name="style", metric="perplexity", role="guard", note="By hand.")
    html = to_html(report_with(suite_of({"candidate": [0.5, 1.0]}), guard))
    text = Page(html).text
    assert "heldout target: must improve 2 questions" in text and "candidate 75.0" in text
    assert "style guard: must not get worse 1 questions By hand." in text and "candidate 0.820" in text
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(re.findall(r'id="([^"]+)"', html))


def test_answers_that_were_cut_off_empty_or_never_came_are_told() -> None:
    suite = suite_of({"base": [0], "champion": [1], "candidate": [0]})
    suite = answers(suite, "candidate", finished=False, completion=" ")
    suite = answers(suite, "base", error="the engine refused it", completion="")
    page = Page(to_html(report_with(suite)))
    for words in ("cut off", "(empty)", "the engine refused it"):
        assert words in page.text
    assert "tokens per answer no answer" in page.text


def test_what_differs_from_the_right_answer_is_marked() -> None:
    suite = answers(suite_of({"champion": [1], "candidate": [0]}), "candidate", completion="right <1>")
    html = to_html(report_with(suite))
    assert "right <mark>&lt;1&gt;</mark>" in html
    assert re.search(r"right answer</h5><pre[^>]*>right 0</pre>", html)


def test_checks_stand_where_there_is_no_right_answer() -> None:
    item = EvaluationItem(
        id="a",
        source="s",
        messages=item_of(0).messages,
        checks=(Check(kind="not_contains", value="sudo"), Check(kind="json_schema", value={"type": "object"})),
    )
    suite = suite_of({"base": [1], "candidate": [0]}, metric="check", items=[item])
    text = Page(to_html(report_with(suite))).text
    assert "not contains: sudo" in text and 'json schema: {"type": "object"}' in text
    assert "right answer" not in text


def test_a_judges_preferences_are_shown_with_the_answers_it_saw() -> None:
    judged = Preferences(opponent="champion", values=(1.0, -1.0, 0.0, math.nan), agreement=0.75)
    suite = suite_of({"champion": [0] * 4, "candidate": [0] * 4}, kind="judge", role="report")
    suite = answers(answers(suite, "champion", scores={}), "candidate", scores={})
    suite = suite.model_copy(
        update={"primary": "preference", "metrics": ("preference",), "preferences": (judged,), "name": "judged"}
    )
    html = to_html(report_with(suite))
    text = Page(html).text
    assert "won 33%, tied 33%, lost 33%. In both orders the judge said the same of 75%" in text
    assert "No usable answer on 1 of 4 questions." in text
    assert shown(html) == ["1", "0"]
    assert "candidate says 1" in text


@pytest.mark.parametrize(("same", "verb"), [(10, "agrees"), (2, "DISAGREES")])
def test_whether_the_engine_agrees_with_transformers_is_said(same: int, verb: str) -> None:
    report = report_with(suite_of({"candidate": [1.0]}), agreement=EngineAgreement(items=10, same=same, least=0.9))
    html = to_html(report)
    assert f"The engine {verb} with transformers" in html
    assert ('<p class="warning">The engine' in html) == (verb == "DISAGREES")


def test_slices_have_the_means_and_a_difference_in_the_colour_of_its_sign() -> None:
    items = [item_of(place, source=source) for place, source in enumerate(["git", "helm"])]
    html = to_html(report_with(suite_of({"champion": [1, 0], "candidate": [0, 1]}, items=items)))
    assert "git -100.0 0.0 100.0 1 helm +100.0 100.0 0.0 1" in Page(html).text
    assert '<td class="number bad">-100.0</td>' in html and '<td class="number good">+100.0</td>' in html


def test_a_broken_evaluation_is_a_page_all_the_same() -> None:
    suite = suite_of({"base": [0.0, 1.0], "candidate": [1.0, math.nan]})
    text = Page(to_html(report_with(suite))).text
    assert "100.0 (1 without a score)" in text
    short = suite.subjects[1].model_copy(update={"results": suite.subjects[1].results[:1]})
    Page(to_html(report_with(suite.model_copy(update={"subjects": (suite.subjects[0], short)}))))
    Page(to_html(report_with(suite_of({"candidate": []}, items=[]))))


def test_a_large_suite_with_long_answers_makes_a_page_that_a_browser_opens() -> None:
    count = 4_000
    items = [item_of(place, source=f"source {place}") for place in range(count)]
    suite = suite_of({"champion": [1.0] * count, "candidate": [0.0] * count}, items=items)
    html = to_html(report_with(answers(suite, "candidate", completion="very long " * 2_000)))
    assert len(html) < 1_000_000
    assert "3,975 more are in the report's JSON" in html
    assert "3,800 more are in the report's JSON" in html  # of the sources
    assert "(17,000 characters more)" in html


def test_what_people_and_models_wrote_is_text_and_the_page_stands_alone() -> None:
    item = item_of(0, f"</p><img src=x onerror=alert(1)>{SCRIPT}", source=f"<i>{SCRIPT}</i>", reference=SCRIPT)
    other = item_of(1, source="b", id=SCRIPT)
    suite = suite_of({"base": [0, 1], "champion": [0, 1], "candidate": [1, 0]}, items=[item, other], note=SCRIPT)
    suite = answers(suite, "candidate", completion=SCRIPT)
    html = to_html(report_with(suite, base_model=SCRIPT), title=SCRIPT, note=SCRIPT)
    page = Page(html)
    assert not {"script", "img", "link", "iframe"} & set(page.tags)
    assert not re.search(r"https?://|url\(|<i>", html)
    assert page.text.count("alert('x')") >= 8
