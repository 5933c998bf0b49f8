"""Section ``evaluation``: what base model, champion and candidate are asked, by whom, and what is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from tuneline.config.data import FileSource
from tuneline.config.metrics import Metric
from tuneline.config.section import Section
from tuneline.config.suites import HELDOUT, HeldoutSuite, LmEvalSuite, PromptsSuite, QuestionsSuite, Suite

AnsweringEngine = Literal["transformers", "vllm", "endpoint"]


class EvaluationEndpoint(Section):
    """A vLLM server of one's own, started with ``VLLM_ALLOW_RUNTIME_LORA_UPDATING=True`` and ``--enable-lora``."""

    url: str
    """Its address, with ``/v1``."""

    base: str
    """The base model's name there."""

    api_key_env: str | None = None
    """The environment variable that holds its key. The key itself belongs in no config."""

    adapters: str | None = None
    """The folder where the server finds the adapters, if it does not see this machine's files: they are put there."""


class EvaluationConfig(Section):
    """How base model, champion and candidate answer the same questions. Answers are greedy."""

    metrics: tuple[Metric, ...] = Field(default=("exact_match", "chrf", "rouge_l"), min_length=1)
    """Each is kept for every item."""

    primary: Metric = "exact_match"
    """The one that leads tables and decides; the gate's too, unless ``gate.metric`` says otherwise."""

    suites: tuple[Suite, ...] = Field(default=(HELDOUT,), min_length=1)
    """Sets of questions with their roles. Without any, the questions of ``data.evaluation`` are the one target."""

    engine: AnsweringEngine = "transformers"
    """Who answers: transformers here (the reference), vLLM with all adapters in one engine, or a server of yours."""

    endpoint: EvaluationEndpoint | None = None
    """The server, for ``engine: endpoint``."""

    min_agreement: float = Field(default=0.9, ge=0, le=1)
    """Share of the golden prompts that another engine must answer as transformers does; below it the report warns."""

    max_new_tokens: int = Field(default=128, gt=0)
    """Longest answer, tokens. A candidate's answer that is cut off there counts as wrong."""

    batch_size: int = Field(default=32, gt=0)
    """Questions answered at once. Changes memory and speed only."""

    golden_prompts: int = Field(default=32, gt=0)
    """Questions whose answers' log-probabilities are kept; the served adapter must reproduce them."""

    def metrics_of(self, suite: HeldoutSuite | QuestionsSuite | PromptsSuite) -> tuple[Metric, ...]:
        """What is measured on a suite."""
        return suite.metrics or (("check",) if isinstance(suite, PromptsSuite) else self.metrics)

    def metric_of(self, suite: HeldoutSuite | QuestionsSuite | PromptsSuite, of_gate: Metric | None = None) -> Metric:
        """What decides on a suite.

        Args:
            suite: one of ``suites``.
            of_gate: ``gate.metric``, which decides on suites of type heldout that measure it and name no other.
        """
        measured = self.metrics_of(suite)
        if suite.metric is not None:
            return suite.metric
        if isinstance(suite, HeldoutSuite) and of_gate in measured:
            return of_gate
        return self.primary if self.primary in measured else measured[0]


def evaluation_files(evaluation: EvaluationConfig) -> list[Path]:
    """The files, and the folders of lm-eval's tasks, that an evaluation reads: what it measures depends on them.

    Files that lm-eval's tasks name in turn are not among them.
    """
    found = [metric for metric in evaluation.metrics if metric.endswith(".py")]
    for suite in evaluation.suites:
        if isinstance(suite, HeldoutSuite | QuestionsSuite | PromptsSuite):
            found += [metric for metric in suite.metrics or () if metric.endswith(".py")]
        if isinstance(suite, PromptsSuite):
            found.append(suite.path)
        if isinstance(suite, QuestionsSuite):
            found += [source.path for source in suite.sources if isinstance(source, FileSource)]
        if isinstance(suite, LmEvalSuite) and suite.include_path is not None:
            found.append(suite.include_path)
    return [Path(path) for path in dict.fromkeys(found)]
