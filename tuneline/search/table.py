"""A search in lines of text: the trials so far, the best of them, and the time that is left."""

from __future__ import annotations

from collections.abc import Sequence

from tuneline.search.report import SearchReport, remaining_seconds, short_names, shown_value
from tuneline.search.trial import Trial


def rows(report: SearchReport) -> tuple[list[str], list[list[str]]]:
    """A header and a row for each trial, in the order of their numbers."""
    keys = [searched.key for searched in report.keys]
    header = ["trial", *short_names(keys), "validation loss", "state", "seconds"]
    table = [
        [
            f"{trial.number}{' *' if trial.number == report.best else ''}",
            *(shown_value(trial.values.get(key)) for key in keys),
            "" if trial.loss is None else f"{trial.loss:.4f}",
            told_state(trial),
            f"{trial.seconds:.0f}",
        ]
        for trial in report.trials
    ]
    return header, table


def told_state(trial: Trial) -> str:
    """How a trial ended, in a few words."""
    if trial.state == "pruned":
        return f"pruned at step {trial.measured[-1].step} of {trial.measured[-1].steps}"
    if trial.state == "failed":
        return f"failed: {trial.reason}"
    return trial.state


def text_table(report: SearchReport) -> str:
    """The trials in columns, for a log."""
    header, table = rows(report)
    widths = [max(len(row[index]) for row in [header, *table]) for index in range(len(header))]
    return "\n".join(_line(row, widths) for row in [header, *table])


def standing(report: SearchReport) -> str:
    """The best so far and what is left, in a sentence."""
    ended = [trial for trial in report.trials if trial.ended is not None]
    best = report.best_trial
    found = "no trial is complete" if best is None else f"best so far: trial {best.number}, {_told(report, best)}"
    left = report.wanted - len(ended)
    if left <= 0 or not ended:
        return f"{found}; {len(ended)} of {report.wanted} trials done"
    minutes = remaining_seconds(report.trials, report.wanted) / 60
    return f"{found}; {len(ended)} of {report.wanted} trials done, about {max(1, round(minutes))} min left"


def _told(report: SearchReport, trial: Trial) -> str:
    names = short_names([searched.key for searched in report.keys])
    values = ", ".join(
        f"{name} {shown_value(trial.values.get(searched.key))}"
        for name, searched in zip(names, report.keys, strict=True)
    )
    return f"validation loss {trial.loss:.4f} with {values}"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
