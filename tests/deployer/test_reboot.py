"""An endpoint outlives the ZenML client that started it: what is known of it lies with the process, not in ZenML."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import cast

import psutil
import pytest

from stacks.apply import activate, apply_stack
from stacks.deployer.deployer import BentoVLLMModelDeployer
from stacks.deployer.service import EndpointService

pytestmark = pytest.mark.zenml


@pytest.fixture
def rebooted(
    deployer: BentoVLLMModelDeployer, _prepared_zenml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], BentoVLLMModelDeployer]:
    """Throws ZenML's folder away, with its store and its choices, and gives the deployer of a new client."""
    from zenml.client import Client
    from zenml.config.global_config import GlobalConfiguration
    from zenml.stack import stack

    def reboot() -> BentoVLLMModelDeployer:
        shutil.rmtree(GlobalConfiguration().config_directory)
        fresh = tmp_path / "fresh-zenml"
        shutil.copytree(_prepared_zenml, fresh)
        monkeypatch.setenv("ZENML_CONFIG_PATH", str(fresh))
        monkeypatch.setenv("ZENML_LOCAL_STORES_PATH", str(fresh / "local_stores"))
        monkeypatch.delenv("ZENML_ACTIVE_STACK_ID")
        GlobalConfiguration._reset_instance()
        Client._reset_instance()
        stack._STACK_CACHE.clear()
        assert Client().list_services().total == 0
        apply_stack("local")
        activate("local")
        return cast(BentoVLLMModelDeployer, Client().active_stack.model_deployer)

    return reboot


def test_an_endpoint_is_found_and_stopped_by_a_client_that_has_never_heard_of_it(
    deployer: BentoVLLMModelDeployer, folder: str, rebooted: Callable[[], BentoVLLMModelDeployer]
) -> None:
    started = deployer.ensure_live("tiny", folder, wait_for_sequence=1)
    newcomer = rebooted()
    assert newcomer.find_model_server() == []  # ZenML knows nothing
    found = newcomer.find_endpoint("tiny")
    assert found is not None
    assert (found.url, found.pid) == (started.url, started.pid)
    assert any("says hello" in line for line in newcomer.endpoint_logs("tiny", follow=False, tail=5))
    assert newcomer.stop_endpoint("tiny")
    assert not psutil.pid_exists(cast(int, started.pid))


def test_a_deployment_by_the_new_client_takes_the_running_endpoint_over_without_restarting_it(
    deployer: BentoVLLMModelDeployer, folder: str, rebooted: Callable[[], BentoVLLMModelDeployer]
) -> None:
    started = deployer.ensure_live("tiny", folder, wait_for_sequence=1)
    newcomer = rebooted()
    again = newcomer.ensure_live("tiny", folder, wait_for_sequence=1)
    assert (again.pid, again.started) == (started.pid, False)
    (service,) = newcomer.find_model_server(running=True)
    assert cast(EndpointService, service).status.pid == started.pid
    newcomer.stop_model_server(service.uuid)
    assert newcomer.find_endpoint("tiny") is None
