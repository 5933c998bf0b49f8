"""The main job on another stack: artifacts, releases, adapters and base model lie in a bucket, nothing in a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import s3fs

from tests.main_job.conftest import fresh_world
from tests.stacks.s3 import BUCKET, SECRET, STACK, S3Server, write_stack_file
from tuneline import paths

pytestmark = [
    pytest.mark.main_job,
    pytest.mark.engine,
    pytest.mark.skipif(
        not paths.serving_python().exists(), reason="needs the serving environment: `make setup` makes it"
    ),
]

ON_S3 = ("--stack", STACK)
QUICK = ("--set", "data.evaluation.sources.0.size=200")
WEAK = ("--set", "training.max_steps=60")  # right in one case of seven: easy to beat
STRONG = ("--set", "training.max_steps=200")


def test_training_release_and_hot_load_need_no_local_artifact_store(s3_server: S3Server, tmp_path: Path) -> None:
    with fresh_world() as tuneline:
        tuneline.env["_MLFLOW_SERVER_ARTIFACT_ROOT"] = str(tmp_path / "mlartifacts")
        keys = [f"--{name}={value}" for name, value in s3_server.secret_values().items()]
        zenml = [str(Path(sys.executable).with_name("zenml")), "secret", "create", SECRET, *keys]
        subprocess.run(zenml, env=tuneline.env, check=True, capture_output=True)
        tuneline.done("stack", "apply", str(write_stack_file(tmp_path, s3_server)))

        tuneline.done(*ON_S3, *QUICK, *WEAK)
        first = tuneline.models(*ON_S3)
        assert [(row["version"], row["stage"], row["traffic_percent"]) for row in first["versions"]] == [
            ("1", "production", 100)
        ]
        before = tuneline.release(first["endpoint"]["url"], tuneline.key(*ON_S3))
        assert before["base"]["model"].startswith(f"s3://{BUCKET}/store/")

        tuneline.done("--config", "configs/tiny-next.yaml", *ON_S3, *QUICK, *STRONG)
        versions = tuneline.versions(*ON_S3)
        assert (versions["1"]["stage"], versions["2"]["stage"]) == ("archived", "production")
        assert versions["2"]["traffic_percent"] == 100
        after = tuneline.release(first["endpoint"]["url"], tuneline.key(*ON_S3))
        assert after["engine"] == before["engine"], "the engine was restarted"
        assert "version 2," in tuneline.done("ask", "list the pods in namespace quiet-otter-9", *ON_S3)

        bucket = s3fs.S3FileSystem(**s3_server.options(), use_listings_cache=False)
        folder = paths.releases_folder(paths.endpoint_folder(f"s3://{BUCKET}/store", "devops-assistant"))
        assert len(bucket.ls(folder)) == 4
        stored = Path(tuneline.env["ZENML_LOCAL_STORES_PATH"])
        assert list(stored.rglob("*.safetensors")) == []
