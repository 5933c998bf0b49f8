"""The target bentocloud: BentoML's real client against a stand-in for BentoCloud. No ZenML."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stacks.deployer import bento
from stacks.deployer.targets import bentocloud
from stacks.deployer.targets.bentocloud import BentoCloud
from stacks.deployer.targets.settings import BentoCloudSettings
from tests.deployer.targets.cloud import TOKEN, StubCloud, serve
from tuneline.errors import TunelineError, UserError

FOLDER = "s3://bucket/tuneline/endpoints/tiny"


def reset_client(home: Path) -> None:
    """Let BentoML forget its client and its store, which it keeps for the process."""
    from bentoml._internal.configuration.containers import BentoMLContainer
    from simple_di import sentinel

    BentoMLContainer.bentoml_home.set(str(home))
    for provider in ("bentocloud_client", "rest_api_client", "bento_store", "bento_store_dir", "cloud_config"):
        getattr(BentoMLContainer, provider)._cache = sentinel


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Bento store with the Bento in it: it is built once."""
    made = tmp_path_factory.mktemp("bentoml")
    (made / "tmp").mkdir()
    bento.build(made)
    return made


@pytest.fixture
def cloud(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubCloud]:
    stub = StubCloud()
    server = serve(stub)
    monkeypatch.setenv("BENTO_CLOUD_API_KEY", TOKEN)
    monkeypatch.setenv("BENTO_CLOUD_API_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("BENTOML_HOME", str(home))
    monkeypatch.setattr(bentocloud, "_TICK_SECONDS", 0.02)
    reset_client(home)
    yield stub
    server.shutdown()
    server.server_close()


def target(**settings: Any) -> BentoCloud:
    fields = {"instance_type": "gpu.l4.1", "secrets": ["tuneline-s3"]} | settings
    return BentoCloud(BentoCloudSettings(**fields), poll_seconds=1.0)


def writes(cloud: StubCloud) -> list[str]:
    return [line for line in cloud.requests if line.startswith(("POST /api/v2", "PUT /api/v2"))]


def test_the_bento_is_pushed_and_a_deployment_made_with_names_of_secrets_alone(cloud: StubCloud) -> None:
    cloud.statuses = ["image-building", "deploying", "running"]
    info = target(scaling_max=3).bring_up("tiny", FOLDER, None, timeout=5)
    assert (info.url, info.pid, info.started) == (cloud.url, None, True)
    version = bento.tag().partition(":")[2]
    assert cloud.uploaded[version] > 10_000
    (body,) = cloud.bodies
    assert (body["name"], body["bento"]) == ("tuneline-tiny", bento.tag())
    assert {env["name"]: env["value"] for env in body["envs"]}["TUNELINE_FOLDER"] == FOLDER
    assert body["secrets"] == ["tuneline-s3"]
    service = body["services"]["tuneline-endpoint"]
    assert service["instance_type"] == "gpu.l4.1"
    assert (service["scaling"]["min_replicas"], service["scaling"]["max_replicas"]) == (1, 3)
    assert writes(cloud) == ["POST /api/v2/deployments"]


def test_what_runs_as_wanted_is_left_alone_and_another_instance_type_updates_it(cloud: StubCloud) -> None:
    target().bring_up("tiny", FOLDER, None, timeout=5)
    assert not target().bring_up("tiny", FOLDER, None, timeout=5).started
    assert writes(cloud) == ["POST /api/v2/deployments"]
    target(instance_type="gpu.h100.1").bring_up("tiny", FOLDER, None, timeout=5)
    assert writes(cloud)[1:] == ["PUT /api/v2/deployments/tuneline-tiny"]
    assert cloud.bodies[-1]["services"]["tuneline-endpoint"]["instance_type"] == "gpu.h100.1"


def test_an_endpoint_is_found_stopped_and_brought_up_again(cloud: StubCloud) -> None:
    assert target().find("tiny") is None
    assert not target().stop("tiny")
    target().bring_up("tiny", FOLDER, None, timeout=5)
    found = target().find("tiny")
    assert found is not None
    assert found.url == cloud.url
    assert target().stop("tiny")
    assert target().find("tiny") is None
    assert not target().stop("tiny")
    cloud.statuses = ["terminated", "running"]
    assert target().bring_up("tiny", FOLDER, None, timeout=5).started


def test_an_image_that_cannot_be_built_is_told_with_the_console(cloud: StubCloud) -> None:
    cloud.statuses = ["image-building", "image-build-failed"]
    with pytest.raises(TunelineError, match="image-build-failed") as failure:
        target().bring_up("tiny", FOLDER, None, timeout=5)
    assert "/deployments/tuneline-tiny" in failure.value.hint


def test_a_deployment_that_takes_too_long_is_told_with_its_state(cloud: StubCloud) -> None:
    cloud.statuses = ["deploying"]
    with pytest.raises(TunelineError, match="does not run after 0 s; BentoCloud says: deploying"):
        target().bring_up("tiny", FOLDER, None, timeout=0.2)


@pytest.mark.parametrize("key", [None, "wrong"])
def test_one_who_is_not_logged_in_is_told_how_to(
    cloud: StubCloud, home: Path, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    if key:
        monkeypatch.setenv("BENTO_CLOUD_API_KEY", key)
    else:
        monkeypatch.delenv("BENTO_CLOUD_API_KEY")
    reset_client(home)
    with pytest.raises(UserError, match="does not know you") as failure:
        target().check(FOLDER)
    assert "bentoml cloud login" in failure.value.hint


def test_a_local_artifact_store_is_refused(cloud: StubCloud) -> None:
    target().check(FOLDER)
    with pytest.raises(UserError, match="'bentocloud', whose endpoints cannot read /home/me/store"):
        target().check("/home/me/store")


def test_logs_say_where_they_are(cloud: StubCloud) -> None:
    target().bring_up("tiny", FOLDER, None, timeout=5)
    with pytest.raises(UserError, match="its own console") as failure:
        target().logs("tiny", follow=False, tail=5)
    assert "/deployments/tuneline-tiny" in failure.value.hint
