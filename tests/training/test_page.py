"""The page of a training shows its curves and where it came from; that of two shows what differs."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from tests.evaluation.pages import Page
from tuneline.training.beside import beside_page, differences
from tuneline.training.curve import curve_svg, plots
from tuneline.training.page import record_page
from tuneline.training.record import TrainingRecord

SCRIPT = "<script>alert(1)</script>"


def record(name: str, **settings: Any) -> TrainingRecord:
    """A training with these settings."""
    numbers = {"steps": 4, "samples": 100, "supervised_tokens": 500, "final_loss": 0.5, "software": {"torch": "2"}}
    curve = [
        {"step": step, "loss": 2.0 / step, "learning_rate": 1e-3, "tokens_per_second": 50.0, "grad_norm": 1.0}
        for step in (1, 2, 4)
    ]
    curve[1]["validation_loss"] = 1.25
    origin = {
        "settings": {"training": {"r": 8, "scheduler": "cosine"} | settings},
        "data": {"records": 100, "fingerprint": "f" * 64},
        "prompt_sha256": "a" * 64,
        "base_sha256": "b" * 64,
        "environment": {"torch": "2.13", "device": SCRIPT},
    }
    return TrainingRecord(name, numbers, curve, origin)


def test_the_page_shows_curves_numbers_and_origin() -> None:
    html = record_page("devops", record("version 1"))
    text = Page(html).text
    assert html.count("<svg") == 4
    for words in ("final loss 0.500", "training.scheduler", "cosine", "f" * 64, "validation", "2.13"):
        assert words in text
    assert SCRIPT not in html


def test_a_training_of_an_older_tuneline_has_a_page_too() -> None:
    curve: list[dict[str, Any]] = [{"step": 1, "loss": 2.0}, {"step": 4, "loss": 0.0}]
    old = TrainingRecord("version 1", record("").numbers, curve, {})
    assert record_page("devops", old).count("<svg") == 1
    text = Page(beside_page("devops", record("version 2"), old)).text
    assert "version 1 was made before settings and environment were kept" in text


def test_the_pictures_file_is_whole_and_stands_alone() -> None:
    drawn = ElementTree.fromstring(curve_svg(record("").curve))
    assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(drawn.findall(".//{*}polyline")) == 1 and len(drawn.findall(".//{*}circle")) == 1  # one validation
    assert "prefers-color-scheme" in "".join(drawn.itertext())


def test_two_trainings_share_their_plots_and_only_what_differs_is_listed() -> None:
    html = beside_page("devops", record("version 2", r=16, use_rslora=True), record("version 1"))
    text = Page(html).text
    assert "version 2 training" in text and "version 1 validation" in text
    settings = text[text.index("Settings") : text.index("Data")]
    assert "training.r 16 8" in settings and "training.use_rslora yes none" in settings
    assert "cosine" not in settings and "1 other values are the same in both" in settings
    assert "The same in both (4 values)" in text[text.index("Data") : text.index("Environment")]
    assert SCRIPT not in html


def test_values_that_are_equal_are_no_difference() -> None:
    assert differences({"a": 1, "b": [1], "c": None}, {"a": 1, "b": [1], "d": 0}) == {"d": (None, 0)}


def test_a_curve_of_zeros_can_be_drawn() -> None:
    assert plots({"": [{"step": 1, "loss": 0.0}]})
