"""What docs/endpoint.md shows is run, against vLLM behind the gateway."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.endpoint import ENGINE, BenchEndpoint, bench_endpoint
from tuneline import paths
from tuneline.release import GatewayArguments

pytestmark = [pytest.mark.main_job, pytest.mark.engine]

PAGE = (paths.REPO / "docs" / "endpoint.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
NAME = "devops-assistant"
QUESTION = {"model": NAME, "messages": [{"role": "user", "content": "list the pods in namespace web"}]}
LONG = {"max_tokens": 450, "ignore_eos": True}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[BenchEndpoint]:
    engine = ENGINE.model_copy(update={"tool_call_parser": "hermes"})
    with bench_endpoint(["1"], engine=engine, name=NAME) as live:
        yield live


@pytest.fixture
def client(endpoint: BenchEndpoint) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {endpoint.key}"}
    with httpx.Client(base_url=endpoint.url, headers=headers, timeout=60) as made:
        yield made


def _script(section: str, language: str) -> str:
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", SECTIONS[section], re.DOTALL))


def _run(command: list[str], script: str, endpoint: BenchEndpoint, folder: Path) -> None:
    env = {"OPENAI_BASE_URL": f"{endpoint.url}/v1", "OPENAI_API_KEY": endpoint.key, "NO_PROXY": "127.0.0.1"}
    done = subprocess.run([*command, script], cwd=folder, env=os.environ | env, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stderr[-3000:]}\n{done.stdout[-1000:]}"


@pytest.mark.parametrize("section", ["openai", "langchain-openai", "litellm"])
def test_the_python_shown_runs(section: str, endpoint: BenchEndpoint, tmp_path: Path) -> None:
    _run([sys.executable, "-c"], _script(section, "python"), endpoint, tmp_path)


def test_the_shell_shown_runs(endpoint: BenchEndpoint, tmp_path: Path) -> None:
    first = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)[0]
    script = f"set -euo pipefail\n{first}\n{_script('curl', 'bash')}"
    _run(["bash", "-c"], script, endpoint, tmp_path)


def test_counts_in_every_event_are_for_those_who_asked_for_counts(client: httpx.Client) -> None:
    asked = QUESTION | {"stream": True, "max_tokens": 4}
    for options in (None, {"include_usage": False}, {"continuous_usage_stats": True}):
        answer = client.post("/v1/chat/completions", json=asked | ({"stream_options": options} if options else {}))
        assert answer.status_code == 200
        assert '"usage"' not in answer.text


def test_the_engines_own_names_reach_no_client(endpoint: BenchEndpoint, client: httpx.Client) -> None:
    inner = (endpoint.adapters["1"].sha256[:12], "tuneline-base", str(endpoint.adapters["1"].uri))
    for path, fields in (
        ("/v1/chat/completions", QUESTION),
        ("/v1/chat/completions", QUESTION | {"stream": True, "stream_options": {"include_usage": True}}),
        ("/v1/chat/completions", QUESTION | {"max_tokens": 100_000}),
        ("/v1/completions", {"model": NAME, "prompt": ["a", "b"], "n": 2, "stream": True}),
    ):
        text = client.post(path, json={"max_tokens": 4} | fields).text
        assert [name for name in inner if name in text] == []


@pytest.mark.parametrize("stream", [True, False])
def test_the_engine_stops_when_a_client_leaves(client: httpx.Client, stream: bool) -> None:
    asked = QUESTION | LONG | {"stream": stream}
    before = _engine(client, "vllm:generation_tokens_total")
    if stream:
        with client.stream("POST", "/v1/chat/completions", json=asked) as answer:
            next(answer.iter_bytes())
    else:
        with pytest.raises(httpx.ReadTimeout):
            client.post("/v1/chat/completions", json=asked, timeout=0.5)
    until = time.monotonic() + 2
    while _engine(client, "vllm:num_requests_running") and time.monotonic() < until:
        time.sleep(0.02)
    assert _engine(client, "vllm:num_requests_running") == 0
    time.sleep(0.5)  # the engine's metrics are those of its last step
    generated = _engine(client, "vllm:generation_tokens_total")
    time.sleep(0.5)
    assert _engine(client, "vllm:generation_tokens_total") == generated < before + LONG["max_tokens"]


def _engine(client: httpx.Client, metric: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{metric}{{"))


def test_every_limit_is_explained() -> None:
    assert [key for key in GatewayArguments.model_fields if f"`{key}`" not in SECTIONS["Limits"]] == []
