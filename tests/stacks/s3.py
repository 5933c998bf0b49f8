"""An S3 server on loopback, and a stack that keeps its artifacts there: for whatever must not need a disk."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from zenml.client import Client

BUCKET = "tuneline"
STACK = "tuneline-s3-test"
SECRET = "tuneline-s3"


@dataclass(frozen=True)
class S3Server:
    """An S3 server.

    Attributes:
        url: where it answers.
        key: its access key id; moto takes any.
        secret: the key's secret.
    """

    url: str
    key: str = "tester"
    secret: str = "s3-test-secret"

    def options(self) -> dict[str, str]:
        """Storage options for fsspec."""
        return {"endpoint_url": self.url, "key": self.key, "secret": self.secret}

    def secret_values(self) -> dict[str, str]:
        """What the ZenML secret holds that the stack's artifact store names."""
        return {"aws_access_key_id": self.key, "aws_secret_access_key": self.secret}


@pytest.fixture
def s3_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A moto server on a free port with an empty bucket. Its keys are not in the environment."""
    import boto3
    import httpx
    from moto.server import ThreadedMotoServer

    requests = logging.getLogger("werkzeug")
    monkeypatch.setattr(requests, "level", logging.ERROR)  # one line for each request otherwise
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    found = S3Server(f"http://{host}:{port}")
    # moto keeps its buckets in the process, not in the server: what an earlier test left would still be there
    httpx.post(f"{found.url}/moto-api/reset").raise_for_status()
    # boto3 would look for credentials of this machine's cloud for seconds
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client = boto3.client(
        "s3",
        endpoint_url=found.url,
        aws_access_key_id=found.key,
        aws_secret_access_key=found.secret,
        region_name="us-east-1",
    )
    client.create_bucket(Bucket=BUCKET)
    yield found
    client.close()
    server.stop()


@pytest.fixture
def s3_stack(zenml_client: Client, s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an active stack with its artifacts in the S3 server; the keys are in a ZenML secret."""
    from stacks.apply import activate, apply_stack

    # Without an MLflow server, which would say where, the artifacts of a database's runs go to ./mlruns.
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", str(tmp_path / "mlartifacts"))
    zenml_client.create_secret(SECRET, values=s3_server.secret_values())
    apply_stack(write_stack_file(tmp_path, s3_server))
    return activate(STACK).name


def write_stack_file(folder: Path, server: S3Server) -> Path:
    """A stack with an S3 store, whose keys are in the ZenML secret ``SECRET``, and MLflow's database in ``folder``."""
    components = {
        "orchestrator": {"name": "tuneline-local", "flavor": "local"},
        "artifact_store": {
            "name": STACK,
            "flavor": "s3",
            "configuration": {
                "path": f"s3://{BUCKET}/store",
                "authentication_secret": SECRET,
                "client_kwargs": {"endpoint_url": server.url, "region_name": "us-east-1"},
            },
        },
        "experiment_tracker": {
            "name": STACK,
            "flavor": "mlflow",
            "configuration": {"tracking_uri": f"sqlite:///{folder}/mlflow.db"},
        },
        "model_deployer": {"name": "tuneline-endpoints", "flavor": "bentoml_vllm"},
    }
    file = folder / "s3-test.yaml"
    file.write_text(yaml.safe_dump({"stack_name": STACK, "components": components}))
    return file
