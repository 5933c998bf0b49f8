"""Writing what was trained: the folder that is evaluated, registered and served."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from peft import PeftModel

from tuneline.training.adapter import LoraAdapter
from tuneline.training.outcome import TrainingRun
from tuneline.training.progress import Progress

if TYPE_CHECKING:
    from tuneline.config import ModelConfig


def export(
    trained: PeftModel, model: ModelConfig, run: TrainingRun, curve: Sequence[Progress], output: Path
) -> LoraAdapter:
    """Write the adapter with its numbers and its curve."""
    # No path of the training machine travels with the adapter; the release says which base it belongs to.
    trained.peft_config["default"].base_model_name_or_path = Path(model.base).name if model.is_local else model.base
    trained.save_pretrained(str(output), save_embedding_layers=False)
    (output / "README.md").unlink(missing_ok=True)  # PEFT's empty template
    (output / "training.json").write_text(json.dumps(asdict(run), indent=2))
    (output / "curve.json").write_text(json.dumps([asdict(moment) for moment in curve]))
    return LoraAdapter(output)
