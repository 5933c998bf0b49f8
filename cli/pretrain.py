"""``run.py pretrain``: the recipe of the tiny base model, as a ZenML pipeline."""

from __future__ import annotations

from pathlib import Path

from cli.screen import say
from cli.workplace import use_stack
from tuneline import paths
from tuneline.config import load_pretraining_config


def run_pretrain(path: Path | None, stack: str | None, overrides: list[str], *, no_cache: bool) -> None:
    """Run the recipe and write the model folder."""
    config = load_pretraining_config(path or paths.CONFIGS / "pretrain-tiny.yaml", overrides)
    use_stack(stack)
    from pipelines.pretraining import pretraining_pipeline

    pretraining_pipeline.with_options(enable_cache=not no_cache)(config)
    say(f"The base model is in [bold]{config.output}[/bold].")
    say(f"Next: [bold]python run.py --set model.base={config.output}[/bold]")
