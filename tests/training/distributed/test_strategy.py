"""What accelerate and DeepSpeed are told is what they understand, as far as that can be seen without GPUs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.deepspeed import HfDeepSpeedConfig
from transformers import TrainingArguments
from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig

from tuneline.config import TrainingConfig
from tuneline.training.distributed.strategy import deepspeed_config, is_sharded, sharing


def _training(**distributed: Any) -> TrainingConfig:
    return TrainingConfig(max_steps=2, distributed={"processes": 2, **distributed})


class _Config(HfTrainerDeepSpeedConfig, HfDeepSpeedConfig):  # type: ignore[misc]
    """As transformers makes it where DeepSpeed is installed."""


@pytest.fixture
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())  # both write to it


@pytest.mark.usefixtures("_own_environment")
def test_fsdp_is_told_to_shard_layer_by_layer_and_to_save_whole(tmp_path: Path) -> None:
    arguments = TrainingArguments(str(tmp_path), use_cpu=True, **sharing(_training(strategy="fsdp"), cuda=True))
    plugin = FullyShardedDataParallelPlugin(**arguments.fsdp_plugin_args)
    assert plugin.fsdp_version == 2 and plugin.reshard_after_forward is True
    assert plugin.state_dict_type.name == "FULL_STATE_DICT"
    assert is_sharded(_training(strategy="fsdp")) and not is_sharded(_training())


@pytest.mark.usefixtures("_own_environment")
def test_zero_3_leaves_nothing_open_that_transformers_does_not_fill_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.integrations.deepspeed.dep_version_check", lambda name: None)
    arguments = TrainingArguments(
        str(tmp_path), use_cpu=True, bf16=True, per_device_train_batch_size=3, gradient_accumulation_steps=2
    )
    config = _Config(deepspeed_config(_training(strategy="deepspeed")))
    config.trainer_config_process(arguments)
    filled = config.config
    assert filled["train_micro_batch_size_per_gpu"] == 3 and filled["gradient_accumulation_steps"] == 2
    assert filled["bf16"]["enabled"] is True and filled["fp16"]["enabled"] is False
    assert "auto" not in str(filled)
    assert filled["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"], "or there is nothing to export"
