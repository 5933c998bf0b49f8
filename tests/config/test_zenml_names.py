"""The names that section ``zenml`` takes are ZenML's own; ZenML ignores misspelled ones without a word."""

from __future__ import annotations

import pytest

from tests.config.conftest import Fail, Load
from tuneline.config import ZenMLConfig
from tuneline.config.zenml_run import OURS, ZenMLStep


@pytest.mark.zenml
def test_our_names_and_zenmls_agree() -> None:
    from zenml.config.pipeline_run_configuration import PipelineRunConfiguration
    from zenml.config.step_configurations import StepConfigurationUpdate

    assert set(ZenMLConfig.model_fields) | OURS.keys() == set(PipelineRunConfiguration.model_fields)
    assert set(ZenMLStep.model_fields) | OURS.keys() == set(StepConfigurationUpdate.model_fields)
    assert not OURS.keys() & (set(ZenMLConfig.model_fields) | set(ZenMLStep.model_fields))


@pytest.mark.zenml
def test_zenml_takes_what_we_let_through(load: Load) -> None:
    from zenml.config.pipeline_run_configuration import PipelineRunConfiguration

    given = {
        "enable_cache": False,
        "tags": ["nightly"],
        "retry": {"max_retries": 2, "delay": 5},
        "execution_mode": "fail_fast",
        "environment": {"A": "1"},
        "settings": {"resources": {"gpu_count": 1}},
        "steps": {"train": {"step_operator": "gpu", "runtime": "isolated", "heartbeat_healthy_threshold": 20}},
    }
    configured = load(overrides=[f"zenml={given}"]).zenml.run_configuration()
    taken = PipelineRunConfiguration(**configured)
    assert taken.model_dump(mode="json", include={"enable_cache", "tags"}) == {
        "enable_cache": False,
        "tags": ["nightly"],
    }
    assert taken.retry is not None
    assert taken.retry.delay == 5
    assert taken.steps is not None
    assert taken.steps["train"].step_operator == "gpu"


def test_only_what_was_set_is_handed_on(load: Load) -> None:
    assert load().zenml.run_configuration() == {}
    assert load(overrides=["zenml.enable_cache=false"]).zenml.run_configuration() == {"enable_cache": False}


def test_misspelled_names_are_refused_at_every_depth(fail: Fail) -> None:
    problems = fail(overrides=["zenml.settigns={}", "zenml.steps={train: {step_oprator: x}}"]).problems
    assert {problem.nearest for problem in problems} == {"settings", "step_operator"}


def test_what_the_experiment_decides_is_refused_with_the_reason(fail: Fail) -> None:
    error = fail(overrides=["zenml.parameters={a: 1}", "zenml.steps={train: {model: {name: x}}}"])
    told = {problem.path: problem.what for problem in error.problems}
    assert "come from the other sections" in told["zenml", "parameters"]
    assert "top-level name" in told["zenml", "steps", "train", "model"]
