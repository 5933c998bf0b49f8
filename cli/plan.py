"""The planner's part of ``run.py doctor``: a config's memory and time on a device, as tables or as JSON."""

from __future__ import annotations

from dataclasses import asdict

from rich.table import Table

from cli.screen import console, say
from tuneline.errors import UserError
from tuneline.training.plan import Device, Plan, card, card_of_size, this_machine

_GIB = 2**30
_PARTS = {
    "weights": "base model",
    "adapter": "trained beside it",
    "gradients": "gradients",
    "optimizer": "optimizer state",
    "activations": "activations and logits",
    "reserve": "context and fragmentation",
}


def device_of(gpu: str | None, gib: float | None) -> Device:
    """What to plan for: a named GPU, one of some size, or this machine.

    Raises:
        UserError: both are given, or the name is not known.
    """
    if gpu is not None and gib is not None:
        raise UserError("--gpu and --gpu-gib are both given", hint="One of them: a name has its memory.")
    if gpu is not None:
        return card(gpu)
    return card_of_size(gib) if gib is not None else this_machine()


def show(plan: Plan) -> None:
    """Print a plan for people."""
    device = plan.device
    table = Table(title=f"plan for {device.name}, {device.gib:.1f} GiB", title_justify="left")
    for column in ("training", "GiB", "serving", "GiB"):
        table.add_column(column, justify="right" if column == "GiB" else "left")
    engine = plan.engine
    left = [(name, asdict(plan.training)[part]) for part, name in _PARTS.items()]
    right = [
        ("base model", engine.weights),
        ("adapters", engine.adapters),
        ("activations, graphs, context", engine.own),
        ("KV cache", engine.kv_cache),
    ]
    for row, (name, size) in enumerate(left):
        other = (right[row][0], f"{right[row][1] / _GIB:.2f}") if row < len(right) else ("", "")
        table.add_row(name, f"{size / _GIB:.2f}", *other)
    table.add_section()
    served = sum(size for _, size in right)
    table.add_row("[bold]all[/]", f"[bold]{plan.training.total / _GIB:.2f}[/]", "", f"[bold]{served / _GIB:.2f}[/]")
    console.print(table)
    for line in _lines(plan):
        say(line)


def _lines(plan: Plan) -> list[str]:
    engine = plan.engine
    computed = "computed twice (gradient checkpointing)" if plan.checkpointing else "kept"
    lines = [
        f"{plan.base}: {plan.parameters:,} weights by {plan.source}; {plan.trainable:,} are trained "
        f"({plan.trainable / plan.parameters:.2%}). Activations are {computed}.",
        f"KV cache: {engine.kv_per_token / 1024:.0f} KiB a token, {engine.kv_tokens:,} tokens, "
        f"{engine.conversations:.1f} conversations of {engine.max_model_len:,} tokens at once.",
        _time(plan),
    ]
    if plan.fits:
        lines.append("[green]It fits.[/]")
        return lines
    which = [name for name, fits in (("training", plan.training_fits), ("serving", engine.fits)) if not fits]
    lines.append(f"[red]It does not fit: {' and '.join(which)}.[/]")
    if plan.remedy is None:
        lines.append("No change of the config makes it fit; take a larger GPU or a smaller model.")
    else:
        lines.append("With these it would:")
        lines.append("  " + " ".join(f"--set {override}" for override in plan.remedy))
    return lines


def _time(plan: Plan) -> str:
    if plan.tokens_per_second is None:
        return "Time: unknown without the GPU's name (--gpu)."
    basis = "of what a large product reaches here" if plan.device.measured else "of the data sheet's peak"
    speed = (
        f"{plan.tokens_per_second:,.0f} tokens/s expected, at {plan.flops_per_token / 1e9:,.2f} GFLOP a token and "
        f"{plan.utilisation:.0%} {basis}"
    )
    if plan.tokens is None or plan.seconds is None:
        return f"Time: {1e6 / plan.tokens_per_second:,.0f} s for a million tokens ({plan.tokens_from}); {speed}."
    minutes = plan.seconds / 60
    return f"Time: {minutes:,.1f} min for {plan.tokens:,} tokens ({plan.tokens_from}); {speed}."
