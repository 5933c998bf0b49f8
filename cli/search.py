"""``run.py search``: values found by trying, and the best of them through the gate."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from cli.preflight import check_data
from cli.screen import console, say
from cli.train import train_and_judge
from cli.workplace import DEFAULT_CONFIG, checked_config, use_stack
from tuneline import paths
from tuneline.config import Config, load_config
from tuneline.config.candidate import searched, with_values
from tuneline.errors import UserError
from tuneline.search.report import SearchReport, report_of
from tuneline.search.store import TrialStore
from tuneline.search.table import rows, standing

# What a config says of a run that there is one of, and which the training that follows may have.
_OF_ONE_RUN = ("run_name", "schedule")


def run_search(
    path: Path | None,
    stack: str | None,
    overrides: list[str],
    *,
    only_search: bool,
    no_cache: bool,
    json_output: bool,
) -> None:
    """Search, write the best config, and train and judge it unless only the search is wanted."""
    config = checked_config(path, overrides)
    if config.search is None:
        raise UserError(
            f"{path or DEFAULT_CONFIG.name} has no section search, which says what to try",
            hint="configs/tiny-search.yaml has one; docs/search.md explains it.",
        )
    check_data(config)
    # The steps talk on stdout; JSON has to stand alone there.
    with contextlib.redirect_stdout(sys.stderr) if json_output else contextlib.nullcontext():
        use_stack(stack)
        report, best = found(config, no_cache=no_cache)
        if not json_output:
            _show(report, best)
    if json_output:
        print(json.dumps(_document(report, best), indent=2, ensure_ascii=False))
    if only_search:
        if not json_output:
            say(f"Next: [bold]python run.py train --config {best}[/bold] puts it before the gate.")
        return
    with contextlib.redirect_stdout(sys.stderr) if json_output else contextlib.nullcontext():
        train_and_judge(load_config(best), no_cache=no_cache)


def found(config: Config, *, no_cache: bool) -> tuple[SearchReport, Path]:
    """What a search finds, and the file of the best config; trials that are done are not done again."""
    from controlplane.searches import open_search, search_key, waves

    key = search_key(config)
    store = open_search(config.name, key)
    if no_cache:
        store.clear()
    left = waves(config, store)
    if left or not _chosen(config, store):
        _run_pipeline(config, key, left)
    else:
        say("This search was done before, with exactly this config, data and code.")
    report = report_of(config, store.trials())
    assert report.best_trial is not None, "the pipeline's last step raises otherwise"
    file = paths.search_file(config.name, key)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(with_values(config, report.best_trial.values).to_yaml(), encoding="utf-8")
    return report, file


def _chosen(config: Config, store: TrialStore) -> bool:
    """Whether the last step came to its end with as many trials as are wanted now."""
    return store.note("chosen").endswith(f" of {searched(config).trials}")


def _run_pipeline(config: Config, key: str, waves: list[list[int]]) -> None:
    from pipelines.search import search_pipeline, trial_step

    settings = {name: value for name, value in config.zenml.run_configuration().items() if name not in _OF_ONE_RUN}
    if (of_training := settings.get("steps", {}).get("train")) is not None:  # a trial is a training: same machine
        settings["steps"] |= {trial_step(number): of_training for wave in waves for number in wave}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(settings, file)
        file.flush()
        search_pipeline.with_options(config_path=file.name)(config, key, waves)


def _show(report: SearchReport, best: Path) -> None:
    header, trials = rows(report)
    table = Table(title=f"{report.name}: {len(report.trials)} trials, * the best", title_justify="left")
    for name in header:
        table.add_column(name, justify="left" if name == "state" else "right")
    for row in trials:
        table.add_row(*row, style="bold" if row[0].endswith("*") else None)
    console.print(table)
    say(f"{standing(report)}.")
    say(f"The best config is in [bold]{best}[/bold]; all trials with their pictures are the artifact search_report.")


def _document(report: SearchReport, best: Path) -> dict[str, Any]:
    chosen = report.best_trial
    return {
        "name": report.name,
        "config": str(best),
        "best": chosen and {"trial": chosen.number, "validation_loss": chosen.loss, "values": chosen.values},
        "importance": {key.key: key.importance for key in report.keys},
        "trials": [trial.model_dump(mode="json", exclude={"measured"}) for trial in report.trials],
    }
