"""The picture of a training run: its curves, its numbers, and what it came from."""

from __future__ import annotations

from typing import Any

from tuneline.page import page, table
from tuneline.training.adapter import LoraAdapter
from tuneline.training.curve import plots
from tuneline.training.origin import flat
from tuneline.training.record import TrainingRecord


def training_page(adapter: LoraAdapter) -> str:
    """Draw the curves over the steps, with what the run took and came from below them."""
    config = [
        [key, str(adapter.config[key])] for key in ("r", "lora_alpha", "lora_dropout", "use_rslora", "target_modules")
    ]
    below = f"<h2>The adapter</h2>{table(['', ''], [*config, ['sha256', adapter.sha256]])}"
    record = TrainingRecord("LoRA adapter", adapter.training, adapter.curve, adapter.origin)
    return page(record.name, _lead(record.numbers), _body(record) + below)


def record_page(model: str, record: TrainingRecord) -> str:
    """The same for a registered version, without the adapter itself."""
    return page(f"{model} {record.name}: training", _lead(record.numbers), _body(record))


def _lead(numbers: dict[str, Any]) -> str:
    lead = (
        f"{numbers['steps']} steps, {numbers['samples']:,} conversations, {numbers['supervised_tokens']:,} supervised "
        f"tokens, final loss {numbers['final_loss']:.3f} nats per token"
    )
    if numbers.get("best_validation_loss") is not None:
        lead += f", best validation loss {numbers['best_validation_loss']:.3f} at step {numbers['best_step']}"
    return lead + (f"; stopped early: {numbers['stopped']}" if numbers.get("stopped") else "")


def _body(record: TrainingRecord) -> str:
    body = "".join(f"<h2>{title}</h2>{drawn}" for title, drawn in plots({"": record.curve}).items())
    body += f"<h2>The run</h2>{table(['', ''], run_rows(record.numbers), frozenset({1}))}"
    for title, rows in origin_rows(record.origin).items():
        body += f"<h2>{title}</h2>{table(['', ''], [[key, shown(value)] for key, value in rows.items()])}"
    return body


def run_rows(numbers: dict[str, Any]) -> list[list[str]]:
    """A run's numbers as rows of a table; the fields that hold none are left out."""
    rows = []
    for name, value in numbers.items():
        if value is None or isinstance(value, dict) or value == []:
            continue
        rows.append([name.replace("_", " "), shown(value)])
    return rows


def origin_rows(came_from: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What an adapter came from, by the title of its table; nothing for adapters made before it was kept."""
    if not came_from:
        return {}
    data = {f"data {key}": value for key, value in came_from["data"].items()}
    hashes = {"prompt sha256": came_from["prompt_sha256"], "base model sha256": came_from["base_sha256"]}
    return {"Settings": flat(came_from["settings"]), "Data": data | hashes, "Environment": came_from["environment"]}


def shown(value: Any) -> str:
    """A value for people: numbers with separators, none where there is nothing."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if value and abs(value) < 0.01:
            return f"{value:g}"
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"
    if isinstance(value, list):
        return ", ".join(shown(part) for part in value) or "none"
    return str(value)
