"""``run.py doctor``: what is there, what is missing, what to do about it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.table import Table

from cli.preflight import check_writable, serving_versions
from cli.screen import console, say
from cli.workplace import checked_config, quiet
from tuneline import paths
from tuneline.errors import TunelineError, UserError

if TYPE_CHECKING:
    from tuneline.training.plan import Device, Plan

Status = Literal["ok", "warning", "missing"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    status: Status
    detail: str
    hint: str = ""


def run_doctor(
    path: Path | None, overrides: list[str], *, json_output: bool, gpu: str | None = None, gpu_gib: float | None = None
) -> None:
    """Look at everything; exit code 1 if something is missing, or the config does not fit the GPU (or this machine)."""
    quiet()
    from cli.plan import device_of, show

    device = device_of(gpu, gpu_gib)
    machine = [_python(), *_pipeline_packages(), _serving(), _home(), _memory(), _disk(), *_gpus()]
    checked, planned = _config(path, overrides, device)
    findings = [*machine, *checked]
    healthy = all(finding.status != "missing" for finding in findings)
    if json_output:
        document = {"healthy": healthy, "findings": [asdict(finding) for finding in findings]}
        print(json.dumps(document | {"plan": planned.document() if planned else None}, indent=2))
        sys.exit(0 if healthy else 1)
    table = Table(title="tuneline doctor", title_justify="left")
    for column in ("", "what", "found", "what to do"):
        table.add_column(column)
    marks = {"ok": "[green]ok[/]", "warning": "[yellow]look[/]", "missing": "[red]missing[/]"}
    for finding in findings:
        table.add_row(marks[finding.status], finding.what, finding.detail, finding.hint)
    console.print(table)
    if planned is not None:
        show(planned)
    chosen = "" if path is None else f" --config {path}"
    say(f"Next: [bold]python run.py{chosen}[/bold]" if healthy else "Repair what is missing, then run this again.")
    sys.exit(0 if healthy else 1)


def _python() -> Finding:
    version = platform.python_version()
    fine = sys.version_info >= (3, 11)
    return Finding(
        "Python", "ok" if fine else "missing", version, "" if fine else "Python 3.11 or newer, then make setup"
    )


def _pipeline_packages() -> list[Finding]:
    findings = []
    for package in ("zenml", "torch", "transformers", "peft", "mlflow", "bitsandbytes", "bentoml"):
        try:
            findings.append(Finding(package, "ok", importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            findings.append(Finding(package, "missing", "not installed", "make setup"))
    return findings


def _serving() -> Finding:
    try:
        return Finding("serving environment", "ok", serving_versions())
    except UserError as error:
        return Finding("serving environment", "missing", error.what, error.hint)


def _home() -> Finding:
    try:
        check_writable(paths.home())
    except UserError as error:
        return Finding("tuneline's folder", "missing", error.what, error.hint)
    return Finding("tuneline's folder", "ok", str(paths.home()))


def _memory() -> Finding:
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    detail = f"{gib:.0f} GiB, {os.cpu_count()} cores"
    if gib < 8:
        return Finding("memory", "warning", detail, "training and engine together want 8 GiB")
    return Finding("memory", "ok", detail)


def _disk() -> Finding:
    gib = shutil.disk_usage(paths.REPO).free / 2**30
    return Finding(
        "disk", "ok" if gib > 6 else "warning", f"{gib:.0f} GiB free", "" if gib > 6 else "both environments take 5 GiB"
    )


def _gpus() -> list[Finding]:
    import torch

    if not torch.cuda.is_available():
        return [Finding("GPU", "ok", "none: CPU is enough for configs/tiny.yaml", "a 7B model wants a GPU: see README")]
    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        gib = properties.total_memory / 2**30
        fits = (
            "LoRA of a 7B model" if gib >= 20 else "QLoRA of a 7B model" if gib >= 10 else "QLoRA of 0.6 to 3B models"
        )
        four_bit = "yes" if properties.major >= 6 else "no"
        detail = f"{properties.name}, {gib:.0f} GiB, CUDA {torch.version.cuda}, 4-bit: {four_bit}"
        found.append(Finding(f"GPU {index}", "ok", detail, f"fits {fits}"))
    return found


def _config(path: Path | None, overrides: list[str], device: Device) -> tuple[list[Finding], Plan | None]:
    """Whether the config is right, and whether it fits."""
    from tuneline.training.plan import plan

    try:
        config = checked_config(path, overrides)
    except TunelineError as error:
        return [Finding("config", "missing", error.what, error.hint)], None
    found = Finding("config", "ok", f"{config.name} on {config.model.base}")
    try:
        planned = plan(config, device)
    except TunelineError as error:
        return [found, Finding("plan", "warning", error.what, error.hint)], None
    detail = f"training takes {planned.training.total / 2**30:.1f} of {device.gib:.1f} GiB"
    if planned.fits:
        return [found, Finding("plan", "ok", detail)], planned
    hint = "--set as below" if planned.remedy else "a larger GPU or a smaller model"
    return [found, Finding("plan", "missing", f"{detail}: it does not fit", hint)], planned
