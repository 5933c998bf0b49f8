"""What was evaluated is what is served, or it is not released."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tuneline.release.parity import GoldenPrompt, check_parity
from tuneline.release.parity_page import parity_page

GOLDEN = [
    GoldenPrompt(
        id=f"eval-{n}", prompt_ids=(1, 2), completion_ids=(3, 4), logprobs=(-0.1, -0.2), base_logprobs=(-5.0, -6.0)
    )
    for n in range(4)
]


def _served(values: tuple[float, float]):  # type: ignore[no-untyped-def]
    def ask(prompt: Sequence[int], completion: Sequence[int]) -> Sequence[float]:
        return values

    return ask


def test_rounding_passes() -> None:
    report = check_parity(GOLDEN, _served((-0.101, -0.195)), model_version="2", tolerance=0.05)
    assert report.passed
    assert report.largest_difference == pytest.approx(0.003)
    assert report.largest_token_difference == pytest.approx(0.005)
    assert "reproduces its evaluation" in report.sentence


def test_one_improbable_token_that_rounding_moves_far_is_not_another_adapter() -> None:
    ids = tuple(range(40))
    golden = GoldenPrompt(
        id="eval-0", prompt_ids=(1,), completion_ids=ids, logprobs=(-0.1,) * 40, base_logprobs=(-5.0,) * 40
    )
    served = (-1.0, *golden.logprobs[1:])
    report = check_parity([golden], lambda *_: served, model_version="2", tolerance=0.05)
    assert report.passed
    assert report.largest_token_difference == pytest.approx(0.9)
    assert "single token: 0.900" in report.sentence


def test_one_prompt_that_differs_among_many_that_do_not_is_refused() -> None:
    strange = GOLDEN[0].model_copy(update={"id": "long", "logprobs": (-1.0, -1.0)})
    report = check_parity([*GOLDEN * 8, strange], _served((-0.1, -0.2)), model_version="2", tolerance=0.05)
    assert not report.passed


def test_another_adapter_is_refused() -> None:
    report = check_parity(GOLDEN, _served((-0.1, -0.9)), model_version="2", tolerance=0.05)
    assert not report.passed
    assert "does not reproduce" in report.sentence


def test_an_adapter_that_the_engine_ignores_is_refused() -> None:
    report = check_parity(GOLDEN, _served((-5.0, -6.0)), model_version="2", tolerance=0.05)
    assert not report.passed
    assert "the engine ignores the adapter" in report.sentence


def test_a_weak_adapter_that_the_engine_ignores_is_refused_although_the_tolerance_would_allow_it() -> None:
    weak = [golden.model_copy(update={"base_logprobs": (-0.13, -0.23)}) for golden in GOLDEN]
    ignored = check_parity(weak, _served((-0.131, -0.229)), model_version="2", tolerance=0.25)
    assert ignored.largest_difference < 0.25
    assert not ignored.passed and "ignores the adapter" in ignored.sentence
    assert check_parity(weak, _served((-0.101, -0.199)), model_version="2", tolerance=0.25).passed


def test_an_adapter_that_does_nothing_is_refused_even_if_it_was_evaluated_as_nothing() -> None:
    silent = [golden.model_copy(update={"logprobs": golden.base_logprobs}) for golden in GOLDEN]
    report = check_parity(silent, _served((-5.01, -6.0)), model_version="2", tolerance=0.05)
    assert report.largest_difference < 0.05
    assert not report.passed
    assert "its adapter does nothing" in report.sentence


def test_of_a_whole_model_the_weights_are_what_is_looked_for() -> None:
    def check(served: tuple[float, float], golden: Sequence[GoldenPrompt] = GOLDEN):  # type: ignore[no-untyped-def]
        return check_parity(golden, _served(served), model_version="2", tolerance=0.05, whole_model=True)

    assert check((-0.101, -0.195)).passed
    original = check((-5.0, -6.0))
    assert not original.passed and "the engine has other weights" in original.sentence
    untrained = [golden.model_copy(update={"logprobs": golden.base_logprobs}) for golden in GOLDEN]
    nothing = check((-5.0, -6.0), untrained)
    assert not nothing.passed and "its weights are the base model's" in nothing.sentence


def test_no_golden_prompts_is_an_error_and_not_a_pass() -> None:
    with pytest.raises(ValueError, match="no golden prompts"):
        check_parity([], _served((0.0, 0.0)), model_version="2", tolerance=0.05)


def test_a_missing_token_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        check_parity(GOLDEN, lambda *_: (-0.1,), model_version="2", tolerance=0.05)


def test_the_page_shows_the_worst_prompt_first() -> None:
    report = check_parity(GOLDEN, _served((-0.1, -0.9)), model_version="2", tolerance=0.05)
    assert "Parity: refused" in parity_page(report)
