"""The suites of section ``evaluation``: sets of questions, what each is measured by, and what that decides."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tuneline.config.data import Source
from tuneline.config.metrics import Metric
from tuneline.config.section import Section

SuiteRole = Literal["target", "guard", "report"]


class _Suite(Section):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    """Short name, unique in the config: lower-case letters, digits and dashes."""

    role: SuiteRole = "report"
    """``target`` must improve, ``guard`` must not get worse by more than ``margin``, ``report`` is only shown."""

    min_difference: float | None = Field(default=None, ge=0)
    """A target's interval must lie above this, in units of the metric; without it ``gate.min_difference``."""

    margin: float | None = Field(default=None, ge=0)
    """A guard may lose no more than this, in units of the metric (of ``length`` and ``latency`` a share of the
    opponent's); without it ``gate.margin``."""

    min_items: int | None = Field(default=None, gt=0)
    """With fewer questions nothing is decided here; without it ``gate.min_items``."""


class _Answered(_Suite):
    """A suite whose questions the models answer."""

    metrics: tuple[Metric, ...] | None = Field(default=None, min_length=1)
    """What is measured; without it ``evaluation.metrics``, and ``check`` for ``prompts``."""

    metric: Metric | None = None
    """The one that decides; without it ``evaluation.primary`` if it is measured, else the first of ``metrics``."""


class HeldoutSuite(_Answered):
    """The questions of ``data.evaluation``."""

    type: Literal["heldout"]
    """Says that the questions are those of ``data.evaluation``."""

    only: str = "*"
    """Those whose source matches this pattern alone, such as ``kubectl/*``."""


class QuestionsSuite(_Answered):
    """Questions from data sources of their own, each with its right answer."""

    type: Literal["questions"]
    """Says that the questions come from ``sources``."""

    sources: tuple[Source, ...] = Field(min_length=1)
    """Any sources that section ``data`` takes. None of them may be trained on."""


class PromptsSuite(_Answered):
    """A file of prompts, each with a reference, with checks, or with both."""

    type: Literal["prompts"]
    """Says that the prompts come from a file."""

    path: str
    """JSON Lines. A row has ``prompt`` (or ``messages``), and ``reference``, ``checks`` or both."""


class LmEvalSuite(_Suite):
    """Tasks of EleutherAI's lm-evaluation-harness, by name."""

    type: Literal["lm_eval"]
    """Says that the tasks are lm-eval's."""

    tasks: tuple[str, ...] = Field(min_length=1)
    """Names of tasks, such as ``arc_easy``. Their data come from the hub unless ``include_path`` brings them."""

    metric: str | None = None
    """lm-eval's name of the metric that decides; without it the first that each task has."""

    limit: int | None = Field(default=None, gt=0)
    """Items of each task; without it all."""

    num_fewshot: int | None = Field(default=None, ge=0)
    """Examples in front of each item; without it as the task says."""

    include_path: str | None = None
    """A folder with task files of one's own."""


class JudgeSuite(_Suite):
    """A language model that compares the candidate's answers with its opponents', each pair in both orders."""

    type: Literal["judge"]
    """Says that a model judges."""

    questions: str
    """Whose answers are judged: the name of a suite of type heldout, questions or prompts."""

    url: str
    """An OpenAI-compatible address, with ``/v1``."""

    model: str
    """The judge's model name there."""

    api_key_env: str | None = None
    """The environment variable that holds the key. The key itself belongs in no config."""

    criteria: str = "Which answer is more correct and more helpful to the person who asked?"
    """What the judge is asked."""

    limit: int | None = Field(default=None, gt=0)
    """Judge this many of the questions, spread evenly; without it all."""

    concurrency: int = Field(default=8, gt=0, le=64)
    """Requests at once."""


class LatencySuite(_Suite):
    """How long an answer takes, asked one by one and in turn."""

    type: Literal["latency"]
    """Says that time is measured."""

    questions: str
    """Whose questions are asked: the name of a suite of type heldout, questions or prompts."""

    limit: int = Field(default=20, gt=1)
    """This many of the questions, spread evenly."""

    min_items: int | None = Field(default=20, gt=0)
    """With fewer questions nothing is decided here: times vary less than answers."""


Suite = Annotated[
    HeldoutSuite | QuestionsSuite | PromptsSuite | LmEvalSuite | JudgeSuite | LatencySuite,
    Field(discriminator="type"),
]
HELDOUT = HeldoutSuite(type="heldout", name="heldout", role="target")
