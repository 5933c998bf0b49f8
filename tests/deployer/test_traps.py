"""ZenML 0.98's model deployers have eight traps. One test for each: it fails if we step into it."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

import psutil
import pytest
from zenml.enums import ServiceState
from zenml.model_deployers.base_model_deployer import BaseModelDeployer

from stacks.deployer import process
from stacks.deployer.service import EndpointService
from tests.deployer.stub import Behave
from tuneline.errors import TunelineError
from tuneline.paths import endpoint_workdir

if TYPE_CHECKING:
    from zenml.client import Client

    from stacks.deployer.deployer import BentoVLLMModelDeployer

pytestmark = pytest.mark.zenml


def records(client: Client) -> list[str]:
    return [service.name for service in client.list_services().items]


def test_trap_1_deploying_an_endpoint_never_returns_another_one_of_the_same_flavor(
    deployer: BentoVLLMModelDeployer, folder: str
) -> None:
    tiny = cast(EndpointService, deployer.deploy_model(deployer.service_config("tiny", folder)))
    other = cast(EndpointService, deployer.deploy_model(deployer.service_config("other", folder)))
    again = cast(EndpointService, deployer.deploy_model(deployer.service_config("tiny", folder)))
    assert (tiny.config.endpoint, other.config.endpoint) == ("tiny", "other")
    assert tiny.uuid == again.uuid != other.uuid
    assert [s.uuid for s in deployer.find_model_server(config={"endpoint": "other"})] == [other.uuid]
    assert deployer.find_model_server(config={"endpoint": "third"}) == []


def test_trap_2_a_failed_start_raises_and_leaves_nothing_registered_or_running(
    deployer: BentoVLLMModelDeployer, folder: str, stub: Behave, zenml_client: Client
) -> None:
    stub(die="no such model", grandchild=True)
    with pytest.raises(TunelineError, match="exit code 1") as failure:
        deployer.deploy_model(deployer.service_config("tiny", folder))
    assert "no such model" in failure.value.what
    assert "engine: out of memory" in failure.value.what
    assert records(zenml_client) == []
    assert process.find(endpoint_workdir("tiny")) is None


def test_trap_2_a_start_that_never_answers_raises_at_the_timeout_and_is_ended(
    deployer: BentoVLLMModelDeployer, folder: str, stub: Behave, zenml_client: Client
) -> None:
    stub(gate="/never", grandchild=True)
    with pytest.raises(TunelineError, match="did not answer within 3 s"):
        deployer.deploy_model(deployer.service_config("tiny", folder), timeout=3)
    assert records(zenml_client) == []
    assert process.find(endpoint_workdir("tiny")) is None
    assert not psutil.pid_exists(int((endpoint_workdir("tiny") / "grandchild").read_text()))


def test_trap_3_a_crashed_server_reads_as_failed_at_once_and_a_new_deploy_starts_it_again(
    deployer: BentoVLLMModelDeployer, folder: str
) -> None:
    first = deployer.ensure_live("tiny", folder)
    os.kill(cast(int, first.pid), signal.SIGKILL)
    psutil.wait_procs([psutil.Process(first.pid)] if psutil.pid_exists(first.pid) else [], timeout=10)

    (service,) = deployer.find_model_server()
    assert service.status.state == ServiceState.ERROR
    assert "ended without having been stopped" in service.status.last_error
    before = time.monotonic()
    assert not service.poll_service_status(timeout=60)
    assert time.monotonic() - before < 30
    assert deployer.find_endpoint("tiny") is None

    second = deployer.ensure_live("tiny", folder)
    assert second.started
    assert second.pid != first.pid
    assert second.url == first.url
    assert len(deployer.find_model_server(running=True)) == 1


def test_trap_4_listing_during_a_deploy_keeps_the_record_of_the_server_that_starts(
    deployer: BentoVLLMModelDeployer, folder: str, stub: Behave, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[ServiceState] = []
    find = process.find

    def list_meanwhile(workdir: Path) -> process.Serving | None:
        found = find(workdir)
        if found and not found.url:
            monkeypatch.setattr(process, "find", find)
            seen.extend(service.status.state for service in deployer.find_model_server())
            # what another flavor's deployer does: ZenML's own listing, which deletes records without a source
            BaseModelDeployer.find_model_server(deployer)
        return found

    monkeypatch.setattr(process, "find", list_meanwhile)
    deployer.ensure_live("tiny", folder)
    assert seen == [ServiceState.PENDING_STARTUP]
    (service,) = deployer.find_model_server(running=True)
    assert cast(EndpointService, service).config.endpoint == "tiny"


def test_trap_5_the_server_is_no_zenml_process_and_ends_at_a_single_sigterm(
    deployer: BentoVLLMModelDeployer, folder: str
) -> None:
    info = deployer.ensure_live("tiny", folder)
    server = psutil.Process(info.pid)
    assert info.pid != os.getpid()
    assert os.getsid(cast(int, info.pid)) == info.pid != os.getsid(0)
    assert not json.loads((endpoint_workdir("tiny") / "seen.json").read_text())["zenml"]
    server.terminate()
    psutil.wait_procs([server], timeout=20)
    assert not server.is_running()


def test_trap_6_stopping_waits_for_running_requests_and_then_ends_the_whole_tree(
    deployer: BentoVLLMModelDeployer, folder: str, stub: Behave
) -> None:
    stub(drain=6, grandchild=True)  # ZenML would kill after 5 s, and only the first process
    info = deployer.ensure_live("tiny", folder)
    workdir = endpoint_workdir("tiny")
    grandchild = int((workdir / "grandchild").read_text())
    assert deployer.stop_endpoint("tiny")
    assert (workdir / "drained").exists()
    assert not psutil.pid_exists(info.pid)
    assert not psutil.pid_exists(grandchild)
    assert deployer.find_model_server()[0].status.state == ServiceState.INACTIVE


@pytest.mark.parametrize(("continuous", "replace"), [(True, False), (False, True)])
def test_trap_7_no_flag_takes_a_live_server_down_for_a_new_one(
    deployer: BentoVLLMModelDeployer, folder: str, continuous: bool, replace: bool
) -> None:
    tiny = deployer.ensure_live("tiny", folder)
    other = deployer.ensure_live("other", folder)
    service = deployer.deploy_model(
        deployer.service_config("tiny", folder), replace=replace, continuous_deployment_mode=continuous
    )
    assert cast(EndpointService, service).status.pid == tiny.pid
    assert deployer.find_endpoint("other") is not None
    assert (endpoint_workdir("tiny") / "starts").read_text() == "x"
    assert (endpoint_workdir("other") / "starts").read_text() == "x"
    assert deployer.find_endpoint("other").pid == other.pid  # type: ignore[union-attr]


def test_trap_8_the_recorded_port_is_the_one_that_the_server_itself_listens_on(
    deployer: BentoVLLMModelDeployer, folder: str, zenml_client: Client
) -> None:
    info = deployer.ensure_live("tiny", folder)
    listening = {c.laddr.port for c in psutil.Process(info.pid).net_connections() if c.status == psutil.CONN_LISTEN}
    (service,) = cast(list[EndpointService], deployer.find_model_server())
    assert service.endpoint is not None
    assert {service.endpoint.status.port} == listening
    assert service.get_prediction_url() == f"{info.url}/v1"
    assert zenml_client.get_service(service.uuid).prediction_url == f"{info.url}/v1"
