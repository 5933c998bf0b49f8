"""The limits that follow from the numbers and the licences, told without being asked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tuneline.card.document import AdapterFacts, BaseFacts, SourceFacts, SuiteFacts
from tuneline.card.numbers import amount
from tuneline.config import Config, SyntheticSource
from tuneline.data.dataset import DatasetSummary
from tuneline.evaluation.report import EvaluationReport
from tuneline.gate.verdict import Verdict

# Parts of Creative Commons' identifiers, and the word itself in licences of one's own.
_NON_COMMERCIAL = re.compile(r"(^|[-_ ])nc([-_ ]|$)|non-?commercial", re.IGNORECASE)
_SHARE_ALIKE = re.compile(r"(^|[-_ ])sa([-_ ]|$)|share-?alike|gpl", re.IGNORECASE)


def restriction(license_: str | None) -> str | None:
    """What a licence of training data asks for that a model's own licence cannot waive, if it does."""
    if license_ is None:
        return None
    if _NON_COMMERCIAL.search(license_):
        return "forbids commercial use"
    return "asks that what is made from it is shared under the same licence" if _SHARE_ALIKE.search(license_) else None


def limits_of(
    config: Config,
    base: BaseFacts,
    sources: Sequence[SourceFacts],
    training_data: DatasetSummary,
    adapter: AdapterFacts,
    suites: Sequence[SuiteFacts],
    report: EvaluationReport,
    verdict: Verdict,
) -> tuple[str, ...]:
    """What a reader should know before trusting the version: licences, gate, data, training; then the config's own."""
    return (
        *_licences(config, base, sources),
        *_of_the_verdict(verdict),
        *_of_the_answers(suites, report),
        *_not_measured(config, suites),
        *_of_the_training(config, training_data, adapter),
        *config.card.limits,
    )


def _licences(config: Config, base: BaseFacts, sources: Sequence[SourceFacts]) -> Iterator[str]:
    for source in sources:
        asked = restriction(source.license)
        if asked:
            against = ""
            if config.card.license not in (None, source.license):
                against = f" Calling the adapter {config.card.license} does not lift that."
            elif config.card.license is None and base.license not in (None, source.license):
                against = f" The base model's licence ({base.license}) does not lift that."
            yield f"LICENCE: it was trained on {source.name}, whose licence {source.license} {asked}.{against}"
    unstated = [source.name for source in sources if source.license is None and source.kind != "synthetic"]
    if base.license is None:
        unstated.append(f"{base.name} (the base model)")
    if unstated:
        yield f"Nobody has stated the licence of {', '.join(unstated)}."


def _of_the_verdict(verdict: Verdict) -> Iterator[str]:
    if not verdict.passed:
        yield f"The gate did not pass this version ({verdict.outcome})."
    for rule in verdict.rules:
        if rule.comparisons:
            largest = max(comparison.detectable for comparison in rule.comparisons)
            yield (
                f"With {rule.items:,} questions, the suite {rule.suite} proves a difference of "
                f"{amount(rule.metric, largest)} (beyond the required one) with a probability of {verdict.power:.0%}; "
                "a smaller one may go unnoticed."
            )
    yield from verdict.warnings


def _of_the_answers(suites: Sequence[SuiteFacts], report: EvaluationReport) -> Iterator[str]:
    for suite in suites:
        if suite.truncated:
            yield (
                f"{suite.truncated:,} of {suite.items:,} answers to {suite.name} were cut off at "
                f"{report.decoding.max_new_tokens:,} tokens."
            )
        if suite.failed:
            yield f"{suite.failed:,} of {suite.items:,} questions of {suite.name} got no answer."
    if report.agreement is not None and not report.agreement.agrees:
        yield report.agreement.sentence + "."


def _not_measured(config: Config, suites: Sequence[SuiteFacts]) -> Iterator[str]:
    if not any(suite.role == "guard" for suite in suites):
        yield "No suite guards what the base model could do before: some of it may be lost."
    if config.data.evaluation.holdout is not None:
        yield "The held-out questions were kept back from its own training data: elsewhere it may do worse."
    elif any(isinstance(source, SyntheticSource) for source in config.data.evaluation.sources or ()):
        yield "Questions were generated from templates: people ask in more ways."
    yield (
        "Nothing was measured beyond the suites above. Safety, bias, other languages and longer conversations were not "
        "unless one of them asks for it."
    )


def _of_the_training(config: Config, data: DatasetSummary, adapter: AdapterFacts) -> Iterator[str]:
    run = adapter.run
    if run.get("too_long"):
        yield (
            f"{run['too_long']:,} conversations longer than {config.training.max_length:,} tokens were left out of "
            "the training."
        )
    if data.quarantined:
        yield f"{data.quarantined:,} rows could not be read and are in quarantine."
    planned = config.training.max_steps
    if planned is not None and run.get("steps", planned) < planned:
        yield f"Training ended after {run['steps']:,} of {planned:,} steps, for lack of time (training.max_minutes)."
