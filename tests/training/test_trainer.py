"""The same steps whatever the micro-batch: accumulation changes the speed and not the result."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuneline import paths
from tuneline.config import Config, load_config
from tuneline.data.synthetic import generate_records
from tuneline.training.job import TrainingJob
from tuneline.training.train import train

RECORDS = list(generate_records(("kubectl",), 60, seed=1))


def _config(*overrides: str) -> Config:
    return load_config(
        paths.CONFIGS / "tiny.yaml",
        ["training.max_steps=4", "training.batch_tokens=1024", "training.max_length=128", *overrides],
    )


def _losses(folder: Path, config: Config) -> list[float]:
    outcome = train(TrainingJob(RECORDS, config.model, config.training, config.prompt, folder))
    return [moment.loss for moment in outcome.curve]


@pytest.mark.parametrize(
    "cut", [["training.micro_batch_tokens=128"], ["training.micro_batch_tokens=512", "training.packing=off"]]
)
def test_smaller_micro_batches_and_no_packing_give_the_same_curve(cut: list[str], tmp_path: Path) -> None:
    whole = _losses(tmp_path / "whole", _config("training.micro_batch_tokens=1024"))
    parts = _losses(tmp_path / "parts", _config(*cut))
    assert len(whole) == 4, "a step was lost"
    assert whole[0] > whole[-1]
    assert parts == pytest.approx(whole, abs=0.02)  # bfloat16
