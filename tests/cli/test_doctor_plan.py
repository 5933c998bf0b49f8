"""``run.py doctor`` plans a config: for a GPU that is not here, and with what to change where it does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.cli.conftest import Run

SMALL = ("doctor", "--config", "configs/qwen3-0.6b-lora-8gb.yaml")


def test_what_does_not_fit_ends_with_1_and_changes_to_copy(run: Run) -> None:
    ended = run(*SMALL, "--gpu-gib", "3.5", "--json")
    said = json.loads(ended.out)
    assert ended.code == 1 and not said["plan"]["fits"] and said["plan"]["tokens_per_second"] is None
    assert [f["status"] for f in said["findings"] if f["what"] == "plan"] == ["missing"]
    overrides = [part for override in said["plan"]["remedy"] for part in ("--set", override)]
    assert json.loads(run(*SMALL, "--gpu-gib", "3.5", "--json", *overrides).out)["plan"]["fits"]


def test_what_fits_is_told_with_memory_and_time(run: Run) -> None:
    said = run(*SMALL, "--gpu", "rtx 4090").out
    assert "plan for RTX 4090, 23.6 GiB" in said and "It fits." in said
    assert "596,049,920 weights by its published shape" in said and "tokens/s expected" in said


def test_a_gpu_has_a_name_or_a_size(refused: Callable[..., str]) -> None:
    assert "--gpu and --gpu-gib are both given" in refused(*SMALL, "--gpu", "L4", "--gpu-gib", "8")
    assert "One of T4" in refused(*SMALL, "--gpu", "GeForce 256")
