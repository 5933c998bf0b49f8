"""The config: one YAML file for an experiment, typed, and checked before anything is loaded."""

from tuneline.config.card import CardConfig
from tuneline.config.data import (
    DataConfig,
    EvaluationData,
    FeedbackSource,
    FileSource,
    HubSource,
    Source,
    SyntheticSource,
)
from tuneline.config.evaluation import EvaluationConfig, EvaluationEndpoint, evaluation_files
from tuneline.config.experiment import Config
from tuneline.config.gate import GateConfig
from tuneline.config.load import load_config, load_pretraining_config
from tuneline.config.metrics import Metric
from tuneline.config.model import ModelConfig
from tuneline.config.pretraining import PretrainingConfig
from tuneline.config.problem import ConfigError, Place, Problem
from tuneline.config.serving import MonitoringConfig, ServingConfig
from tuneline.config.suites import (
    HeldoutSuite,
    JudgeSuite,
    LatencySuite,
    LmEvalSuite,
    PromptsSuite,
    QuestionsSuite,
    Suite,
)
from tuneline.config.training import TrainingConfig
from tuneline.config.zenml_run import ZenMLConfig

__all__ = [
    "CardConfig",
    "Config",
    "ConfigError",
    "DataConfig",
    "EvaluationConfig",
    "EvaluationData",
    "EvaluationEndpoint",
    "FeedbackSource",
    "FileSource",
    "GateConfig",
    "HeldoutSuite",
    "HubSource",
    "JudgeSuite",
    "LatencySuite",
    "LmEvalSuite",
    "Metric",
    "ModelConfig",
    "MonitoringConfig",
    "Place",
    "PretrainingConfig",
    "Problem",
    "PromptsSuite",
    "QuestionsSuite",
    "ServingConfig",
    "Source",
    "Suite",
    "SyntheticSource",
    "TrainingConfig",
    "ZenMLConfig",
    "evaluation_files",
    "load_config",
    "load_pretraining_config",
]
