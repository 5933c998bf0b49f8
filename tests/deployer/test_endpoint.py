"""The deployer as steps and commands use it, and as ZenML's own command line does."""

from __future__ import annotations

import json
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, cast

import psutil
import pytest
from pydantic import ValidationError
from zenml.enums import ServiceState

from stacks.deployer import process
from stacks.deployer.deployer import BentoVLLMModelDeployer, EndpointInfo
from stacks.deployer.flavor import BentoVLLMModelDeployerConfig
from stacks.deployer.service import EndpointService, EndpointServiceConfig
from stacks.deployer.targets.elsewhere import Elsewhere
from tests.deployer.stub import Behave
from tuneline.errors import TunelineError, UserError
from tuneline.paths import endpoint_workdir

if TYPE_CHECKING:
    from zenml.client import Client

pytestmark = pytest.mark.zenml


def release(folder: str, sequence: int) -> None:
    Path(folder, "releases", f"{sequence:08d}.json").write_text("{}")


def the_service(deployer: BentoVLLMModelDeployer) -> EndpointService:
    (service,) = deployer.find_model_server()
    return cast(EndpointService, service)


def test_an_endpoint_is_started_once_and_a_new_release_is_only_waited_for(
    deployer: BentoVLLMModelDeployer, folder: str
) -> None:
    assert deployer.find_endpoint("tiny") is None
    first = deployer.ensure_live("tiny", folder, wait_for_sequence=1)
    release(folder, 2)
    second = deployer.ensure_live("tiny", folder, wait_for_sequence=2)
    assert (first.started, second.started) == (True, False)
    assert (first.url, first.pid) == (second.url, second.pid)
    assert deployer.find_endpoint("tiny") == second
    assert (endpoint_workdir("tiny") / "starts").read_text() == "x"


def test_a_release_that_is_not_there_in_time_is_an_error_and_a_live_endpoint_lives_on(
    deployer: BentoVLLMModelDeployer, folder: str
) -> None:
    info = deployer.ensure_live("tiny", folder)
    with pytest.raises(TunelineError, match=r"has not applied release 7 in 1 s.*release 1"):
        deployer.ensure_live("tiny", folder, wait_for_sequence=7, timeout=1)
    found = deployer.find_endpoint("tiny")
    assert found is not None
    assert found.pid == info.pid


def test_a_first_release_that_cannot_be_applied_is_a_failed_start(
    deployer: BentoVLLMModelDeployer, folder: str, stub: Behave, zenml_client: Client
) -> None:
    stub(error="the adapter's hash is another one")
    with pytest.raises(TunelineError, match=r"cannot apply release 1: .*the adapter's hash is another one"):
        deployer.ensure_live("tiny", folder, wait_for_sequence=1)
    assert deployer.find_endpoint("tiny") is None
    assert zenml_client.list_services().total == 0


def test_a_stopped_endpoint_keeps_its_record_and_its_address(deployer: BentoVLLMModelDeployer, folder: str) -> None:
    first = deployer.ensure_live("tiny", folder)
    before = the_service(deployer).uuid
    assert deployer.stop_endpoint("tiny")
    assert not deployer.stop_endpoint("tiny")
    assert deployer.find_endpoint("tiny") is None
    service = the_service(deployer)
    assert (service.uuid, service.status.state, service.admin_state) == (
        before,
        ServiceState.INACTIVE,
        ServiceState.INACTIVE,
    )
    again = deployer.ensure_live("tiny", folder)
    assert again.started
    assert again.url == first.url
    assert the_service(deployer).uuid == before


def test_a_failed_restart_keeps_the_record_with_its_error_and_runs_nothing(
    deployer: BentoVLLMModelDeployer, folder: str, stub: Behave, zenml_client: Client
) -> None:
    deployer.ensure_live("tiny", folder)
    deployer.stop_endpoint("tiny")
    before = the_service(deployer).uuid
    stub(die="boom")
    with pytest.raises(TunelineError, match="boom"):
        deployer.ensure_live("tiny", folder)
    recorded = zenml_client.get_service(before)
    assert recorded.status is not None
    assert recorded.status["state"] == "error"
    assert "boom" in recorded.status["last_error"]
    assert deployer.find_endpoint("tiny") is None


def test_other_settings_replace_the_record_of_a_dead_endpoint_and_leave_a_live_one_alone(
    deployer: BentoVLLMModelDeployer, folder: str
) -> None:
    live = deployer.ensure_live("tiny", folder)
    config = deployer.service_config("tiny", folder).model_copy(update={"poll_seconds": 9.0})
    assert cast(EndpointService, deployer.deploy_model(config)).status.pid == live.pid
    assert the_service(deployer).config.poll_seconds == 0.2
    deployer.stop_endpoint("tiny")
    service = cast(EndpointService, deployer.deploy_model(config))
    assert the_service(deployer).uuid == service.uuid
    assert the_service(deployer).config.poll_seconds == 9.0
    assert "9.0" in json.loads((endpoint_workdir("tiny") / "seen.json").read_text())["argv"]


def test_an_endpoint_that_runs_without_a_record_gets_one(
    deployer: BentoVLLMModelDeployer, folder: str, zenml_client: Client
) -> None:
    first = deployer.ensure_live("tiny", folder)
    zenml_client.delete_service(the_service(deployer).uuid)
    second = deployer.ensure_live("tiny", folder)
    assert (second.started, second.pid) == (False, first.pid)
    assert the_service(deployer).status.pid == first.pid


def test_two_deploys_at_once_start_one_endpoint_with_one_record(deployer: BentoVLLMModelDeployer, folder: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        infos = list(pool.map(lambda _: deployer.ensure_live("tiny", folder), range(2)))
    assert sorted(info.started for info in infos) == [False, True]
    assert len({info.pid for info in infos}) == 1
    the_service(deployer)


def test_an_interruption_while_the_first_release_is_awaited_ends_what_was_started(
    deployer: BentoVLLMModelDeployer, folder: str, zenml_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("stacks.deployer.start.wait_for_release", interrupt)
    with pytest.raises(KeyboardInterrupt):
        deployer.ensure_live("tiny", folder, wait_for_sequence=1)
    assert process.find(endpoint_workdir("tiny")) is None
    assert zenml_client.list_services().total == 0


def test_no_secret_gets_into_the_record_or_the_log(
    deployer: BentoVLLMModelDeployer,
    folder: str,
    zenml_client: Client,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    secret = {"AWS_SECRET_ACCESS_KEY": "s3cr3t-value"}
    monkeypatch.setattr("stacks.deployer.service.storage_environment", lambda _: secret)
    deployer.ensure_live("tiny", folder)
    seen = json.loads((endpoint_workdir("tiny") / "seen.json").read_text())
    assert seen["environment"]["AWS_SECRET_ACCESS_KEY"] == "s3cr3t-value"
    assert "s3cr3t-value" not in seen["argv"]
    assert "s3cr3t-value" not in zenml_client.list_services(hydrate=True).items[0].model_dump_json()
    out, err = capfd.readouterr()
    assert "s3cr3t-value" not in caplog.text + out + err
    for name in ("process.json", "endpoint.json", *process.LOGS):
        path = endpoint_workdir("tiny") / name
        assert not path.exists() or "s3cr3t-value" not in path.read_text()


def test_a_folder_with_credentials_in_it_is_refused(deployer: BentoVLLMModelDeployer) -> None:
    with pytest.raises(ValidationError, match="credentials"):
        deployer.service_config("tiny", "s3://key:secret@bucket/tiny")


@pytest.mark.parametrize("name", ["Tiny", "a/b", "../x", ""])
def test_a_name_that_is_no_endpoint_name_is_refused(deployer: BentoVLLMModelDeployer, folder: str, name: str) -> None:
    with pytest.raises(ValidationError):
        deployer.service_config(name, folder)


def test_another_machines_endpoint_is_shown_and_not_touched(
    deployer: BentoVLLMModelDeployer, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = deployer.ensure_live("tiny", folder)
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    service = the_service(deployer)
    assert service.status.state == ServiceState.ACTIVE
    with pytest.raises(RuntimeError, match="Run the command on"):
        deployer.stop_model_server(service.uuid)
    assert psutil.pid_exists(info.pid)


def test_zenmls_own_commands_start_stop_describe_and_delete_it(
    deployer: BentoVLLMModelDeployer, folder: str, zenml_client: Client
) -> None:
    info = deployer.ensure_live("tiny", folder)
    uuid = the_service(deployer).uuid
    described = deployer.get_model_server_info(the_service(deployer))
    assert described["PREDICTION_URL"] == f"{info.url}/v1"
    assert described["PID"] == str(info.pid)
    assert described["FOLDER"] == folder
    assert [service.uuid for service in deployer.find_model_server(running=False)] == [uuid]

    deployer.stop_model_server(uuid)
    assert deployer.find_model_server(running=True) == []
    assert len(deployer.find_model_server(running=False)) == 1  # what `zenml model-deployer models list` asks for
    deployer.start_model_server(uuid)
    (service,) = deployer.find_model_server(running=True, service_uuid=uuid)
    assert cast(EndpointService, service).status.pid != info.pid
    deployer.delete_model_server(uuid)
    assert zenml_client.list_services().total == 0
    assert deployer.find_endpoint("tiny") is None


def test_a_start_by_zenmls_own_command_that_fails_raises(
    deployer: BentoVLLMModelDeployer, folder: str, stub: Behave
) -> None:
    deployer.ensure_live("tiny", folder)
    deployer.stop_endpoint("tiny")
    stub(die="boom")
    with pytest.raises(RuntimeError, match="boom"):
        deployer.start_model_server(the_service(deployer).uuid)
    assert the_service(deployer).status.state != ServiceState.ACTIVE


def test_its_logs_are_shown_by_name_and_followed_until_it_ends(deployer: BentoVLLMModelDeployer, folder: str) -> None:
    info = deployer.ensure_live("tiny", folder)
    service = the_service(deployer)
    log = endpoint_workdir("tiny") / "gateway.log"
    log.write_text("one\ntwo\nthree\n")
    assert list(deployer.get_model_server_logs(service.uuid, tail=2)) == ["gateway: two", "gateway: three"]
    lines = deployer.get_model_server_logs(service.uuid, tail=1, follow=True)
    assert next(lines) == "gateway: three"
    with log.open("a") as file:
        file.write("four\n")
    assert next(lines) == "gateway: four"
    os.kill(cast(int, info.pid), signal.SIGTERM)
    assert list(lines) == []


def test_an_endpoint_that_somebody_else_runs_is_waited_for_and_neither_started_nor_stopped(
    deployer: BentoVLLMModelDeployer, folder: str, zenml_client: Client
) -> None:
    theirs = deployer.ensure_live("tiny", folder)
    config = BentoVLLMModelDeployerConfig(url=theirs.url.replace("127.0.0.1", "{endpoint}"), start_timeout=2)
    deployer._config = config.model_copy(update={"url": theirs.url})
    assert deployer.ensure_live("tiny", folder, wait_for_sequence=1) == EndpointInfo(theirs.url, None, False)
    assert deployer.find_endpoint("tiny") == EndpointInfo(theirs.url, None, False)
    with pytest.raises(TunelineError, match="has not applied release 2"):
        deployer.ensure_live("tiny", folder, wait_for_sequence=2)
    for refused in (
        lambda: deployer.stop_endpoint("tiny"),
        lambda: deployer.deploy_model(deployer.service_config("tiny", folder)),
    ):
        with pytest.raises(UserError, match="does not run its endpoints itself"):
            refused()
    assert psutil.pid_exists(cast(int, theirs.pid))
    deployer._config = config
    assert Elsewhere(config.url or "").address("tiny") == theirs.url.replace("127.0.0.1", "tiny")
    assert deployer.find_endpoint("tiny") is None


def test_a_config_of_another_kind_is_refused(deployer: BentoVLLMModelDeployer) -> None:
    from zenml.services import ServiceConfig

    with pytest.raises(TypeError, match="service_config"):
        deployer.deploy_model(ServiceConfig(name="x"))
    assert deployer.find_model_server(flavor="mlflow") == []


def test_settings_out_of_range_are_refused() -> None:
    for wrong in ({"port": 70000}, {"poll_seconds": 0}, {"start_timeout": -1}):
        with pytest.raises(ValidationError):
            BentoVLLMModelDeployerConfig(**wrong)


def test_the_record_holds_no_field_for_a_value_of_the_environment() -> None:
    assert EndpointServiceConfig.model_fields["environment"].annotation == list[str]
