"""Two engines agree when enough of their answers are the same text."""

from __future__ import annotations

import pytest

from tuneline.evaluation.engines.agreement import agreement


def test_answers_that_are_the_same_text_are_counted() -> None:
    found = agreement(["a", "b", "c", "x"], ["a", "b", "c", "d"], least=0.75)
    assert (found.items, found.same, found.agrees) == (4, 3, True)
    assert not agreement(["a", "x"], ["a", "b"], least=0.9).agrees


def test_nothing_to_compare_and_different_numbers_are_no_agreement() -> None:
    with pytest.raises(ValueError, match="no answers"):
        agreement([], [], least=0.9)
    with pytest.raises(ValueError, match="zip"):
        agreement(["a"], ["a", "b"], least=0.9)
