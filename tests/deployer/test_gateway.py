"""The deployer with the real gateway; only the engine is a stub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import psutil
import pytest

from stacks.apply import activate, apply_stack
from stacks.deployer.deployer import BentoVLLMModelDeployer
from stacks.storage import storage_options
from tests.serving.conftest import STUB, Running
from tests.stacks.s3 import BUCKET
from tuneline import paths
from tuneline.errors import TunelineError
from tuneline.release import BaseRef, Release, ReleaseStore, Routes

if TYPE_CHECKING:
    from zenml.client import Client

pytestmark = [
    pytest.mark.zenml,
    pytest.mark.skipif(
        not paths.serving_python().exists(), reason="needs the serving environment: `make setup` makes it"
    ),
]


@pytest.fixture
def made(tuneline_home: Path, monkeypatch: pytest.MonkeyPatch) -> Running:
    """Releases for an endpoint "tiny", and a stub in the engine's place."""
    root = tuneline_home / "made"
    root.mkdir()
    made = Running(root)
    made.write_keys()
    monkeypatch.setenv("TUNELINE_ENGINE_COMMAND", json.dumps([str(paths.serving_python()), str(STUB)]))
    monkeypatch.setenv("STUB_FOLDER", str(made.stub))
    return made


@pytest.fixture
def real(zenml_client: Client, made: Running) -> Iterator[BentoVLLMModelDeployer]:
    """The local stack's deployer. Whatever it started is ended."""
    apply_stack("local")
    activate("local")
    yield passing_on_the_stubs_folder(zenml_client)
    passing_on_the_stubs_folder(zenml_client).stop_endpoint("tiny")


def passing_on_the_stubs_folder(client: Client) -> BentoVLLMModelDeployer:
    deployer = client.active_stack.model_deployer
    assert isinstance(deployer, BentoVLLMModelDeployer)
    deployer._config = deployer.config.model_copy(update={"environment": ["STUB_FOLDER"]})
    return deployer


def test_a_new_release_reaches_the_running_gateway_and_a_bad_one_is_an_error_it_survives(
    real: BentoVLLMModelDeployer, made: Running
) -> None:
    made.release({"1": "one"}, "1")
    first = real.ensure_live("tiny", made.store, wait_for_sequence=1)
    made.url = first.url
    assert made.ask().headers["x-tuneline-version"] == "1"
    made.release({"1": "one", "2": "two"}, "2")
    second = real.ensure_live("tiny", made.store, wait_for_sequence=2)
    assert (second.started, second.pid) == (False, first.pid)
    assert made.ask().headers["x-tuneline-version"] == "2"
    assert made.engines() == 1

    made.release({}, references={"v3": made.reference("three", "3", sha256="0" * 64)}, routes={})
    with pytest.raises(TunelineError, match=r"cannot apply release 3: release 3 could not be applied.*fingerprint"):
        real.ensure_live("tiny", made.store, wait_for_sequence=3)
    assert made.ask().headers["x-tuneline-version"] == "2"

    tree = psutil.Process(cast(int, first.pid)).children(recursive=True)
    assert tree
    assert real.stop_endpoint("tiny")
    assert not any(process.is_running() for process in tree)
    assert not (paths.endpoint_workdir("tiny") / "endpoint.json").exists()


def test_a_first_engine_that_does_not_start_is_a_failed_deploy_with_its_log(
    real: BentoVLLMModelDeployer, made: Running, zenml_client: Client
) -> None:
    made.tell("refuse-start", "CUDA out of memory")
    made.release({"1": "one"}, "1")
    with pytest.raises(TunelineError, match="cannot apply release 1") as failure:
        real.ensure_live("tiny", made.store, wait_for_sequence=1)
    assert "engine.log" in failure.value.what
    assert real.find_endpoint("tiny") is None
    assert zenml_client.list_services().total == 0


def test_an_endpoint_reads_its_releases_and_adapters_from_the_stacks_bucket(
    s3_stack: str, made: Running, zenml_client: Client
) -> None:
    store = zenml_client.active_stack.artifact_store
    options = storage_options(store)
    folder = paths.endpoint_folder(store.path, "tiny")
    releases = ReleaseStore(paths.releases_folder(folder), options)

    def upload(version: str) -> Release:
        reference = made.reference(f"a{version}", version)
        uri = f"s3://{BUCKET}/adapters/{version}"
        for file in Path(reference.uri).iterdir():
            releases._fs.put_file(str(file), f"{uri}/{file.name}")
        return Release(
            endpoint="tiny",
            sequence=int(version),
            base=BaseRef(model=str(made.base)),
            adapters={f"v{version}": reference.model_copy(update={"uri": uri})},
            routes=Routes(production=f"v{version}"),
            author="test",
            reason="test",
        )

    releases._fs.pipe_file(paths.keys_file(folder), (Path(made.store) / "keys.json").read_bytes())
    releases.create(upload("1"))
    deployer = passing_on_the_stubs_folder(zenml_client)
    first = deployer.ensure_live("tiny", folder, wait_for_sequence=1)
    made.url = first.url
    assert made.ask().headers["x-tuneline-version"] == "1"
    releases.create(upload("2"))
    assert deployer.ensure_live("tiny", folder, wait_for_sequence=2).pid == first.pid
    assert made.ask().headers["x-tuneline-version"] == "2"
    assert deployer.stop_endpoint("tiny")
