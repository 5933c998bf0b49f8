"""What makes a version the same version."""

from __future__ import annotations

import pytest

from controlplane.lineage import training_key
from tuneline.config import load_config
from tuneline.paths import CONFIGS

pytestmark = pytest.mark.zenml

SUITES = (
    "evaluation.suites=[{type: heldout, name: heldout, role: target}, {type: questions, name: more, "
    "sources: [{type: synthetic, tools: [dvc], size: 60, split: eval}]}]"
)


def key(*overrides: str) -> str:
    return training_key(load_config(CONFIGS / "tiny.yaml", [SUITES, *overrides]))


@pytest.mark.parametrize(
    "override",
    [
        "model.license=mit",
        "data.sources.0.license=mit",
        "data.evaluation.sources.0.license=mit",
        "evaluation.suites.1.sources.0.license=mit",
        "card.limits=[It is small.]",
        "card.license=mit",
    ],
)
def test_a_corrected_licence_or_word_of_the_card_trains_nothing_again(override: str) -> None:
    assert key(override) == key()


@pytest.mark.parametrize(
    "override",
    [
        "model.dtype=float32",
        "data.evaluation.sources.0.size=321",
        "evaluation.suites.1.sources.0.size=61",
        "gate.confidence=0.9",
    ],
)
def test_what_is_judged_and_how_does(override: str) -> None:
    assert key(override) != key()
