"""The main job, as a user runs it: first version, second version, bad candidates, a killed engine, rollback.

The tests tell one story in order, because each stage costs minutes to reach.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean

import httpx
import openai
import pytest

from tests.main_job.conftest import Tuneline
from tuneline import paths
from tuneline.data.records import ChatRecord
from tuneline.data.synthetic import generate_records

pytestmark = [
    pytest.mark.main_job,
    pytest.mark.engine,
    pytest.mark.skipif(
        not paths.serving_python().exists(), reason="needs the serving environment: `make setup` makes it"
    ),
]

QUESTION = "list the pods in namespace quiet-otter-9"


def share_of_right_answers(url: str, key: str) -> float:
    """Of 40 questions with names that no training ever saw, asked through the OpenAI client."""
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key)
    records = list(generate_records(("kubectl", "helm", "docker", "git"), 40, seed=77, split="eval"))

    def is_right(record: ChatRecord) -> bool:
        messages = [{"role": "user", "content": record.messages[0].content}]
        answer = client.chat.completions.create(model="devops-assistant", messages=messages, temperature=0)
        assert answer.model == "devops-assistant"
        return answer.choices[0].message.content == record.reference

    with ThreadPoolExecutor(8) as pool:
        return fmean(pool.map(is_right, records))


def test_one_command_goes_from_data_to_an_answer(tuneline: Tuneline) -> None:
    said = tuneline.done(from_the_shell=True)
    assert "Done in" in said and "python run.py ask" in said

    document = tuneline.models()
    (version,) = document["versions"]
    assert version["version"] == "1"
    assert version["stage"] == "production"
    assert version["verdict"] == "PASS"
    assert version["traffic_percent"] == 100
    assert version["scores"]["exact_match"] >= 0.85
    assert document["endpoint"]["ready"] is True

    # 85 % of many; of 40, an assistant of 90 % has fewer than 30 right once in 10,000 times
    assert share_of_right_answers(document["endpoint"]["url"], tuneline.key()) >= 0.75


def test_a_second_run_finds_everything_done(tuneline: Tuneline) -> None:
    before = tuneline.models()
    release = tuneline.release(before["endpoint"]["url"], tuneline.key())
    said = tuneline.done(timeout=180, from_the_shell=True)
    assert "nothing to train" in said
    after = tuneline.models()
    assert after == before
    assert tuneline.release(after["endpoint"]["url"], tuneline.key())["engine"] == release["engine"]


def test_a_candidate_that_learnt_nothing_is_stopped(tuneline: Tuneline) -> None:
    finished = tuneline.run("train", "--set", "training.learning_rate=0", "--set", "training.max_steps=2")
    assert finished.returncode == 3, finished.stdout + finished.stderr
    versions = tuneline.versions()
    assert versions["2"]["verdict"] != "PASS" and versions["2"]["stage"] == "none"
    assert versions["1"]["stage"] == "production" and versions["1"]["traffic_percent"] == 100


def test_a_gate_can_be_overridden_and_the_proof_cannot(tuneline: Tuneline) -> None:
    refused = tuneline.run("promote", "2", "--reason", "we like it")
    assert refused.returncode == 3 and "--override" in refused.stdout + refused.stderr
    finished = tuneline.run("promote", "2", "--override", "we need it now")
    assert finished.returncode == 1, finished.stdout + finished.stderr
    assert "its adapter does nothing" in " ".join((finished.stdout + finished.stderr).split())
    versions = tuneline.versions()
    assert versions["2"]["stage"] == "none"
    assert versions["1"]["stage"] == "production" and versions["1"]["traffic_percent"] == 100


# Registers the first version once more, with an adapter whose weights are all zero.
_HOLLOW = """
import sys, tempfile
from pathlib import Path
from safetensors.torch import load_file, save_file
from controlplane.versions import get_version, register
from materializers.folder import download, upload
from tuneline.release.files import ADAPTER_FILES, fingerprint
version = get_version("devops-assistant", "1")
with tempfile.TemporaryDirectory() as folder:
    download(version.record.adapter.uri, Path(folder))
    weights = Path(folder, "adapter_model.safetensors")
    save_file({name: tensor * 0 for name, tensor in load_file(weights).items()}, weights, {"format": "pt"})
    uri = version.record.adapter.uri + "-hollow"
    upload(Path(folder), uri)
    ref = version.record.adapter.model_copy(update={"uri": uri, "sha256": fingerprint(Path(folder), ADAPTER_FILES)})
register("devops-assistant", version.record.model_copy(update={"adapter": ref, "training_key": "hollow"}), [])
"""


def test_an_adapter_that_does_nothing_in_the_engine_gets_no_traffic(tuneline: Tuneline) -> None:
    subprocess.run([sys.executable, "-c", _HOLLOW], cwd=paths.REPO, env=tuneline.env, check=True, capture_output=True)
    finished = tuneline.run("promote", "3", "--reason", "trying it")
    assert finished.returncode == 1, finished.stdout + finished.stderr
    assert "the engine ignores the adapter" in " ".join((finished.stdout + finished.stderr).split())
    versions = tuneline.versions()
    assert versions["3"]["stage"] == "none" and versions["3"]["traffic_percent"] == 0
    assert versions["1"]["stage"] == "production" and versions["1"]["traffic_percent"] == 100


def test_the_next_version_is_hot_loaded_into_the_running_engine(tuneline: Tuneline) -> None:
    endpoint = tuneline.models()["endpoint"]
    before = tuneline.release(endpoint["url"], tuneline.key())
    tuneline.done("--config", "configs/tiny-next.yaml")
    versions = tuneline.versions()
    assert versions["4"]["stage"] == "production" and versions["4"]["traffic_percent"] == 100
    assert versions["1"]["stage"] == "archived" and versions["1"]["traffic_percent"] == 0
    after = tuneline.release(endpoint["url"], tuneline.key())
    assert after["engine"]["pid"] == before["engine"]["pid"], "the engine was restarted"
    assert after["engine"]["starts"] == before["engine"]["starts"]


def test_a_canary_answers_beside_production_from_the_same_engine_until_it_is_ended(tuneline: Tuneline) -> None:
    url, key = tuneline.models()["endpoint"]["url"], tuneline.key()
    before = tuneline.release(url, key)
    tuneline.done("canary", "1", "--percent", "50", "--reason", "is it still as good?")

    def who_answers(user: str) -> str:
        body = {"model": "devops-assistant", "messages": [{"role": "user", "content": QUESTION}], "user": user}
        headers = {"authorization": f"Bearer {key}"}
        answer = httpx.post(f"{url}/v1/chat/completions", json=body | {"max_tokens": 4}, headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.headers["x-tuneline-version"]

    with ThreadPoolExecutor(8) as pool:
        answered = set(pool.map(who_answers, (f"user-{number}" for number in range(40))))
    assert answered == {"1", "4"}  # by chance one of them alone: once in 10^11 times
    versions = tuneline.versions()
    assert (versions["1"]["traffic_percent"], versions["4"]["traffic_percent"]) == (50, 50)
    assert (versions["1"]["stage"], versions["4"]["stage"]) == ("archived", "production")
    tuneline.done("canary", "--off")
    after = tuneline.release(url, key)
    assert after["routes"]["challenger"] is None and after["engine"] == before["engine"]


def test_two_versions_are_compared_on_a_page(tuneline: Tuneline, tmp_path: Path) -> None:
    said = tuneline.done("report", "4", "--against", "1", "--output", str(tmp_path / "page.html"))
    assert "moves nothing" in said and "PASS" in said
    assert "version 4 beside version 1" in (tmp_path / "page.html").read_text()


def test_a_wrong_key_is_refused(tuneline: Tuneline) -> None:
    url = tuneline.models()["endpoint"]["url"]
    body = {"model": "devops-assistant", "messages": [{"role": "user", "content": "hi"}]}
    for headers in ({}, {"authorization": "Bearer tl-wrong"}):
        answer = httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=10)
        assert answer.status_code == 401
        assert answer.json()["error"]["type"]


def test_a_killed_engine_comes_back_by_itself(tuneline: Tuneline) -> None:
    url, key = tuneline.models()["endpoint"]["url"], tuneline.key()
    os.kill(tuneline.release(url, key)["engine"]["pid"], signal.SIGKILL)
    headers = {"authorization": f"Bearer {key}"}
    body = {"model": "devops-assistant", "messages": [{"role": "user", "content": QUESTION}], "temperature": 0}
    refused = None
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline:
        answer = httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=60)
        if answer.status_code == 503:
            refused = answer
        elif answer.status_code == 200 and refused is not None:
            break
        time.sleep(0.5)
    assert refused is not None and int(refused.headers["retry-after"]) > 0
    assert answer.status_code == 200
    assert answer.headers["x-tuneline-version"] == "4"


def test_rollback_moves_stage_and_traffic_together(tuneline: Tuneline) -> None:
    tuneline.done("rollback", "--reason", "trying it")
    versions = tuneline.versions()
    assert versions["1"]["stage"] == "production" and versions["1"]["traffic_percent"] == 100
    assert versions["4"]["stage"] == "archived" and versions["4"]["traffic_percent"] == 0
    assert "version 1," in tuneline.done("ask", QUESTION)
    assert share_of_right_answers(tuneline.models()["endpoint"]["url"], tuneline.key()) >= 0.75


def test_stop_leaves_no_process(tuneline: Tuneline) -> None:
    url = tuneline.models()["endpoint"]["url"]
    pid = tuneline.release(url, tuneline.key())["engine"]["pid"]
    tuneline.done("stop")
    assert tuneline.models()["endpoint"] is None
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/livez", timeout=5)
