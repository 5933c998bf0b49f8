"""A trained adapter as a model in MLflow: with a signature, without the base model, and without any pickle."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

from tuneline.config import ModelConfig
from tuneline.prompts import PromptTemplate
from tuneline.release.files import ADAPTER_FILES
from tuneline.training.adapter import LoraAdapter

NAME = "adapter"
_LOADER = Path(__file__).with_name("adapter_pyfunc.py")
_SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.string, "question")]),
    outputs=Schema([ColSpec(DataType.string, "answer")]),
    params=ParamSchema([ParamSpec("max_new_tokens", DataType.integer, 128)]),
)
_NEEDED = ("torch", "transformers", "peft", "accelerate", "safetensors")


def log_adapter(adapter: LoraAdapter, model: ModelConfig, prompt: PromptTemplate) -> None:
    """Log the adapter to the active run.

    A whole model (``training.export: merged``) is not: its weights are in the artifact store, and MLflow's store need
    not hold gigabytes twice.

    Raises:
        mlflow.exceptions.MlflowException: MLflow is away, or refuses.
    """
    if adapter.merged is not None:
        return
    # It warns of an environment without pip, as uv makes them: nothing that anyone could or should mend.
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="tuneline-") as scratch:
        folder = Path(scratch) / NAME
        folder.mkdir()
        for name in ADAPTER_FILES:
            shutil.copyfile(adapter.folder / name, folder / name)
        (folder / "prompt.json").write_text(json.dumps(prompt.model_dump(mode="json"), indent=2, ensure_ascii=False))
        with warnings.catch_warnings():
            # An input example would let MLflow load the base model once more, to infer the signature that is given.
            warnings.filterwarnings("ignore", message=".*input example was not provided")
            mlflow.pyfunc.log_model(
                name=NAME,
                loader_module=_LOADER.stem,
                data_path=str(folder),
                code_paths=[str(_LOADER)],
                model_config=_settings(model),
                signature=_SIGNATURE,
                pip_requirements=[f"{package}=={version(package).split('+')[0]}" for package in _NEEDED],
            )


def _settings(model: ModelConfig) -> dict[str, Any]:
    """What loads the base model, without a path of this machine."""
    settings = model.model_dump(mode="json", include={"base", "revision", "trust_remote_code", "dtype"})
    return settings | {"base": Path(model.base).name if model.is_local else model.base}
