"""``run.py report``: what a version was asked and what it answered, as a page and in short."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from rich.markup import escape

from cli.screen import console, say
from cli.workplace import checked_config, use_stack
from tuneline import paths
from tuneline.config import Config
from tuneline.errors import TunelineError, UserError
from tuneline.evaluation.report import EvaluationReport
from tuneline.gate.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from controlplane.versions import Version

_COLOUR: dict[Outcome, str] = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow"}


def run_report(
    version: str | None,
    against: str | None,
    output: Path | None,
    path: Path | None,
    stack: str | None,
    overrides: list[str],
    *,
    open_: bool,
    training: bool = False,
) -> None:
    """Write a version's page, or that of two versions side by side, and print it in short."""
    config = checked_config(path, overrides)
    if output is not None and (output.is_dir() or not output.absolute().parent.is_dir()):
        what = "is a folder" if output.is_dir() else "lies in a folder that does not exist"
        raise UserError(f"--output {output} {what}", hint="Name a file in a folder that is there, such as report.html.")
    use_stack(stack)
    from controlplane.versions import get_version

    own = _version(config.name, version)
    if own.name == against:
        raise UserError(
            f"version {against} cannot be compared with itself",
            hint="`python run.py models` lists the versions; --against names another one.",
        )
    other = None if against is None else get_version(config.name, against)
    usual = paths.training_file if training else paths.report_file
    target = output or usual(config.name, own.name, against)
    if training:
        from cli.training_report import training_report

        page = training_report(own, other)
    else:
        page = _own(own) if other is None else _beside(config, own, other)
    if output is None:
        target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page, encoding="utf-8")
    what = "The training" if training else "The answers side by side, worst first"
    say(f"\n{what}: [bold]{escape(str(target.absolute()))}[/bold]")
    if open_ and not webbrowser.open(target.absolute().as_uri()):
        say("There is no browser here that could be opened: open the file yourself.")
    say(_next(own, compared=against is not None or training))


def _version(model: str, name: str | None) -> Version:
    """The version by its name, or the newest."""
    from controlplane.versions import get_version, list_versions

    if name is not None:
        return get_version(model, name)
    versions = list_versions(model)
    if not versions:
        raise UserError(
            f"{model!r} has no versions yet, so there is nothing to report",
            hint="`python run.py train` makes one.",
        )
    return versions[-1]


def _own(version: Version) -> str:
    """A version's report as it was made, with what the gate said of it then."""
    from cli.suite_tables import suite_tables
    from tuneline.evaluation.report_html import to_html

    report: EvaluationReport = _artifact(version, "report", version.record.report)
    verdict: Verdict | None = None
    note = ""
    if version.record.verdict is not None:
        verdict = _artifact(version, "verdict", version.record.verdict)
    else:
        note = f"{version.record.outcome}: {version.record.sentence} (Made before verdicts were kept rule by rule.)"
    record = version.record
    kind = "" if record.whole_model is None else ", a whole model"
    console.print(f"{version.model} version {version.name}{kind}: [bold {_COLOUR[record.outcome]}]{record.outcome}[/]")
    say(escape(record.sentence))
    _warn(verdict)
    for table in suite_tables(report, verdict):
        console.print(table)
    return to_html(report, verdict, title=f"{version.model} version {version.name}", note=note)


def _beside(config: Config, version: Version, other: Version) -> str:
    """Two versions' answers to the questions that both were asked, judged by the config's gate as it is now."""
    from cli.suite_tables import suite_tables
    from tuneline.evaluation.against import side_by_side
    from tuneline.evaluation.report_html import to_html
    from tuneline.gate.decide import decide

    found = side_by_side(
        _artifact(version, "report", version.record.report),
        version.name,
        _artifact(other, "report", other.record.report),
        other.name,
    )
    verdict = decide(found.report, config.gate.model_copy(update={"must_beat": ("champion",)}))
    title = f"{version.model} version {version.name} beside version {other.name}"
    note = (
        f"A comparison, which moves nothing: version {version.name} stands as the candidate and version {other.name} "
        "where the champion would stand."
    )
    console.print(f"{title}: [bold {_COLOUR[verdict.outcome]}]{verdict.outcome}[/]")
    say(escape(verdict.sentence))
    for sentence in (note, *found.left_out):
        say(f"[dim]{escape(sentence)}[/]")
    _warn(verdict)
    for table in suite_tables(found.report, verdict):
        console.print(table)
    return to_html(found.report, verdict, title=title, note=" ".join((note, *found.left_out)))


def _artifact(version: Version, what: str, artifact: UUID) -> Any:
    from zenml.client import Client

    try:
        return Client().get_artifact_version(artifact).load()
    except KeyError as error:
        raise TunelineError(
            f"the {what} of {version.model!r} version {version.name} is no longer in ZenML",
            hint="It was deleted there. `python run.py train --no-cache` trains and evaluates anew.",
        ) from error


def _warn(verdict: Verdict | None) -> None:
    for warning in verdict.warnings if verdict is not None else ():
        say(f"[yellow]! {escape(warning)}[/]")


def _next(version: Version, *, compared: bool) -> str:
    if compared:
        return f"Next: [bold]python run.py report {version.name}[/bold] shows what the gate itself decided."
    if version.stage == "staging":
        return "Next: [bold]python run.py deploy[/bold] puts it into production."
    if version.stage == "production":
        return "It is in production. Next: [bold]python run.py ask[/bold] with a question of yours."
    return "Next: [bold]python run.py models[/bold] shows it among the others."
