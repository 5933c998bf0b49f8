"""Section ``data``: what is trained on, what is asked afterwards, and how much may be unreadable."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from tuneline.config.section import Section
from tuneline.data.synthetic.families import TOOLS
from tuneline.data.synthetic.names import Split

Format = Literal["auto", "alpaca", "sharegpt", "messages", "chat"]
Column = Literal["id", "system", "instruction", "input", "output", "messages", "tools"]


def _known(tool: str) -> str:
    if tool not in TOOLS:
        raise ValueError(f"the generator does not know {tool!r}")
    return tool


Tool = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": list(TOOLS)})]


class SyntheticSource(Section):
    """Questions about DevOps commands from the template generator: free, seeded, any size."""

    type: Literal["synthetic"]
    """Says that this source is generated."""

    tools: tuple[Tool, ...] = Field(min_length=1)
    """Whose commands are asked for."""

    size: int = Field(gt=0)
    """Number of records. A larger set begins with the smaller one."""

    seed: int = 0
    """The same seed gives the same records on any machine."""

    split: Split = "train"
    """``eval`` uses names that ``train`` never does, so that answers must be worked out, not remembered."""

    license: str | None = Field(default=None, min_length=1)
    """Licence of the data, such as ``cc-by-4.0``. The model card shows it; it decides nothing."""


class FileSource(Section):
    """A JSON or JSON Lines file of this machine."""

    type: Literal["file"]
    """Says that this source is a file."""

    path: str
    """The file; a relative path is looked up in the current directory, then in the repository's root."""

    format: Format = "auto"
    """How a row holds its conversation; ``auto`` decides by the keys of the first rows."""

    columns: dict[Column, str] = Field(default_factory=dict)
    """The file's own names where they differ: ``{instruction: question, output: answer}``."""

    limit: int | None = Field(default=None, gt=0)
    """Read at most this many records, from the start."""

    license: str | None = Field(default=None, min_length=1)
    """Licence of the data, such as ``cc-by-4.0``. The model card shows it; it decides nothing."""


class HubSource(Section):
    """A data set of the Hugging Face hub."""

    type: Literal["hub"]
    """Says that this source is on the hub."""

    dataset: str
    """The data set's id, such as ``databricks/databricks-dolly-15k``."""

    revision: str | None = None
    """Branch, tag or commit. A commit keeps the data from moving under the experiment."""

    split: str = "train"
    """Which split; slices such as ``train[:90%]`` work."""

    config: str | None = None
    """The data set's configuration (its subset), where it has several."""

    format: Format = "auto"
    """How a row holds its conversation; ``auto`` decides by the keys of the first rows."""

    columns: dict[Column, str] = Field(default_factory=dict)
    """The data set's own names where they differ: ``{input: context, output: response}``."""

    limit: int | None = Field(default=None, gt=0)
    """Read at most this many records, from the start."""

    license: str | None = Field(default=None, min_length=1)
    """Licence of the data, such as ``cc-by-4.0``. The model card shows it; it decides nothing."""


class FeedbackSource(Section):
    """What users of an endpoint said of its answers: corrections, and answers that they called good."""

    type: Literal["feedback"]
    """Says that this source is an endpoint's feedback."""

    folder: str = Field(min_length=1)
    """The endpoint's folder, a path or URI: ``<artifact store>/tuneline/endpoints/<endpoint>``."""

    corrections_only: bool = False
    """Leave out the answers that were called good: they teach a model what it says already."""

    limit: int | None = Field(default=None, gt=0)
    """Read at most this many records, the newest."""

    license: str | None = Field(default=None, min_length=1)
    """Licence of the data, such as ``cc-by-4.0``. The model card shows it; it decides nothing."""


Source = Annotated[SyntheticSource | FileSource | HubSource | FeedbackSource, Field(discriminator="type")]


class EvaluationData(Section):
    """The questions that decide: sets of their own, or a part of the training data kept back."""

    sources: tuple[Source, ...] | None = None
    """Sets that are asked and never trained on. Either this or ``holdout``."""

    holdout: float | None = Field(default=None, gt=0)
    """Kept back from the training data: below 1 a share, from 1 on a number of records."""

    seed: int = 0
    """Chooses the records that ``holdout`` keeps back."""

    def holdout_count(self, total: int) -> int:
        """How many of ``total`` records are kept back: at least one, and never all."""
        if self.holdout is None:
            return 0
        wanted = round(self.holdout * total) if self.holdout < 1 else int(self.holdout)
        return max(0, min(max(wanted, 1), total - 1))


class DataConfig(Section):
    """Training and evaluation data."""

    sources: tuple[Source, ...] = Field(min_length=1)
    """What is trained on: one or several sets, joined in this order."""

    evaluation: EvaluationData
    """What base model, champion and candidate are asked."""

    max_quarantined_share: float = Field(default=0.05, ge=0, le=1)
    """Stop if a larger share of the records cannot be converted. They are kept aside with line and reason."""
