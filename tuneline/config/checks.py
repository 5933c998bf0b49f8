"""What must fit together: within a section, between sections, and above all between training and serving.

Each check is a function of the sections its parameters name, so it also runs when another section is
broken. It yields findings; a config with any of them cannot be made.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tuneline.config.data import DataConfig
from tuneline.config.distributed_checks import DISTRIBUTED_CHECKS
from tuneline.config.engine_checks import ENGINE_CHECKS
from tuneline.config.evaluation import EvaluationConfig
from tuneline.config.gate import GateConfig
from tuneline.config.model import ModelConfig
from tuneline.config.problem import Finding
from tuneline.config.search import SearchConfig
from tuneline.config.search_checks import search_findings
from tuneline.config.serving import ServingConfig
from tuneline.config.suite_checks import SUITE_CHECKS
from tuneline.config.training import TrainingConfig
from tuneline.config.training_checks import TRAINING_CHECKS
from tuneline.prompts.template import PromptTemplate

# What transformers can do as vLLM does: one quantization made while loading, and those that a checkpoint brings along.
_QUANTIZATIONS = (
    *("bitsandbytes", "awq", "awq_marlin", "gptq", "gptq_marlin", "compressed-tensors", "auto-round", "mxfp4", "quark"),
)


def findings(sections: Mapping[str, Any]) -> Iterator[Finding]:
    """Run every check whose sections are there."""
    for check in CHECKS:
        needed = inspect.signature(check).parameters
        if all(name in sections for name in needed):
            yield from check(**{name: sections[name] for name in needed})


# ---- serving constrains training ---------------------------------------------------------------------


def lengths_fit_engine(
    training: TrainingConfig, evaluation: EvaluationConfig, serving: ServingConfig
) -> Iterator[Finding]:
    """What was trained and evaluated must fit into what is served."""
    longest = serving.max_model_len
    if longest is not None and training.max_length > longest:
        what = f"is {training.max_length} tokens, but the engine takes {longest} (serving.max_model_len)"
        yield Finding(("training", "max_length"), what, f"at most {longest}, or a larger serving.max_model_len")
    if longest is not None and evaluation.max_new_tokens >= longest:
        what = (
            f"is {evaluation.max_new_tokens}, which leaves no token of serving.max_model_len ({longest}) to a question"
        )
        yield Finding(("evaluation", "max_new_tokens"), what, f"below {longest}")


# ---- model and training ------------------------------------------------------------------------------


def revision_has_a_hub(model: ModelConfig) -> Iterator[Finding]:
    """A folder has no revisions."""
    if model.is_local and model.revision is not None:
        what = f"is {model.revision!r}, but model.base is a folder, which has no revisions"
        yield Finding(("model", "revision"), what, "no revision, or a hub id as model.base")


def one_length_of_training(training: TrainingConfig) -> Iterator[Finding]:
    """Exactly one of steps and epochs."""
    if training.max_steps is None and training.epochs is None:
        yield Finding(("training", "max_steps"), "is missing, and so is epochs", "one of max_steps and epochs")
    if training.max_steps is not None and training.epochs is not None:
        what = f"is given twice: max_steps is {training.max_steps}, epochs is {training.epochs:g}"
        yield Finding(("training", "epochs"), what, "one of max_steps and epochs")


def batches_fit(training: TrainingConfig) -> Iterator[Finding]:
    """A step is made of whole micro batches, a micro batch of whole rows."""
    step, micro, row = training.batch_tokens, training.micro_batch_tokens, training.max_length
    if step % micro:
        what = f"is {step}, which is not a multiple of micro_batch_tokens ({micro})"
        allowed = ", ".join(str(multiple * micro) for multiple in sorted({max(1, step // micro), step // micro + 1}))
        yield Finding(("training", "batch_tokens"), what, allowed)
    if micro < row:
        what = f"is {micro}, which is less than one row of max_length ({row}) tokens"
        yield Finding(("training", "micro_batch_tokens"), what, f"at least {row}, or a smaller max_length")


# ---- data --------------------------------------------------------------------------------------------


def evaluation_is_one_of_two(data: DataConfig) -> Iterator[Finding]:
    """Sets of their own, or a part kept back."""
    path, evaluation = ("data", "evaluation"), data.evaluation
    if evaluation.sources is None and evaluation.holdout is None:
        yield Finding(path, "says neither sources nor holdout", "one of them, e.g. holdout: 0.1")
    if evaluation.sources is not None and evaluation.holdout is not None:
        yield Finding((*path, "holdout"), "is given beside sources", "one of them")
    if evaluation.sources == ():
        yield Finding((*path, "sources"), "is an empty list", "at least one source, or holdout: 0.1 instead")
    holdout = evaluation.holdout
    if holdout is not None and holdout >= 1 and holdout != int(holdout):
        yield Finding((*path, "holdout"), f"is {holdout:g}", "a share below 1, or a whole number of records")


# ---- evaluation and gate -----------------------------------------------------------------------------


def resamples_reach_confidence(gate: GateConfig) -> Iterator[Finding]:
    """An interval's end needs a handful of resamples beyond it."""
    least = round(10 / (1 - gate.confidence))
    if gate.resamples < least:
        what = f"is {gate.resamples}, too few to see the ends of a {gate.confidence:g} interval"
        yield Finding(("gate", "resamples"), what, f"at least {least}, or a lower gate.confidence")


def who_answers_is_there(evaluation: EvaluationConfig) -> Iterator[Finding]:
    """A server of one's own has an address, and an address is used."""
    if evaluation.engine == "endpoint" and evaluation.endpoint is None:
        what = "is endpoint, but evaluation.endpoint does not say where it is"
        yield Finding(("evaluation", "engine"), what, "evaluation.endpoint: {url: …, base: …}, or another engine")
    if evaluation.endpoint is not None and evaluation.engine != "endpoint":
        what = f"is given, but evaluation.engine is {evaluation.engine}, so it would not be asked"
        yield Finding(("evaluation", "endpoint"), what, "evaluation.engine: endpoint, or no endpoint")


def whole_models_can_be_asked(training: TrainingConfig, evaluation: EvaluationConfig) -> Iterator[Finding]:
    """A server of one's own has one base model's weights and takes adapters alone."""
    if evaluation.engine == "endpoint" and training.export == "merged":
        what = "is endpoint, but training.export is merged: a whole model's weights are not those of that server"
        yield Finding(("evaluation", "engine"), what, "transformers or vllm")


def what_is_served_answers(evaluation: EvaluationConfig, serving: ServingConfig) -> Iterator[Finding]:
    """The weights that will be served are those that answer."""
    quantization = serving.quantization
    if evaluation.engine == "transformers" and quantization is not None and quantization not in _QUANTIZATIONS:
        what = f"is {quantization}, which transformers cannot make, so other weights would be judged than are served"
        allowed = (
            "evaluation.engine: vllm; or no quantization, if the checkpoint is quantized already: the engine sees that"
        )
        yield Finding(("serving", "quantization"), what, allowed)


# ---- search ------------------------------------------------------------------------------------------


def trials_can_be_made(
    search: SearchConfig | None,
    prompt: PromptTemplate,
    model: ModelConfig,
    data: DataConfig,
    training: TrainingConfig,
    evaluation: EvaluationConfig,
    serving: ServingConfig,
) -> Iterator[Finding]:
    """Whatever a search may propose is a config that can be trained and served."""
    if search is not None:
        parts = (prompt, model, data, training, evaluation, serving)
        names = ("prompt", "model", "data", "training", "evaluation", "serving")
        yield from search_findings(search, dict(zip(names, parts, strict=True)), findings)


CHECKS: tuple[Callable[..., Iterator[Finding]], ...] = (
    lengths_fit_engine,
    revision_has_a_hub,
    one_length_of_training,
    batches_fit,
    evaluation_is_one_of_two,
    resamples_reach_confidence,
    who_answers_is_there,
    whole_models_can_be_asked,
    what_is_served_answers,
    *DISTRIBUTED_CHECKS,
    *TRAINING_CHECKS,
    *ENGINE_CHECKS,
    *SUITE_CHECKS,
    trials_can_be_made,
)
