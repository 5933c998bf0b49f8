"""What a search found, in numbers, in a log and on a page."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.search.searches import BEGUN, a_search, a_trial, loss_of
from tuneline.config import Config
from tuneline.search.page import search_page
from tuneline.search.report import remaining_seconds, report_of
from tuneline.search.table import standing, text_table
from tuneline.search.trial import Trial

RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 5e-3)


@pytest.fixture
def trials() -> list[Trial]:
    done = []
    for number, rate in enumerate(RATES):
        r = (4, 8, 16)[number % 3]
        values = {"training.learning_rate": rate, "training.r": r}
        done.append(a_trial(number, [loss_of(rate, r) + 0.3, loss_of(rate, r)], **values))
    return [*done, a_trial(8, [5.0], state="pruned"), a_trial(9, state="failed"), a_trial(10, [3.0], state="running")]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return a_search(tmp_path)


def test_the_best_is_the_complete_trial_with_the_lowest_loss(config: Config, trials: list[Trial]) -> None:
    assert report_of(config, trials).best == 4
    low = a_trial(11, [0.1], state="pruned")
    assert report_of(config, [*trials, low]).best == 4
    assert report_of(config, trials[8:]).best is None


def test_the_key_that_decides_is_found(config: Config, trials: list[Trial]) -> None:
    rate, rank = report_of(config, trials).keys
    assert rate.importance is not None and rank.importance is not None
    assert rate.importance > rank.importance
    assert rate.importance + rank.importance == pytest.approx(1)
    assert report_of(config, trials[:4]).keys[0].importance is None


def test_the_time_left_counts_what_ran_at_once_only_once_and_pauses_not_at_all() -> None:
    def at(number: int, begin: int, end: int) -> Trial:
        begun, ended = BEGUN + timedelta(seconds=begin), BEGUN + timedelta(seconds=end)
        return a_trial(number, [1.0]).model_copy(update={"started": begun, "ended": ended})

    assert remaining_seconds([at(0, 0, 60), at(1, 60, 120)], 6) == pytest.approx(240)
    assert remaining_seconds([at(0, 0, 60), at(1, 0, 60)], 6) == pytest.approx(120)
    assert remaining_seconds([at(0, 0, 60), at(1, 9000, 9060)], 6) == pytest.approx(240)


def test_a_log_shows_every_trial_and_how_the_search_stands(config: Config, trials: list[Trial]) -> None:
    report = report_of(config, trials)
    lines = text_table(report).splitlines()
    assert lines[0].split()[:3] == ["trial", "learning_rate", "r"]
    assert re.match(r"4 \* +0\.01 +8 +1\.0000 +complete", lines[5])
    assert "pruned at step 5 of 20" in lines[9]
    assert standing(report).startswith("best so far: trial 4, validation loss 1.0000 with learning_rate 0.01, r 8; ")
    assert "10 of 12 trials done" in standing(report)


def test_the_page_is_well_formed_and_draws_every_trial(config: Config, trials: list[Trial]) -> None:
    html = search_page(report_of(config, trials))
    assert "<script" not in html and "http" not in html.replace("http-equiv", "")
    drawings = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)]
    by_label = {drawing.attrib["aria-label"]: drawing for drawing in drawings}
    judged = 9  # eight complete and one pruned
    assert len(by_label["validation loss by trial"].findall("circle")) == judged
    assert len(by_label["loss by learning_rate"].findall("circle")) == judged
    assert len(by_label["trials by their values"].findall("polyline")) == judged
    assert len(by_label["validation loss by share of the run"].findall("polyline")) == 10
    assert len(by_label["importance"].findall("rect")) == 2
    for drawing in drawings:
        height = float(drawing.attrib["viewBox"].split()[3])
        assert all(0 <= float(dot.attrib["cy"]) <= height for dot in drawing.findall("circle"))


def test_a_page_can_be_drawn_of_a_search_without_a_result(config: Config) -> None:
    html = search_page(report_of(config, [a_trial(0, state="failed")]))
    assert "no trial is complete" in html
