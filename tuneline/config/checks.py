"""What must fit together: within a section, between sections, and above all between training and serving.

Each check is a function of the sections its parameters name, so it also runs when another section is
broken. It yields findings; a config with any of them cannot be made.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tuneline.config.data import DataConfig, FileSource, HubSource, Source, SyntheticSource
from tuneline.config.evaluation import EvaluationConfig
from tuneline.config.gate import GateConfig
from tuneline.config.model import ModelConfig
from tuneline.config.problem import KeyPath
from tuneline.config.serving import ServingConfig
from tuneline.config.training import TrainingConfig

# The largest rank vLLM 0.32 has kernels for (vllm.config.lora.MaxLoRARanks).
ENGINE_MAX_RANK = 512


@dataclass(frozen=True)
class Finding:
    """What does not fit, at which key, and what to do instead."""

    path: KeyPath
    what: str
    allowed: str = ""


def findings(sections: Mapping[str, Any]) -> Iterator[Finding]:
    """Run every check whose sections are there."""
    for check in CHECKS:
        needed = inspect.signature(check).parameters
        if all(name in sections for name in needed):
            yield from check(**{name: sections[name] for name in needed})


# ---- serving constrains training ---------------------------------------------------------------------


def rank_fits_engine(training: TrainingConfig, serving: ServingConfig) -> Iterator[Finding]:
    """An adapter above the engine's rank could be trained and never loaded."""
    if serving.max_lora_rank > ENGINE_MAX_RANK:
        what = f"is {serving.max_lora_rank}, but the engine has no kernels above rank {ENGINE_MAX_RANK}"
        yield Finding(("serving", "max_lora_rank"), what, f"at most {ENGINE_MAX_RANK}")
    if training.r > serving.max_lora_rank:
        what = f"is {training.r}, but the engine takes ranks up to {serving.max_lora_rank} (serving.max_lora_rank)"
        allowed = f"a rank of at most {serving.max_lora_rank}, or serving.max_lora_rank: {training.r}"
        yield Finding(("training", "r"), what, allowed)


def adapter_can_be_served(training: TrainingConfig) -> Iterator[Finding]:
    """Kinds of adapters that PEFT trains and vLLM refuses to load."""
    if training.use_dora:
        allowed = "false; use_rslora: true with a higher rank is the nearest that can be served"
        yield Finding(("training", "use_dora"), "is true, but the engine cannot serve DoRA", allowed)
    if training.modules_to_save:
        what = f"is {list(training.modules_to_save)}, but the engine loads no layers that were trained in full"
        allowed = "an empty list; give linear layers an adapter with target_modules instead"
        yield Finding(("training", "modules_to_save"), what, allowed)
    if isinstance(training.target_modules, tuple):
        if not training.target_modules:
            yield Finding(("training", "target_modules"), "is an empty list", "all-linear, or layer names")
        for index, name in enumerate(training.target_modules):
            if name in ("embed_tokens", "lm_head") or "norm" in name:
                what = f"is {name!r}, but the engine serves adapters on the linear layers inside the blocks alone"
                allowed = "all-linear, or names such as q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"
                yield Finding(("training", "target_modules", index), what, allowed)


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


def nothing_asked_was_trained_on(data: DataConfig) -> Iterator[Finding]:
    """A question that was trained on measures memory."""
    for path, source in _sources(data):
        asked = path[1] == "evaluation"
        if isinstance(source, SyntheticSource) and asked and source.split == "train":
            yield Finding((*path, "split"), "is train: names that are trained on would be asked", "eval")
        if isinstance(source, SyntheticSource) and not asked and source.split == "eval":
            yield Finding((*path, "split"), "is eval: names that must never be trained on", "train")
        if asked and _place_of(source) is not None and _place_of(source) in map(_place_of, data.sources):
            what = "is trained on as well, so the evaluation would measure memory"
            yield Finding(path, what, "another file or split, or evaluation: {holdout: 0.1}")


def questions_are_enough(data: DataConfig, evaluation: EvaluationConfig, gate: GateConfig) -> Iterator[Finding]:
    """Where the number of questions is known beforehand, it must do for a verdict and for the parity check."""
    most = _questions(data)
    if most is None:
        return
    if most < gate.min_items:
        what = f"gives at most {most} questions, but gate.min_items is {gate.min_items}: no verdict could be reached"
        yield Finding(("data", "evaluation"), what, f"at least {gate.min_items} questions, or a smaller gate.min_items")
    if most < evaluation.golden_prompts:
        what = f"is {evaluation.golden_prompts}, but data.evaluation gives at most {most} questions"
        yield Finding(("evaluation", "golden_prompts"), what, f"at most {most}")


def _sources(data: DataConfig) -> Iterator[tuple[KeyPath, Source]]:
    for index, source in enumerate(data.sources):
        yield ("data", "sources", index), source
    for index, source in enumerate(data.evaluation.sources or ()):
        yield ("data", "evaluation", "sources", index), source


def _place_of(source: Source) -> tuple[str | None, ...] | None:
    if isinstance(source, FileSource):
        return (source.path,)
    if isinstance(source, HubSource):
        return (source.dataset, source.config, source.split)
    return None


def _most(sources: tuple[Source, ...]) -> int | None:
    """How many records sources give at most, if that is known before they are read."""
    counts = [s.size if isinstance(s, SyntheticSource) else s.limit for s in sources]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _questions(data: DataConfig) -> int | None:
    if data.evaluation.sources is not None:
        return _most(data.evaluation.sources)
    holdout, total = data.evaluation.holdout, _most(data.sources)
    if holdout is not None and holdout >= 1:
        return int(holdout)
    return None if holdout is None or total is None else data.evaluation.holdout_count(total)


# ---- evaluation and gate -----------------------------------------------------------------------------


def metrics_are_measured(evaluation: EvaluationConfig, gate: GateConfig) -> Iterator[Finding]:
    """Nothing can be decided by a metric that nobody measures."""
    measured = ", ".join(evaluation.metrics)
    for path, metric in ((("evaluation", "primary"), evaluation.primary), (("gate", "metric"), gate.metric)):
        if metric is not None and metric not in evaluation.metrics:
            yield Finding(path, f"is {metric}, which is not among evaluation.metrics", measured)


def resamples_reach_confidence(gate: GateConfig) -> Iterator[Finding]:
    """An interval's end needs a handful of resamples beyond it."""
    least = round(10 / (1 - gate.confidence))
    if gate.resamples < least:
        what = f"is {gate.resamples}, too few to see the ends of a {gate.confidence:g} interval"
        yield Finding(("gate", "resamples"), what, f"at least {least}, or a lower gate.confidence")


CHECKS: tuple[Callable[..., Iterator[Finding]], ...] = (
    rank_fits_engine,
    adapter_can_be_served,
    lengths_fit_engine,
    revision_has_a_hub,
    one_length_of_training,
    batches_fit,
    evaluation_is_one_of_two,
    nothing_asked_was_trained_on,
    questions_are_enough,
    metrics_are_measured,
    resamples_reach_confidence,
)
