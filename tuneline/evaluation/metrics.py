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
from typing import Any

from tuneline.config.metrics import METRICS, metric_name
from tuneline.errors import TunelineError, UserError

# The metrics that compare an answer with a reference; those of the answer alone and of the model come from elsewhere.
SCORED = tuple(spec.name for spec in METRICS.values() if spec.source == "reference")

_SCRIPTS = Path(__file__).parent / "metric_scripts"
_ROUGE = {"rouge_1": "rouge1", "rouge_l": "rougeL"}


def score(metric: str, completions: Sequence[str], references: Sequence[str]) -> list[float]:
    """Score every completion against its reference.

    Args:
        metric: one of ``SCORED``, or the path of a script (``*.py``) for ``evaluate`` whose ``compute`` takes
            ``predictions`` and ``references`` and returns ``{"scores": [...]}``, one per item.
        completions: the answers.
        references: the right answers.

    Returns:
        One score per item, from 0 (worst) to 1.

    Raises:
        ValueError: the metric is unknown, or there are not as many completions as references.
        UserError: a script cannot be loaded.
        TunelineError: the metric failed, or gave something that is no score.
    """
    if metric not in SCORED and not metric.endswith(".py"):
        raise ValueError(f"unknown metric {metric!r}: choose from {', '.join(SCORED)}")
    if len(completions) != len(references):
        raise ValueError(f"{len(completions)} completions for {len(references)} references")
    if not completions:
        return []
    script, name = _load(metric), metric_name(metric)
    try:
        result = script.compute(predictions=list(completions), references=list(references))
    except Exception as error:  # a script may raise anything
        raise _broken(name, f"failed ({type(error).__name__}: {error})") from error
    given = result.get("scores") if isinstance(result, dict) else None
    if given is None or not hasattr(given, "__len__"):
        keys = f"a dictionary with {', '.join(map(repr, result))}" if isinstance(result, dict) else repr(result)
        raise _broken(name, f'gave {keys[:200]} and no list of "scores"')
    if len(given) != len(completions):
        raise _broken(name, f"gave {len(given)} scores for {len(completions)} items")
    return [_checked(value, name, place, len(completions)) for place, value in enumerate(given, 1)]


def _checked(value: object, name: str, place: int, items: int) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]  # numpy's numbers are welcome
    except (TypeError, ValueError):
        number = math.nan
    # Sums of floats may end a hair outside.
    if not (math.isfinite(number) and -1e-9 <= number <= 1 + 1e-9):
        raise _broken(name, f"gave {value!r} for item {place} of {items}, where a number from 0 to 1 belongs")
    return min(max(number, 0.0), 1.0)


def _broken(name: str, what: str) -> TunelineError:
    return TunelineError(f"The metric {name!r} {what}: the evaluation is broken and proves nothing.")


@cache
def _load(metric: str) -> Any:
    import evaluate  # takes seconds to import

    script = metric if metric.endswith(".py") else str(_SCRIPTS / f"{'rouge' if metric in _ROUGE else metric}.py")
    try:
        # In memory: it would otherwise write every item to a cache in the user's home directory.
        return evaluate.load(script, config_name=_ROUGE.get(metric), keep_in_memory=True)
    except Exception as error:  # whatever the script's first lines raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"The metric script {metric!r} cannot be loaded: {reason}",
            hint="It must hold a subclass of evaluate.Metric and import one module a line.",
        ) from error
