"""The API page and its document: what exists, all of it, and nothing from elsewhere."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.serving.conftest import QUESTION, Running
from tests.serving.test_gateway import events


@pytest.fixture(scope="module")
def document(served: Running) -> dict[str, Any]:
    found: dict[str, Any] = served.get("/api/openapi.json", None).json()
    return found


def check(document: dict[str, Any], name: str, value: Any) -> None:
    """Raise unless ``value`` is as the document's schema of that name says."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    Draft202012Validator(schema).validate(value)


def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(document).validate()


def test_it_has_exactly_the_paths_that_exist(served: Running, document: dict[str, Any]) -> None:
    assert set(document["paths"]) == {
        *("/v1/chat/completions", "/v1/completions", "/v1/models", "/v1/feedback"),
        *("/release", "/metrics", "/livez", "/readyz", "/api", "/api/openapi.json"),
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            response = httpx.request(method, served.url + path, timeout=30)
            assert response.status_code == (401 if operation["security"] else 200), path
            assert str(response.status_code) in operation["responses"]


def test_what_is_asked_and_answered_is_as_the_document_says(served: Running, document: dict[str, Any]) -> None:
    check(document, "ChatRequest", QUESTION | {"stream": True, "temperature": 0})
    check(document, "ChatCompletion", served.ask().json() | {"object": "chat.completion"})
    check(document, "Models", served.get("/v1/models").json())
    check(document, "Live", served.get("/release").json())
    check(document, "Readiness", served.get("/readyz", None).json())
    for response in (served.ask(model="x"), served.ask(None), served.ask(temprature=1)):
        check(document, "Error", response.json())
    with served.stream() as response:
        for event in events(response.read().decode()):
            check(document, "ChatCompletionChunk", event | {"object": "chat.completion.chunk", "id": "x"}
                  | {"choices": [{"index": 0} | choice for choice in event["choices"]]})  # fmt: skip


def test_a_field_that_the_endpoint_refuses_is_not_in_the_document(document: dict[str, Any]) -> None:
    for name in ("ChatRequest", "CompletionRequest", "FeedbackRequest"):
        assert document["components"]["schemas"][name]["additionalProperties"] is False
    assert "chat_template" not in document["components"]["schemas"]["ChatRequest"]["properties"]


def test_the_page_needs_no_key_and_loads_only_files_of_this_endpoint(served: Running) -> None:
    page = served.get("/api", None)
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for address in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert address.startswith(("/api/", "data:"))
        if address.startswith("/api/"):
            loaded = served.get(address, None)
            assert loaded.status_code == 200
            assert loaded.headers["x-content-type-options"] == "nosniff"
    assert "swagger" in served.get("/api/swagger-ui.css", None).text


@pytest.mark.parametrize(
    "path",
    [
        *("/api/", "/api/index.css", "/api/swagger-initializer.js", "/api/marked.min.js"),
        *("/api/../static_content/index.css", "/api/%2e%2e/main.py", "/static_content/swagger-ui.css"),
        *("/docs", "/openapi.json", "/redoc"),
    ],
)
def test_nothing_else_of_that_folder_and_no_other_page_exists(served: Running, path: str) -> None:
    assert served.get(path, None).status_code == 404
