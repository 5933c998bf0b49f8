"""The engine that the config names, if it is another than transformers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tuneline.evaluation.engines.endpoint_engine import EndpointEngine
from tuneline.evaluation.engines.engine import Engine
from tuneline.evaluation.engines.vllm_engine import VllmEngine
from tuneline.evaluation.report import Role
from tuneline.evaluation.subjects import AdapterSubject
from tuneline.release.document import BaseRef

if TYPE_CHECKING:
    from tuneline.config import EvaluationConfig, ModelConfig, ServingConfig


def other_engine(
    model: ModelConfig,
    evaluation: EvaluationConfig,
    serving: ServingConfig,
    adapters: Sequence[AdapterSubject],
    stop_ids: Sequence[int],
) -> Engine:
    """Make the engine of ``evaluation.engine``; nothing is started yet.

    Args:
        model: the base model.
        evaluation: which engine, where, and how long answers may be.
        serving: how vLLM is started, so that what is evaluated is what is served.
        adapters: those that are asked.
        stop_ids: token ids that end an answer.
    """
    folders: dict[Role, Path] = {adapter.role: adapter.folder for adapter in adapters}
    if evaluation.endpoint is not None:
        server = evaluation.endpoint
        return EndpointEngine(
            server.url,
            os.environ.get(server.api_key_env) if server.api_key_env else None,
            server.base,
            folders,
            max_new_tokens=evaluation.max_new_tokens,
            stop_ids=stop_ids,
            batch_size=evaluation.batch_size,
            shared_folder=Path(server.adapters) if server.adapters else None,
        )
    return VllmEngine(
        BaseRef(model=model.base, revision=model.revision, trust_remote_code=model.trust_remote_code),
        serving.engine(),
        folders,
        max_new_tokens=evaluation.max_new_tokens,
        stop_ids=stop_ids,
    )
