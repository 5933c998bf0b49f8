"""From the lineage of a version to its card."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import fmean

from tuneline.card.document import AdapterFacts, BaseFacts, ModelCard, SourceFacts, SuiteFacts
from tuneline.card.limits import limits_of, restriction
from tuneline.config import Config, FeedbackSource, FileSource, Source, SyntheticSource
from tuneline.data.dataset import DatasetSummary
from tuneline.evaluation.report import EvaluationReport, Role, SuiteReport
from tuneline.gate.verdict import Verdict
from tuneline.training.adapter import LoraAdapter


def write_card(
    config: Config,
    adapter: LoraAdapter,
    training_data: DatasetSummary,
    evaluation_data: DatasetSummary,
    report: EvaluationReport,
    verdict: Verdict,
    *,
    base_sha256: str,
    training_key: str,
) -> ModelCard:
    """Write the card of a judged candidate.

    Args:
        config: of the experiment.
        adapter: what was trained.
        training_data: what it was trained on.
        evaluation_data: the held-out questions.
        report: all answers and scores.
        verdict: the gate's.
        base_sha256: what identifies the base model's weights.
        training_key: what identifies the version before it has a number.
    """
    base = BaseFacts(
        name=Path(config.model.base).name if config.model.is_local else config.model.base,
        is_hub=not config.model.is_local,
        revision=config.model.revision,
        license=config.model.license,
        sha256=base_sha256,
        dtype=config.model.dtype,
        quantization=config.model.quantization,
    )
    sources = _sources(config.data.sources, training_data)
    suites = tuple(_suite(suite) for suite in report.suites)
    modules = adapter.config["target_modules"]
    facts = AdapterFacts(
        sha256=adapter.sha256,
        rank=adapter.rank,
        target_modules=(modules,) if isinstance(modules, str) else tuple(sorted(modules)),
        merged_sha256=adapter.merged_sha256,
        run=adapter.training,
    )
    return ModelCard(
        name=config.name,
        training_key=training_key,
        license=config.card.license or _inherited_license(base, sources),
        words=config.card,
        base=base,
        sources=sources,
        training_data=training_data,
        evaluation_data=evaluation_data,
        training=config.training,
        adapter=facts,
        prompt=config.prompt,
        subjects={subject.role: subject.label for suite in report.suites for subject in suite.subjects},
        suites=suites,
        max_new_tokens=report.decoding.max_new_tokens,
        answered_by=report.engine,
        verdict=verdict,
        limits=limits_of(config, base, sources, training_data, facts, suites, report, verdict),
    )


def _inherited_license(base: BaseFacts, sources: tuple[SourceFacts, ...]) -> str | None:
    """The base model's, unless data of another licence may forbid that."""
    return None if any(restriction(source.license) for source in sources) else base.license


def _sources(sources: tuple[Source, ...], summary: DatasetSummary) -> tuple[SourceFacts, ...]:
    """Count the records of each source; those whose records several sources may have made have no counts."""
    counts: list[int | None] = [0] * len(sources)
    for label, records in summary.sources.items():
        makers = [place for place, source in enumerate(sources) if _may_have_made(source, label)]
        for place in makers or range(len(sources)):
            before = counts[place]
            only = len(makers) == 1 or len(sources) == 1
            counts[place] = before + records if only and before is not None else None
    return tuple(
        SourceFacts(name=_name(source), kind=source.type, license=source.license, records=count)
        for source, count in zip(sources, counts, strict=True)
    )


def _may_have_made(source: Source, label: str) -> bool:
    """Whether a record's source label begins as those of a source do (see ``tuneline.data.sources``)."""
    if isinstance(source, SyntheticSource):
        return label.split("/")[0] in source.tools
    return label == _name(source) or label.startswith(f"{_name(source)}/")


def _name(source: Source) -> str:
    """For people, without the path of the machine that read it."""
    if isinstance(source, SyntheticSource):
        return ", ".join(source.tools)
    if isinstance(source, FeedbackSource):
        return "feedback"
    return Path(source.path).name if isinstance(source, FileSource) else source.dataset


def _suite(suite: SuiteReport) -> SuiteFacts:
    means = suite.means()
    ordered = [suite.primary, *(metric for metric in suite.metrics if metric != suite.primary)]
    scores: dict[str, dict[Role, float]] = {
        metric: {role: of[metric] for role, of in means.items() if metric in of} for metric in ordered
    }
    for preferences in suite.preferences:
        known = [value for value in preferences.values if not math.isnan(value)]
        scores[suite.primary][preferences.opponent] = fmean(known) if known else math.nan
    candidate = suite.subject("candidate")
    results = candidate.results if candidate else ()
    return SuiteFacts(
        name=suite.name,
        kind=suite.kind,
        role=suite.role,
        items=len(suite.items),
        scores={metric: by_role for metric, by_role in scores.items() if by_role},
        truncated=sum(result.error is None and not result.finished for result in results),
        failed=sum(result.error is not None for result in results),
        note=suite.note,
    )
