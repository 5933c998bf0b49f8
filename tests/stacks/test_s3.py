"""The S3 stack: steps keep their artifacts there, and an endpoint reads its releases from there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec
import mlflow
import pytest
from zenml import pipeline, step

from stacks.storage import storage_environment, storage_options
from tests.stacks.s3 import BUCKET, S3Server
from tuneline import paths
from tuneline.release import BaseRef, Release, ReleaseConflict, ReleaseStore, Routes

if TYPE_CHECKING:
    from zenml.client import Client

pytestmark = pytest.mark.zenml


@step(experiment_tracker="tuneline-s3-test", enable_cache=False)
def count() -> int:
    mlflow.log_metric("loss", 0.5)
    mlflow.log_dict({"a": 1}, "a.json")
    return 42


@pipeline(enable_cache=False)
def counting() -> None:
    count()


def release(sequence: int) -> Release:
    return Release(
        endpoint="tiny",
        sequence=sequence,
        base=BaseRef(model="a/b"),
        adapters={},
        routes=Routes(),
        author="test",
        reason="test",
    )


def test_a_steps_artifact_is_in_the_bucket_and_its_metrics_are_not_in_the_working_directory(
    s3_stack: str, zenml_client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = counting()
    assert run is not None
    artifact = run.steps["count"].output
    assert artifact.uri.startswith(f"s3://{BUCKET}/store/")
    assert artifact.load() == 42
    assert (tmp_path / "mlflow.db").exists()
    assert list((tmp_path / "mlartifacts").rglob("a.json"))
    assert not (tmp_path / "mlruns").exists()


def test_the_stores_options_open_it_with_fsspec(s3_stack: str, s3_server: S3Server, zenml_client: Client) -> None:
    options = storage_options(zenml_client.active_stack.artifact_store)
    assert (options["key"], options["secret"], options["endpoint_url"]) == (
        s3_server.key,
        s3_server.secret,
        s3_server.url,
    )
    store = ReleaseStore(f"s3://{BUCKET}/store/tuneline/endpoints/tiny/releases", options)
    store.create(release(1))
    assert store.current() == release(1).model_copy(update={"created_at": store.read(1).created_at})
    with pytest.raises(ReleaseConflict):
        store.create(release(1))


def test_a_process_with_the_stores_environment_alone_reads_it(s3_stack: str, zenml_client: Client) -> None:
    store = zenml_client.active_stack.artifact_store
    with fsspec.open(f"{store.path}/hello", "w", **storage_options(store)) as file:
        file.write("from the bucket")
    bare = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "true"}
    read = "import sys, fsspec; print(fsspec.open(sys.argv[1], 'r').open().read())"
    seen = subprocess.run(
        [sys.executable, "-c", read, f"{store.path}/hello"],
        env=bare | storage_environment(store),
        capture_output=True,
        text=True,
        check=False,
    )
    assert seen.stdout == "from the bucket\n", seen.stderr


def test_the_keys_reach_the_serving_process_and_no_record(
    s3_stack: str, s3_server: S3Server, zenml_client: Client, stub: object
) -> None:
    from stacks.deployer.deployer import BentoVLLMModelDeployer

    deployer = zenml_client.active_stack.model_deployer
    assert isinstance(deployer, BentoVLLMModelDeployer)
    folder = paths.endpoint_folder(zenml_client.active_stack.artifact_store.path, "tiny")
    deployer.ensure_live("tiny", folder)
    seen = json.loads((paths.endpoint_workdir("tiny") / "seen.json").read_text())
    assert seen["environment"]["AWS_ACCESS_KEY_ID"] == s3_server.key
    assert seen["environment"]["AWS_SECRET_ACCESS_KEY"] == s3_server.secret
    assert seen["environment"]["FSSPEC_S3_ENDPOINT_URL"] == s3_server.url
    assert seen["argv"][seen["argv"].index("--folder") + 1] == folder
    assert s3_server.secret not in json.dumps(seen["argv"])
    assert s3_server.secret not in zenml_client.list_services(hydrate=True).items[0].model_dump_json()


def test_a_local_store_needs_nothing(zenml_client: Client) -> None:
    store = zenml_client.active_stack.artifact_store
    assert storage_options(store) == {}
    assert storage_environment(store) == {}
