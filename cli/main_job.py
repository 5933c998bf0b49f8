"""``python run.py``: the whole way once, from data to an answer."""

from __future__ import annotations

import time
from pathlib import Path

from rich.panel import Panel

from cli.preflight import check_data, check_endpoint
from cli.screen import console, say
from cli.workplace import checked_config, use_stack


def run_main_job(path: Path | None, stack: str | None, overrides: list[str], *, no_cache: bool) -> None:
    """Train, evaluate, gate, stage, release, prove, promote, ask."""
    started = time.perf_counter()
    config = checked_config(path, overrides)
    check_data(config)
    active = use_stack(stack)
    check_endpoint(config)  # it is needed last, and told first
    base = Path(config.model.base).name if config.model.is_local else config.model.base
    how = "LoRA on" if config.training.method == "lora" else "full fine-tuning of"
    say(f"[bold]{config.name}[/bold]: {how} {base}, stack {active}")
    from cli.ask import answer_streamed
    from cli.deploy import deployed, say_that_it_waits
    from cli.scoreboard import challenger_in, scoreboard
    from cli.train import refuse, trained_version
    from cli.ui import addresses
    from controlplane.endpoint import connect
    from controlplane.storage import active_storage
    from controlplane.versions import list_versions

    version = trained_version(config, no_cache=no_cache)
    if version.record.outcome != "PASS" and version.stage != "production":  # it is there by override
        refuse(version)
    if config.gate.approval == "by_hand" and version.stage == "staging":
        console.print(scoreboard(config.name, [version]))
        say_that_it_waits(version.name)
        return
    deployed(config)
    console.print()
    endpoint = connect(config.name)
    answer_streamed(endpoint, _example_question(version.record.report))
    current = active_storage().releases(config.name).current()
    console.print()
    shares = current.traffic() if current else {}
    console.print(scoreboard(config.name, list_versions(config.name), shares, challenger_in(current)))
    restart = ", no restart" if version.record.whole_model is None else ""  # another base model is another engine
    lines = [
        f"Endpoint    {endpoint.url}/v1   model {config.name}",
        "API key     python run.py ask --key",
        *addresses(),
        'Ask         python run.py ask "restart deployment web in namespace shop"',
        *([f"Next        make demo-next: four more tools{restart}"] if path is None else []),
        "Back        python run.py rollback",
        "Stop        python run.py stop",
    ]
    console.print(Panel("\n".join(lines), title=f"Done in {time.perf_counter() - started:.0f} s", title_align="left"))


def _example_question(report_id: object) -> str:
    """The question of the evaluation that this version is surest of, of those it answered right.

    Its names were never seen in training. How often it is right says the scoreboard; what is asked here shows that it
    answers as it did when it was judged, and where it wavered between two tokens the engine's rounding may decide.
    """
    from zenml.client import Client

    from tuneline.evaluation.report import EvaluationReport

    report: EvaluationReport = Client().get_artifact_version(report_id).load()  # type: ignore[arg-type]
    sure = {golden.id: min(golden.logprobs) for golden in report.golden}
    for suite in sorted(report.suites, key=lambda suite: suite is not report.lead):
        candidate = suite.subject("candidate")
        right = [
            (sure[item.id], item)
            for item, result in zip(suite.items, candidate.results if candidate else (), strict=False)
            if item.id in sure and result.scores.get(suite.primary, 0.0) > 0
        ]
        if right:
            return max(right, key=lambda pair: pair[0])[1].messages[-1].content
    return report.lead.items[0].messages[-1].content
