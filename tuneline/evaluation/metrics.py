"""Scores per item through the ``evaluate`` library, with metric scripts of our own in ``metric_scripts/``.

``evaluate.load("exact_match")`` downloads its script from the hub and so fails without a connection;
loading a script by its path does not. Ours return every item's score, which the paired test needs,
where the hub's return the mean alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from tuneline.errors import TunelineError

Metric = Literal["exact_match", "chrf", "rouge_l"]
METRICS: tuple[Metric, ...] = get_args(Metric)

_SCRIPTS = Path(__file__).parent / "metric_scripts"


def score(metric: str, completions: Sequence[str], references: Sequence[str]) -> list[float]:
    """Score every completion against its reference.

    Returns:
        One score per item, from 0 (worst) to 1.

    Raises:
        ValueError: the metric is unknown, or there are not as many completions as references.
        TunelineError: the metric gave something that is no score.
    """
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}: choose from {', '.join(METRICS)}")
    if len(completions) != len(references):
        raise ValueError(f"{len(completions)} completions for {len(references)} references")
    if not completions:
        return []
    result = _load(metric).compute(predictions=list(completions), references=list(references))
    scores = [float(value) for value in result["scores"]]
    wrong = next((value for value in scores if not (math.isfinite(value) and -1e-9 <= value <= 1 + 1e-9)), None)
    if wrong is not None or len(scores) != len(completions):
        raise TunelineError(
            f"The metric {metric!r} gave {len(scores)} scores for {len(completions)} items"
            + (f", one of them {wrong}" if wrong is not None else "")
            + ": the evaluation is broken and proves nothing."
        )
    return [min(max(value, 0.0), 1.0) for value in scores]


@cache
def _load(metric: str) -> Any:
    import evaluate  # takes seconds to import

    # In memory: it would otherwise write every item to a cache in the user's home directory.
    return evaluate.load(str(_SCRIPTS / f"{metric}.py"), keep_in_memory=True)
