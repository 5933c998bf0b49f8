"""The config of an experiment: everything that decides what is trained, judged, released and watched."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, model_validator

from tuneline.config.card import CardConfig
from tuneline.config.checks import findings
from tuneline.config.data import DataConfig, FeedbackSource, FileSource
from tuneline.config.evaluation import EvaluationConfig
from tuneline.config.gate import GateConfig
from tuneline.config.model import ModelConfig
from tuneline.config.problem import dotted
from tuneline.config.search import SearchConfig
from tuneline.config.section import Section
from tuneline.config.serving import MonitoringConfig, ServingConfig
from tuneline.config.training import TrainingConfig
from tuneline.config.zenml_run import ZenMLConfig
from tuneline.data.feedback_files import feedback_fingerprint
from tuneline.prompts.template import PromptTemplate
from tuneline.release.document import ENDPOINT_NAME
from tuneline.release.files import fingerprint as fingerprint_files


class Config(Section):
    """One experiment. Made by ``load_config``, which also finds files and resolves their paths."""

    name: str = Field(pattern=ENDPOINT_NAME)
    """Experiment, ZenML model and endpoint at once: lower-case letters, digits and dashes, at most 53."""

    prompt: PromptTemplate = PromptTemplate()
    """What is put around a question, the same in training, evaluation and serving; or the path of such a file."""

    model: ModelConfig
    """The base model."""

    data: DataConfig
    """What is trained on and what is asked."""

    training: TrainingConfig
    """How the adapter is trained."""

    search: SearchConfig | None = None
    """Values that are found by trying, with ``run.py search``; every other command leaves it alone."""

    evaluation: EvaluationConfig = EvaluationConfig()
    """What is measured."""

    gate: GateConfig = GateConfig()
    """What a candidate must show."""

    serving: ServingConfig = ServingConfig()
    """The engine."""

    monitoring: MonitoringConfig = MonitoringConfig()
    """What watches the endpoint."""

    card: CardConfig = CardConfig()
    """What the model card says beside the numbers."""

    zenml: ZenMLConfig = ZenMLConfig()
    """ZenML's run configuration."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        found = [f"{dotted(f.path)} {f.what} (allowed: {f.allowed})" for f in findings(self.sections())]
        if found:
            raise ValueError("; ".join(found))
        return self

    def sections(self) -> dict[str, Any]:
        """The parts by name."""
        return {name: getattr(self, name) for name in type(self).model_fields}

    def to_yaml(self) -> str:
        """Everything that holds, defaults included, in a form that ``load_config`` takes again."""
        values = self.model_dump(mode="json", exclude_none=True)
        values["zenml"] = self.zenml.run_configuration()
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)

    def fingerprint(self) -> str:
        """SHA-256, hex, of what decides the adapter's weights: model, data, prompt and training.

        Local files count by their content and not by where they lie, so a moved checkout has the same
        fingerprint and a changed file another one. Questions count only if they are taken out of the
        training data, and licences not at all.

        Raises:
            FileNotFoundError: a local file of the config is not on this machine.
        """
        model = self.model.model_dump(mode="json", exclude={"license"})
        if self.model.is_local:
            model["base"] = fingerprint_files(Path(self.model.base))
        data = [
            {**source.model_dump(mode="json", exclude={"license"}), **_content(source)} for source in self.data.sources
        ]
        decides = {
            "model": model,
            "data": data,
            "holdout": [self.data.evaluation.holdout, self.data.evaluation.seed]
            if self.data.evaluation.holdout
            else None,
            "prompt": self.prompt.model_dump(mode="json", exclude={"name"}),
            "training": self.training.model_dump(mode="json", exclude={"checkpoints", "on_oom"}),
        }
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def _content(source: object) -> dict[str, str]:
    if isinstance(source, FeedbackSource):
        return {"folder": feedback_fingerprint(source.folder)}
    if not isinstance(source, FileSource):
        return {}
    with Path(source.path).open("rb") as file:
        return {"path": hashlib.file_digest(file, "sha256").hexdigest()}
