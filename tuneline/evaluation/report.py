"""The evaluation report: every question, every answer, every score, so that any verdict can be recomputed."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tuneline.data.records import Message
from tuneline.prompts.template import PromptTemplate
from tuneline.release.parity import GoldenPrompt

Role = Literal["base", "champion", "candidate"]
_METRIC_LABELS = {"exact_match": "exact match", "chrf": "chrF", "rouge_l": "ROUGE-L"}


def metric_label(metric: str) -> str:
    """A metric's name for people."""
    return _METRIC_LABELS.get(metric, metric.replace("_", " "))


class _Document(BaseModel):
    # A NaN must survive being written and read, or the gate could not refuse it.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class Decoding(_Document):
    """How answers were made. Always greedy: the most likely token each time.

    Attributes:
        max_new_tokens: longest answer, tokens.
        batch_size: questions answered at once.
        dtype: of the base model's weights and activations.
        quantization: of the base model's weights, if any.
        stop_ids: token ids that end an answer.
    """

    max_new_tokens: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    dtype: str = "bfloat16"
    quantization: str | None = None
    stop_ids: tuple[int, ...] = ()


class EvaluationItem(_Document):
    """A question with its right answer. ``messages`` is everything before the answer."""

    id: str
    source: str
    messages: tuple[Message, ...] = Field(min_length=1)
    reference: str


class ItemResult(_Document):
    """One subject's answer to one item.

    Attributes:
        id: the item.
        completion: the answer as the endpoint would return it.
        scores: 0 to 1, by metric.
        prompt_tokens: tokens of the rendered prompt.
        completion_tokens: tokens of the answer, the one that ends it included.
        finished: whether it ended by itself, not at ``max_new_tokens``.
    """

    id: str
    completion: str
    scores: dict[str, float]
    prompt_tokens: int
    completion_tokens: int
    finished: bool


class SubjectResult(_Document):
    """Who answered, and all of the answers, in the order of the items.

    Attributes:
        role: base model alone, champion (in production) or candidate.
        version: the model version, None for the base model.
        adapter_sha256: fingerprint of the adapter, None for the base model.
        prompt: the template around the questions.
        results: one per item.
        seconds: generation alone.
    """

    role: Role
    version: str | None = None
    adapter_sha256: str | None = None
    prompt: PromptTemplate = PromptTemplate()
    results: tuple[ItemResult, ...]
    seconds: float = 0.0

    @property
    def label(self) -> str:
        """For people: ``champion (version 3)``."""
        return self.role if self.version in (None, self.role) else f"{self.role} (version {self.version})"


class SourceScores(_Document):
    """A row of the per-source table: how many items the source has, and each subject's mean."""

    source: str
    items: int
    means: dict[Role, float]


class EvaluationReport(_Document):
    """Base model, champion (if there is one) and candidate on the same items.

    Attributes:
        base_model: the base model's name.
        primary: the metric that leads.
        metrics: all of them.
        decoding: the same for all subjects.
        items: the questions.
        subjects: who was asked. No champion means that none is in production.
        golden: what the served candidate must reproduce before it gets traffic.
    """

    schema_version: Literal[1] = 1
    base_model: str
    primary: str
    metrics: tuple[str, ...] = Field(min_length=1)
    decoding: Decoding
    items: tuple[EvaluationItem, ...]
    subjects: tuple[SubjectResult, ...]
    golden: tuple[GoldenPrompt, ...] = ()

    @model_validator(mode="after")
    def _each_role_once(self) -> Self:
        roles = [subject.role for subject in self.subjects]
        if len(set(roles)) != len(roles):
            raise ValueError(f"the roles {roles} are not all different")
        if self.primary not in self.metrics:
            raise ValueError(f"the primary metric {self.primary!r} is none of {', '.join(self.metrics)}")
        return self

    def subject(self, role: Role) -> SubjectResult | None:
        """Find a subject, None if it was not asked."""
        return next((subject for subject in self.subjects if subject.role == role), None)

    def mean(self, role: Role, metric: str) -> float:
        """A subject's mean score.

        Raises:
            KeyError: the subject was not asked, or an item has no such score.
        """
        subject = self.subject(role)
        if subject is None:
            raise KeyError(role)
        return fmean(result.scores[metric] for result in subject.results)

    def means(self) -> dict[Role, dict[str, float]]:
        """Every subject's mean of every metric."""
        return {
            subject.role: {metric: self.mean(subject.role, metric) for metric in self.metrics}
            for subject in self.subjects
        }

    def by_source(self, metric: str) -> list[SourceScores]:
        """Means per source, in alphabetical order."""
        places: dict[str, list[int]] = {}
        for place, item in enumerate(self.items):
            places.setdefault(item.source, []).append(place)
        return [
            SourceScores(
                source=source,
                items=len(own),
                means={s.role: fmean(s.results[place].scores[metric] for place in own) for s in self.subjects},
            )
            for source, own in sorted(places.items())
        ]

    def save(self, path: Path) -> None:
        """Write the report as JSON."""
        path.write_text(self.model_dump_json(indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a report that ``save`` wrote.

        Raises:
            FileNotFoundError: there is none.
            pydantic.ValidationError: the file is no report.
        """
        return cls.model_validate_json(path.read_text(encoding="utf-8"))
