"""The metrics by name: what they are called for people, what they measure in, and which way is better.

The library that computes each of them is behind ``tuneline.evaluation.metrics``; this much of it is
known before anything heavy is imported, because the config names metrics and the gate words verdicts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

Source = Literal["reference", "check", "answer", "model", "other"]


@dataclass(frozen=True)
class MetricSpec:
    """What is known of a metric without computing it.

    Attributes:
        name: as configs and reports have it.
        label: for people.
        source: what it is computed from: an answer beside its ``reference``, an item's own ``check``, the
            ``answer`` alone, the ``model`` (log-probabilities), or something of the suite's own (``other``).
        higher_is_better: which way is better.
        unit: of the values. ``points`` are 0 to 1 and shown as 0 to 100.
        relative: whether differences are taken as shares of the opponent's mean (0.1 is ten percent).
    """

    name: str
    label: str
    source: Source = "reference"
    higher_is_better: bool = True
    unit: str = "points"
    relative: bool = False


_SPECS = (
    MetricSpec("exact_match", "exact match"),
    MetricSpec("f1", "F1 of words"),
    MetricSpec("chrf", "chrF"),
    MetricSpec("bleu", "BLEU"),
    MetricSpec("rouge_1", "ROUGE-1"),
    MetricSpec("rouge_l", "ROUGE-L"),
    MetricSpec("check", "checks passed", source="check"),
    MetricSpec("perplexity", "log-perplexity", source="model", higher_is_better=False, unit="nats per token"),
    MetricSpec("length", "answer length", source="answer", higher_is_better=False, unit="tokens", relative=True),
    MetricSpec("latency", "time per answer", source="other", higher_is_better=False, unit="seconds", relative=True),
    MetricSpec("preference", "preference of the judge", source="other"),
)
METRICS: dict[str, MetricSpec] = {spec.name: spec for spec in _SPECS}
# Those that a config may name; the others belong to suites of their kind.
NAMED = tuple(spec.name for spec in _SPECS if spec.source != "other")


def metric_spec(name: str) -> MetricSpec:
    """What is known of a metric. Of a script or of lm-eval it is that it gives 0 (worst) to 1."""
    return METRICS.get(name) or MetricSpec(name, name.replace("_", " "), source="other")


def metric_name(given: str) -> str:
    """A metric's name in reports: its own, or the stem of its script's path."""
    return Path(given).stem if given.endswith(".py") else given


def _known(given: str) -> str:
    if given in NAMED:
        return given
    if given.endswith(".py"):
        if Path(given).stem in METRICS:
            raise ValueError(f"the script {given!r} has the name of a metric of tuneline: rename it")
        return given
    raise ValueError(f"{given!r} is no metric that tuneline knows")


# A metric of tuneline's, or the path of a script for the `evaluate` library.
Metric = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": [*NAMED, "path/to/metric.py"]})]
