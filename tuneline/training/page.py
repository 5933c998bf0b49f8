"""The picture of a training run: its loss curve and its numbers."""

from __future__ import annotations

from tuneline.page import page, table
from tuneline.training.adapter import LoraAdapter

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 900, 300, 48, 28


def _curve(curve: list[dict[str, float]]) -> str:
    top = max(point["loss"] for point in curve) * 1.05 or 1.0
    last = max(point["step"] for point in curve)

    def x(step: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - 8) * step / last

    def y(loss: float) -> float:
        return 8 + (_HEIGHT - _BOTTOM - 8) * (1 - loss / top)

    grid = "".join(
        f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{y(top * i / 4):.1f}" y2="{y(top * i / 4):.1f}" stroke="var(--line)"/>'
        f'<text x="{_LEFT - 6}" y="{y(top * i / 4) + 4:.1f}" text-anchor="end">{top * i / 4:.2f}</text>'
        for i in range(5)
    )
    marks = "".join(
        f'<text x="{x(last * i / 4):.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{last * i / 4:.0f}</text>'
        for i in range(1, 5)
    )
    line = " ".join(f"{x(point['step']):.1f},{y(point['loss']):.1f}" for point in curve)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="training loss by step">{grid}{marks}'
        f'<polyline points="{line}" fill="none" stroke="var(--accent)" stroke-width="2"/></svg>'
    )


def training_page(adapter: LoraAdapter) -> str:
    """Draw the loss curve over the steps, with what the run took below it."""
    numbers = adapter.training
    lead = (
        f"{numbers['steps']} steps, {numbers['samples']:,} conversations, {numbers['supervised_tokens']:,} supervised "
        f"tokens, final loss {numbers['final_loss']:.3f} nats per token"
    )
    rows = [
        [name.replace("_", " "), f"{value:,.3f}" if isinstance(value, float) else f"{value:,}"]
        for name, value in numbers.items()
        if isinstance(value, int | float)
    ]
    config = [
        [key, str(adapter.config[key])] for key in ("r", "lora_alpha", "lora_dropout", "use_rslora", "target_modules")
    ]
    if adapter.merged is None:
        made = f"<h2>The adapter</h2>{table(['', ''], [*config, ['sha256', adapter.sha256]])}"
    else:  # the adapter beside it does nothing
        made = f"<h2>The whole model</h2>{table(['', ''], [['sha256', str(adapter.merged_sha256)]])}"
    body = f"<h2>Loss by step</h2>{_curve(adapter.curve)}<h2>The run</h2>{table(['', ''], rows, frozenset({1}))}{made}"
    return page("LoRA adapter" if adapter.merged is None else "Whole model", lead, body)
