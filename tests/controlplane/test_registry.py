"""MLflow's registry follows the stages; an MLflow that is away stops nothing and is caught up with later."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import yaml

from controlplane.history import history
from controlplane.registry import behind, follow_stages, sync_aliases
from controlplane.releases import put_in_production
from controlplane.rollback import rollback
from controlplane.storage import active_storage
from controlplane.versions import get_version, list_versions, move_to_staging, register
from tests.controlplane.registered import MODEL, record_of, registered, stages
from tuneline.paths import REPO
from tuneline.release import BaseRef

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from zenml.client import Client

pytestmark = pytest.mark.zenml


def use(folder: Path, tracking_uri: str | None) -> None:
    """Make a stack active whose MLflow is there, or which has none."""
    from stacks.apply import activate, apply_stack

    content = yaml.safe_load((REPO / "stacks" / "local.yaml").read_text())
    if tracking_uri is None:
        del content["components"]["experiment_tracker"]
    else:
        content["components"]["experiment_tracker"][0]["configuration"] = {
            "tracking_uri": tracking_uri,
            "tracking_token": "token",
        }
    file = folder / "stack.yaml"
    file.write_text(yaml.safe_dump(content))
    apply_stack(file)
    activate("tuneline-local")


@pytest.fixture
def mlflow(zenml_client: Client, tmp_path: Path) -> MlflowClient:
    """The database of an MLflow that the active stack tracks in."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    use(tmp_path, uri)
    return MlflowClient(uri)


@pytest.fixture
def mlflow_server(tmp_path: Path) -> Iterator[str]:
    """The address of a tracking server with a database of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    command = ["mlflow", "server", "--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", url.rpartition(":")[2]]
    server = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=tmp_path,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                httpx.get(f"{url}/health", timeout=5).raise_for_status()
                break
            except httpx.TransportError:
                assert server.poll() is None and time.monotonic() < deadline, "MLflow's server did not start"
                time.sleep(0.2)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


def registry(mlflow: MlflowClient) -> dict[str, dict[str, str]]:
    """The tags of each version in MLflow, by tuneline's number, with its aliases."""
    aliases = mlflow.get_registered_model(MODEL).aliases
    found = mlflow.search_model_versions(f"name='{MODEL}'")
    return {
        version.tags["tuneline.version"]: {
            key.removeprefix("tuneline."): value for key, value in version.tags.items() if key != "tuneline.version"
        }
        | {"alias": " ".join(alias for alias, number in aliases.items() if str(number) == str(version.version))}
        for version in found
    }


def test_a_version_is_registered_with_its_adapter_verdict_and_stage(mlflow: MlflowClient) -> None:
    version = registered("a")
    assert sync_aliases(MODEL)
    assert registry(mlflow) == {
        "1": {
            "verdict": "PASS",
            "adapter_sha256": version.record.adapter.sha256,
            "stage": "staging",
            "alias": "staging",
        }
    }
    (found,) = mlflow.search_model_versions(f"name='{MODEL}'")
    assert found.source == "/adapters/a"
    registered("b", whole_model=BaseRef(model="/adapters/b/merged", sha256="f" * 64))
    assert sync_aliases(MODEL)
    assert registry(mlflow)["2"]["whole_model_sha256"] == "f" * 64


def test_aliases_follow_promotion_and_rollback_and_leave_the_old_holder(mlflow: MlflowClient) -> None:
    storage = active_storage()
    for adapter in "ab":
        put_in_production(registered(adapter), storage, "test")
    put_in_production(registered("c", stage=None, outcome="FAIL"), storage, "", override="the customer waits")
    assert follow_stages(MODEL) is None
    found = registry(mlflow)
    assert {name: (tags["stage"], tags["alias"]) for name, tags in found.items()} == {
        "1": ("archived", ""),
        "2": ("archived", ""),
        "3": ("production", "production"),
    }
    assert (found["3"]["verdict"], found["3"]["override"]) == ("FAIL", "the customer waits")

    rollback(MODEL, storage, "1", "test")
    registered("d")
    assert follow_stages(MODEL) is None
    found = registry(mlflow)
    assert {name: tags["alias"] for name, tags in found.items()} == {
        "1": "production",
        "2": "",
        "3": "",
        "4": "staging",
    }
    put_in_production(get_version(MODEL, "4"), storage, "test")
    sync_aliases(MODEL)
    assert {name: tags["alias"] for name, tags in registry(mlflow).items() if tags["alias"]} == {"4": "production"}


def test_following_twice_writes_once(mlflow: MlflowClient) -> None:
    registered("a")
    assert follow_stages(MODEL) is None
    before = [dict(version) for version in mlflow.search_model_versions(f"name='{MODEL}'")]
    events = history(get_version(MODEL, "1"))
    assert follow_stages(MODEL) is None
    assert [dict(version) for version in mlflow.search_model_versions(f"name='{MODEL}'")] == before
    assert history(get_version(MODEL, "1")) == events


def test_an_mlflow_that_is_away_leaves_the_promotion_and_is_caught_up_with(
    zenml_client: Client, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    use(tmp_path, "http://127.0.0.1:9")  # nobody listens there
    environment = dict(os.environ)
    version = registered("a")
    put_in_production(version, active_storage(), "test")
    warning = follow_stages(MODEL)
    assert warning is not None and "127.0.0.1" in warning and "\n" not in warning
    assert stages() == {"1": "production"}
    assert active_storage().releases(MODEL).current().traffic() == {"1": 100.0}  # type: ignore[union-attr]
    entry = history(version)[-1]
    assert (entry.action, entry.moved_from, entry.to) == ("aliases failed", "production", "production")
    assert behind(list_versions(MODEL))
    assert {name for name in os.environ if "HTTP_REQUEST" in name} == {n for n in environment if "HTTP_REQUEST" in n}

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    use(tmp_path, uri)
    assert follow_stages(MODEL) is None
    assert registry(MlflowClient(uri))["1"]["alias"] == "production"
    assert history(version)[-1].action == "aliases mended"
    assert not behind(list_versions(MODEL))


def test_a_tracking_server_is_followed_as_well_whatever_it_can_reach(
    zenml_client: Client, tmp_path: Path, mlflow_server: str
) -> None:
    from mlflow import MlflowClient

    use(tmp_path, mlflow_server)
    put_in_production(registered("a"), active_storage(), "test")
    in_bucket = record_of("b")
    in_bucket = in_bucket.model_copy(update={"adapter": in_bucket.adapter.model_copy(update={"uri": "s3://store/b"})})
    move_to_staging(register(MODEL, in_bucket, []))
    assert follow_stages(MODEL) is None
    client = MlflowClient(mlflow_server)
    assert {name: tags["alias"] for name, tags in registry(client).items()} == {"1": "production", "2": "staging"}
    sources = {version.source for version in client.search_model_versions(f"name='{MODEL}'")}
    assert sources == {"tuneline:/adapters/a", "s3://store/b"}


def test_a_stack_without_mlflow_has_no_registry(zenml_client: Client, tmp_path: Path) -> None:
    use(tmp_path, None)
    registered("a")
    assert sync_aliases(MODEL) is False
    assert follow_stages(MODEL) is None


def test_a_model_without_versions_is_not_registered(mlflow: MlflowClient) -> None:
    assert follow_stages(MODEL) is None
    assert mlflow.search_registered_models() == []
