"""What the engine's server and BentoML offer by themselves is not to be had here: every path and every method."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.serving.conftest import KEYS, Running, key
from tuneline import paths

FOLDER = Path(__file__).parent
FOREIGN = json.loads((FOLDER / "foreign_routes.json").read_text())
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE")
OPEN = {"GET /livez", "GET /readyz"}
# What answers with a key. The page and its document come with the gateway's own documentation.
OURS = OPEN | {
    *("GET /metrics", "GET /release", "GET /v1/models", "POST /v1/chat/completions", "POST /v1/completions"),
    *("POST /v1/feedback", "GET /api", "GET /api/openapi.json"),
}
ROUTES = OURS | {route for served in FOREIGN.values() for route in served["routes"]}
PATHS = sorted(
    {route.partition(" ")[2] for route in ROUTES}
    # of models that embed and rank, which the list above has only when such a model is served
    | {"/v1/embeddings", "/embeddings", "/pooling", "/classify", "/score", "/v1/score", "/rerank", "/v1/rerank"}
    | {"/v2/rerank", "/v1/load_lora_adapter/", "/static_content/index.css", "/debug/pprof", "/start_profile"}
)


def requests() -> Iterator[tuple[str, str]]:
    """Every path with every method, and with one in spellings that a careless router takes for the same path."""
    for path in PATHS:
        filled = path.replace("{response_id}", "resp_1").replace("{adapter_name}", "one")
        yield from ((method, filled) for method in METHODS)
        method = "POST" if f"POST {path}" in ROUTES else "GET"
        for spelling in (f"{filled}/", f"/{filled}", filled.replace("/", "/%2e/", 1), filled.upper(), f"{filled}%00"):
            yield method, spelling


def ask(client: httpx.Client, method: str, path: str, who: str | None) -> int:
    headers = {} if who is None else {"authorization": f"Bearer {key(who)}"}
    response = client.request(
        method, path, content=b"{}" if method in ("POST", "PUT", "PATCH") else None, headers=headers
    )
    if response.status_code >= 400 and method != "HEAD" and path != "/readyz":
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}, (method, path, response.text)
    return response.status_code


def test_without_a_key_every_path_and_method_is_401_or_404(served: Running) -> None:
    with httpx.Client(base_url=served.url) as client:
        answered = {
            f"{method} {path}": status
            for method, path in requests()
            if (status := ask(client, method, path, None)) not in (401, 404)
        }
    assert len(list(requests())) > 1_000
    # the page about the gateway's own interface is open to all, where there is one
    assert {route for route in answered if not route.startswith("GET /api")} == OPEN


@pytest.mark.parametrize("scopes", sorted(KEYS))
def test_with_a_key_nothing_answers_that_is_not_listed(served: Running, scopes: str) -> None:
    with httpx.Client(base_url=served.url) as client:
        answered = {
            f"{method} {path}": status
            for method, path in requests()
            if (status := ask(client, method, path, scopes)) != 404
        }
    assert set(answered) <= OURS
    assert {route for route, status in answered.items() if status == 401} == set()


@pytest.mark.engine
def test_the_list_of_foreign_paths_is_that_of_the_installed_versions() -> None:
    command = [str(paths.serving_python()), str(FOLDER / "foreign_routes.py")]
    printed = subprocess.run(command, cwd=paths.REPO, capture_output=True, text=True, timeout=300, check=False)
    assert printed.returncode == 0, printed.stderr
    assert json.loads(printed.stdout) == FOREIGN
