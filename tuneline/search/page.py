"""The page of a search: what was tried, what came of it, and which keys mattered."""

from __future__ import annotations

from tuneline.page import page, table
from tuneline.search import plots
from tuneline.search.report import SearchReport, shown_value
from tuneline.search.table import rows, standing


def search_page(report: SearchReport) -> str:
    """Draw a search. Hollow dots and dashed lines are trials that were given up early."""
    header, trials = rows(report)
    number = frozenset({0, *range(1, len(header) - 2), len(header) - 1})
    parts: list[str] = []
    if (best := report.best_trial) is not None:
        chosen = [
            [searched.key, shown_value(best.values[searched.key]), shown_value(searched.own)]
            for searched in report.keys
        ]
        parts.append(f"<h2>The best values</h2>{table(['key', f'trial {best.number}', 'the config'], chosen)}")
    if any(trial.loss is not None for trial in report.trials):
        parts.append(f"<h2>Loss by trial, and the best so far</h2>{plots.history(report)}")
        parts.append(f"<h2>Loss by each key</h2>{plots.slices(report)}")
        parts.append(f"<h2>All keys at once</h2>{plots.parallel(report)}")
    if all(searched.importance is not None for searched in report.keys):
        parts.append(f"<h2>How much of the best results goes with each key</h2>{plots.importance(report)}")
    parts.append(f"<h2>Validation loss while training</h2>{plots.curves(report)}")
    parts.append(f"<h2>The trials</h2>{table(header, trials, number)}")
    lead = f"{standing(report)}. Nats per supervised token, on records that no trial learnt from"
    return page(f"Search: {report.name}", lead, "".join(parts))
