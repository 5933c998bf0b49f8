"""``run.py base``: whether the config's base model loads and answers here, how fast, and in how much memory."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from cli.screen import console, say
from cli.workplace import checked_config
from tuneline import paths
from tuneline.config import Config
from tuneline.errors import TunelineError, UserError

PRECISIONS = ("none", "int8", "nf4")
_NAMES = {"none": "in full", "int8": "8-bit (LLM.int8)", "nf4": "4-bit (NF4)"}
_QUESTIONS = ("Hello! Who are you?", "Name three colours.", "What is 17 + 25?")
_LESS = "Load it with less: --quantization nf4 is about a quarter of bfloat16, or take a smaller model."


def run_base(
    path: Path | None,
    overrides: list[str],
    *,
    quantization: str | None,
    every: bool,
    questions: list[str],
    max_new_tokens: int,
    json_output: bool,
) -> None:
    """Try the base model in each wanted precision; exit code 1 if one of them fails, after all were tried."""
    config = checked_config(path, overrides)
    wanted = _precisions(config, quantization, every=every)
    asked = questions or list(_QUESTIONS)
    found: list[dict[str, Any]] = []
    for precision in wanted:
        if not json_output:
            say(f"[dim]Loading {escape(config.model.base)} {_NAMES[precision]} …[/]")
        found.append(_tried(config, precision, asked, max_new_tokens))
    failed = [check for check in found if "error" in check]
    if json_output:
        print(json.dumps({"base": config.model.base, "dtype": config.model.dtype, "checks": found}, indent=2))
    elif len(failed) < len(found):
        _show([check for check in found if "error" not in check], config, asked)
    if failed:
        what = "; ".join(f"{_NAMES[check['quantization']]}: {check['error']}" for check in failed)
        kind = UserError if all(check["users"] for check in failed) else TunelineError
        raise kind(f"the base model does not work here, {what}", hint=failed[0]["hint"])
    if not json_output:
        say("Next: [bold]python run.py train[/bold] with the same --config teaches it.")


def _precisions(config: Config, quantization: str | None, *, every: bool) -> list[str]:
    if every:
        return list(PRECISIONS)
    wanted = [part.strip() for part in quantization.split(",")] if quantization else [config.model.quantization]
    wrong = [name for name in wanted if name not in PRECISIONS]
    if wrong:
        raise UserError(
            f"--quantization {quantization}: there is no {wrong[0]!r}",
            hint=f"It takes {', '.join(PRECISIONS)}, several with commas between; --all tries each.",
        )
    return list(dict.fromkeys(wanted))


def _tried(config: Config, quantization: str, questions: list[str], max_new_tokens: int) -> dict[str, Any]:
    """What the check's process found: the fields of ``BaseCheck``, or ``error``, ``hint`` and whose it is."""
    request = {
        "model": config.model.model_dump(mode="json"),
        "quantization": quantization,
        "prompt": config.prompt.model_dump(mode="json"),
        "questions": questions,
        "max_new_tokens": max_new_tokens,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tuneline.training.base_check"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        errors="replace",
        cwd=paths.REPO,
        check=False,
    )
    if done.returncode == 0:
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        users = "error" in answer and bool(answer["hint"])
        return answer if "error" not in answer else _failed(quantization, answer["error"], answer["hint"], users=users)
    if -done.returncode == signal.SIGKILL:  # what Linux does to the process that takes the last memory
        return _failed(quantization, "the machine's memory was not enough: its process was killed", _LESS)
    said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return _failed(quantization, f"its process ended with: {said}", _LESS if "memory" in said else "")


def _failed(quantization: str, error: str, hint: str, *, users: bool = False) -> dict[str, Any]:
    return {"quantization": quantization, "error": error, "hint": hint or _LESS, "users": users}


def _show(checks: list[dict[str, Any]], config: Config, questions: list[str]) -> None:
    table = Table(title=f"{config.model.base} on {checks[0]['device']}", title_justify="left")
    table.add_column("")
    for check in checks:
        name = _NAMES[check["quantization"]]
        table.add_column(f"{name}, {config.model.dtype}" if check["quantization"] == "none" else name, justify="right")
    rows = {
        "parameters": lambda check: f"{check['parameters']:,}",
        "loaded in": lambda check: f"{check['load_seconds']:.1f} s",
        "first token": lambda check: f"{check['first_token_seconds'] * 1000:,.0f} ms",
        "one question": lambda check: f"{check['tokens_per_second']:,.1f} tokens/s",
        "eight at once": lambda check: f"{check['tokens_per_second_8']:,.1f} tokens/s",
        "weights": lambda check: f"{check['weights_gib']:.2f} GiB",
        "process at its peak": lambda check: f"{check['peak_memory_gib']:.2f} GiB",
    }
    if any(check["peak_gpu_gib"] for check in checks):
        rows["GPU at its peak"] = lambda check: f"{check['peak_gpu_gib']:.2f} GiB"
    for label, cell in rows.items():
        table.add_row(label, *map(cell, checks))
    console.print(table)
    for place, question in enumerate(questions):
        say(f"[bold]{escape(question)}[/]")
        for check in checks:
            text = check["texts"][place] or "(nothing)"
            say(f"  [dim]{_NAMES[check['quantization']]}:[/] {escape(text)}")
