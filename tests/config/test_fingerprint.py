"""What makes two experiments train the same adapter, and a config's written form."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.config.conftest import Load
from tuneline.config import load_config


@pytest.mark.parametrize(
    "override",
    [
        "training.learning_rate=1e-5",
        "training.seed=1",
        "model.dtype=float32",
        "data.sources.0.size=101",
        "data.evaluation={holdout: 50}",
        "prompt.system=Be brief.",
    ],
)
def test_what_decides_the_weights_changes_the_fingerprint(load: Load, override: str) -> None:
    assert load(overrides=[override]).fingerprint() != load().fingerprint()


@pytest.mark.parametrize(
    "override",
    [
        "name=another",
        "gate.confidence=0.9",
        "evaluation.batch_size=1",
        "serving.max_loras=4",
        "data.evaluation.sources.0.size=70",
        "data.max_quarantined_share=0.5",
        "prompt.name=renamed",
        "zenml.tags=[a]",
        "model.license=mit",
        "data.sources.0.license=cc-by-nc-4.0",
        "card={intended_use: To try it., limits: [It is small.], license: mit, language: [en]}",
    ],
)
def test_what_does_not_leaves_it(load: Load, override: str) -> None:
    assert load(overrides=[override]).fingerprint() == load().fingerprint()


def _files(folder: Path) -> list[str]:
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "config.json").write_text("{}")
    (folder / "model" / "model.safetensors").write_bytes(b"weights")
    (folder / "rows.json").write_text("[1]")
    return [
        f"model.base={folder}/model",
        f"data.sources.0={{type: file, path: {folder}/rows.json}}",
    ]


def test_local_files_count_by_content_and_not_by_place(load: Load, tmp_path: Path) -> None:
    options = _files(tmp_path / "a")
    first = load(overrides=options).fingerprint()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert load(overrides=[option.replace("/a/", "/b/") for option in options]).fingerprint() == first
    (tmp_path / "a" / "rows.json").write_text("[2]")
    second = load(overrides=options).fingerprint()
    (tmp_path / "a" / "model" / "model.safetensors").write_bytes(b"others")
    assert len({first, second, load(overrides=options).fingerprint()}) == 3


def test_the_written_form_loads_to_the_same_config(load: Load, tmp_path: Path) -> None:
    config = load(
        overrides=[
            *_files(tmp_path / "a"),
            "prompt={name: p, system: 'on', few_shot: [{role: user, content: \"x: y\\nz\"}]}",
            "zenml.steps={train: {enable_cache: false, settings: {resources: {gpu_count: 1}}}}",
            "training.learning_rate=1e-7",
            "serving.extra={swap_space: 4}",
        ]
    )
    (tmp_path / "again.yaml").write_text(config.to_yaml())
    assert load_config(tmp_path / "again.yaml") == config


def test_a_config_survives_json_as_a_pipeline_parameter_does(load: Load) -> None:
    config = load(overrides=["training.target_modules=[q_proj]"])
    assert type(config).model_validate_json(config.model_dump_json()) == config
    assert type(config).model_validate(config.model_dump(mode="json")) == config
