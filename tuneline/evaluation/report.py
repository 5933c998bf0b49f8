"""The evaluation report: every question, every answer, every score, so that any verdict can be recomputed."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tuneline.config.metrics import metric_spec
from tuneline.config.suites import SuiteRole
from tuneline.data.records import Message
from tuneline.prompts.template import PromptTemplate
from tuneline.release.parity import GoldenPrompt

Role = Literal["base", "champion", "candidate"]
SuiteKind = Literal["heldout", "questions", "prompts", "lm_eval", "judge", "latency"]
Engine = Literal["transformers", "vllm", "endpoint"]


def metric_label(metric: str) -> str:
    """A metric's name for people."""
    return metric_spec(metric).label


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


class Check(_Document):
    """What an answer must fulfil where there is no one right answer.

    Attributes:
        kind: ``contains`` and ``not_contains`` a text, ``regex`` found in it, ``exact`` text, ``number`` (the last
            one in the answer) within ``tolerance``, ``json_schema`` that the answer as JSON fulfils, ``parses`` as
            ``python``, ``json`` or ``yaml``.
        value: the text, the pattern, the number, the schema, or the language.
        tolerance: of ``number``, absolute.
        ignore_case: of ``contains``, ``not_contains``, ``regex`` and ``exact``.
    """

    kind: Literal["contains", "not_contains", "regex", "exact", "number", "json_schema", "parses"]
    value: str | float | dict[str, Any]
    tolerance: float = Field(default=0.0, ge=0)
    ignore_case: bool = False


class EvaluationItem(_Document):
    """A question. ``messages`` is everything before the answer; ``reference`` is empty where only checks decide."""

    id: str
    source: str
    messages: tuple[Message, ...] = Field(min_length=1)
    reference: str = ""
    checks: tuple[Check, ...] = ()
    tools: tuple[dict[str, Any], ...] | None = None


class ItemResult(_Document):
    """One subject's answer to one item.

    Attributes:
        id: the item.
        completion: the answer as the endpoint would return it.
        scores: by metric, in the metric's own unit (points are 0 to 1).
        prompt_tokens: tokens of the rendered prompt.
        completion_tokens: tokens of the answer, the one that ends it included.
        finished: whether it ended by itself, not at ``max_new_tokens``.
        error: why there is no answer (the engine refused it, the request failed); None if there is one.
    """

    id: str
    completion: str
    scores: dict[str, float]
    prompt_tokens: int
    completion_tokens: int
    finished: bool
    error: str | None = None


class SubjectResult(_Document):
    """Who answered, and all of the answers, in the order of the items.

    Attributes:
        role: base model alone, champion (in production) or candidate.
        version: the model version, None for the base model.
        adapter_sha256: fingerprint of the adapter, None for the base model.
        prompt: the template around the questions.
        results: one per item.
        seconds: generation alone; of all subjects together where they were answered in the same batches.
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


class Preferences(_Document):
    """What a judge said of the candidate beside one opponent.

    Attributes:
        opponent: whose answers the candidate's were compared with.
        values: per item, the mean of both orders: 1 candidate preferred, -1 opponent preferred, 0 a tie (or the two
            orders contradict each other); NaN where the judge gave no usable answer.
        agreement: share of items on which both orders came to the same result.
    """

    opponent: Role
    values: tuple[float, ...]
    agreement: float


class SuiteReport(_Document):
    """Base model, champion (if there is one) and candidate on the items of one suite.

    Attributes:
        name: of the suite, unique in the report.
        kind: where its items come from.
        role: what it decides.
        primary: the metric that decides and leads.
        metrics: all of them.
        min_difference: what a target's difference must exceed, in units of ``primary``; None leaves it to the gate.
        margin: what a guard may lose, in units of ``primary`` (of a relative metric a share); None leaves it to
            the gate.
        min_items: with fewer questions nothing is decided; None leaves it to the gate.
        items: the questions.
        subjects: who was asked. No champion means that none is in production.
        preferences: of a judge; then ``primary`` is ``preference`` and the subjects' results hold no scores for it.
        note: what else a reader should know, in a sentence.
    """

    name: str
    kind: SuiteKind = "heldout"
    role: SuiteRole = "target"
    primary: str
    metrics: tuple[str, ...] = Field(min_length=1)
    min_difference: float | None = None
    margin: float | None = None
    min_items: int | None = None
    items: tuple[EvaluationItem, ...]
    subjects: tuple[SubjectResult, ...]
    preferences: tuple[Preferences, ...] = ()
    note: str = ""

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

    def preferences_over(self, opponent: Role) -> Preferences | None:
        """What the judge said of the candidate beside an opponent, None if it was not asked."""
        return next((found for found in self.preferences if found.opponent == opponent), None)

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
        """Every subject's mean of every metric that has scores."""
        return {
            subject.role: {
                metric: self.mean(subject.role, metric)
                for metric in self.metrics
                if subject.results and all(metric in result.scores for result in subject.results)
            }
            for subject in self.subjects
        }


class EngineAgreement(_Document):
    """Another engine's answers beside those of transformers, on the candidate's golden prompts.

    Attributes:
        items: how many were compared.
        same: how many answers are the same text.
        least: share that must be the same.
    """

    items: int
    same: int
    least: float

    @property
    def agrees(self) -> bool:
        """Whether the engine answers as the reference does."""
        return self.same >= self.least * self.items

    @property
    def sentence(self) -> str:
        """The result in words."""
        verb = "agrees" if self.agrees else "DISAGREES"
        return (
            f"The engine {verb} with transformers: {self.same} of {self.items} answers are the same "
            f"({self.least:.0%} must be)"
        )


class EvaluationReport(_Document):
    """Base model, champion (if there is one) and candidate on the same items, suite by suite.

    Attributes:
        base_model: the base model's name.
        engine: who generated the answers.
        decoding: the same for all subjects.
        suites: at least one; the first target leads.
        golden: what the served candidate must reproduce before it gets traffic.
        agreement: None if transformers itself answered.
    """

    schema_version: Literal[2] = 2
    base_model: str
    engine: Engine = "transformers"
    decoding: Decoding
    suites: tuple[SuiteReport, ...] = Field(min_length=1)
    golden: tuple[GoldenPrompt, ...] = ()
    agreement: EngineAgreement | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_version_1(cls, given: Any) -> Any:
        """Version 1 had one set of items, at the top."""
        if not isinstance(given, dict) or given.get("schema_version") != 1:
            return given
        inner = ("primary", "metrics", "items", "subjects")
        suite = {"name": "heldout", **{key: given[key] for key in inner if key in given}}
        outer = {key: value for key, value in given.items() if key not in inner}
        return {**outer, "schema_version": 2, "suites": [suite]}

    @model_validator(mode="after")
    def _each_suite_once(self) -> Self:
        names = [suite.name for suite in self.suites]
        if len(set(names)) != len(names):
            raise ValueError(f"the suites {names} are not all different")
        return self

    @property
    def lead(self) -> SuiteReport:
        """The suite that stands on top: the first target."""
        return next((suite for suite in self.suites if suite.role == "target"), self.suites[0])

    def suite(self, name: str) -> SuiteReport | None:
        """Find a suite by its name, None if there is none."""
        return next((suite for suite in self.suites if suite.name == name), None)

    def scores(self, role: Role) -> dict[str, float]:
        """A subject's means: those of the leading suite by metric, those of the others by ``suite/metric``."""
        return {
            metric if suite is self.lead else f"{suite.name}/{metric}": score
            for suite in self.suites
            for metric, score in suite.means().get(role, {}).items()
        }

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
