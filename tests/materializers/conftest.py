"""The stores that artifacts are kept in, and a folder that looks like a trained adapter."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tuneline.training.adapter import LoraAdapter

if TYPE_CHECKING:
    from zenml.client import Client


@pytest.fixture(params=["local", "s3"])
def store(
    request: pytest.FixtureRequest, zenml_client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Client:
    """A client whose active stack keeps artifacts on disk, then in an S3 bucket."""
    if request.param == "s3":
        request.getfixturevalue("s3_stack")
    # Outside of a step ZenML leaves the folders that it loads into for the caller to remove.
    loaded = tmp_path / "loaded"
    loaded.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(loaded))
    assert zenml_client.active_stack.artifact_store.config.is_local == (request.param == "local")
    return zenml_client


@pytest.fixture
def adapter(tmp_path: Path) -> LoraAdapter:
    """An adapter's files without an adapter in them."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    config = {
        "r": 8,
        "lora_alpha": 16,
        "lora_dropout": 0.05,
        "use_rslora": False,
        "target_modules": ["q_proj", "<script>v_proj</script>"],
    }
    training = {"steps": 200, "samples": 1600, "supervised_tokens": 54321, "final_loss": 0.0162, "device": "cpu"}
    curve = [{"step": step, "loss": 2.0 / step} for step in (1, 100, 200)]
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_bytes(bytes(range(256)) * 16)
    (folder / "training.json").write_text(json.dumps(training))
    (folder / "curve.json").write_text(json.dumps(curve))
    return LoraAdapter(folder)
