"""The model card as facts; how they read is in ``sections``, ``markdown`` and ``page``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from tuneline.config import CardConfig, TrainingConfig
from tuneline.data.dataset import DatasetSummary
from tuneline.evaluation.report import Role
from tuneline.gate.verdict import Verdict
from tuneline.prompts.template import PromptTemplate


class _Document(BaseModel):
    # A broken evaluation has NaN in it, and a card must still be written for it.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class BaseFacts(_Document):
    """The base model.

    Attributes:
        name: hub id, or the name of its folder.
        is_hub: whether ``name`` is a hub id.
        sha256: what identifies the weights (see ``controlplane.bases.base_sha256``).
        dtype: of the frozen weights.
        quantization: of the frozen weights in training.
    """

    name: str
    is_hub: bool
    revision: str | None
    license: str | None
    sha256: str
    dtype: str
    quantization: str


class SourceFacts(_Document):
    """A source of training data.

    Attributes:
        name: hub id, name of the file, or the generator's tools.
        kind: as in the config.
        license: None if nobody has stated it.
        records: how many of the training set came from it; None if sources cannot be told apart.
    """

    name: str
    kind: Literal["synthetic", "file", "hub"]
    license: str | None
    records: int | None


class AdapterFacts(_Document):
    """The adapter and the run that made it.

    Attributes:
        sha256: fingerprint of the two files that an engine loads.
        target_modules: the layers it changes.
        merged_sha256: fingerprint of the whole model that is served instead of base model and adapter; None if
            they are.
        run: the numbers of ``TrainingRun``.
    """

    sha256: str
    rank: int
    target_modules: tuple[str, ...]
    merged_sha256: str | None = None
    run: dict[str, Any]


class SuiteFacts(_Document):
    """What was measured on one set of questions.

    Attributes:
        role: target, guard or report.
        items: number of questions.
        scores: mean by metric and subject, the deciding metric first; a judge's preference by opponent instead.
        truncated: answers of the candidate that were cut off at the longest allowed length.
        failed: questions to which the candidate gave no answer.
        note: what else to know.
    """

    name: str
    kind: str
    role: str
    items: int
    scores: dict[str, dict[Role, float]]
    truncated: int
    failed: int
    note: str


class ModelCard(_Document):
    """All that a card says, in types.

    It is written before the version is registered, so that a registered version always has its card. It names the
    version by its training key and the adapter's sha256 instead of the number that registering gives.

    Attributes:
        name: experiment, ZenML model and endpoint.
        training_key: fingerprint of the config, data, base model and code that made the version.
        license: of the adapter; None if it is not known.
        words: the config's own.
        evaluation_data: the held-out questions.
        subjects: who was asked, as people call them.
        max_new_tokens: longest answer in the evaluation.
        answered_by: the engine that made the answers.
        limits: all of them, those that follow from the numbers first.
    """

    schema_version: Literal[1] = 1
    name: str
    training_key: str
    license: str | None
    words: CardConfig
    base: BaseFacts
    sources: tuple[SourceFacts, ...]
    training_data: DatasetSummary
    evaluation_data: DatasetSummary
    training: TrainingConfig
    adapter: AdapterFacts
    prompt: PromptTemplate
    subjects: dict[Role, str]
    suites: tuple[SuiteFacts, ...]
    max_new_tokens: int
    answered_by: str
    verdict: Verdict
    limits: tuple[str, ...]
