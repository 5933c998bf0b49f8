"""What a client sees of an endpoint: keys, paths, answers, errors. Version 1 is live, version 2 loaded beside it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.serving.conftest import QUESTION, Running, wait_until

# vLLM's own paths (0.32), and BentoML's
FOREIGN = (
    *("/health", "/version", "/ping", "/load", "/tokenize", "/detokenize", "/invocations", "/adapters"),
    *("/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/v1/responses", "/v1/messages", "/v1/embeddings"),
    *("/v1/chat/completions/batch", "/v1/chat/completions/render", "/scale_elastic_ep", "/inference/v1/generate"),
    *("/", "/docs.json", "/schema.json", "/healthz", "/static_content/index.css", "/docs", "/openapi.json", "/redoc"),
)


def error(response: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = response.json()["error"]
    assert set(found) == {"message", "type", "param", "code"}
    return found


def events(text: str) -> list[dict[str, Any]]:
    """The data of server-sent events; the last one has to be [DONE]."""
    lines = [line for line in text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


@pytest.mark.parametrize("path", FOREIGN)
def test_no_page_of_the_engine_or_of_bentoml_exists(served: Running, path: str) -> None:
    for response in (served.get(path, None), served.post(path, {}, None), served.post(path, {})):
        assert response.status_code == 404
        assert error(response)["code"] == "not_found"


@pytest.mark.parametrize("path", ["/metrics", "/release", "/v1/models"])
def test_everything_but_health_needs_a_key(served: Running, path: str) -> None:
    for who in (None, "stranger"):
        response = served.get(path, who)
        assert response.status_code == 401
        assert error(response)["type"] == "authentication_error"
    assert served.get("/livez", None).status_code == served.get("/readyz", None).status_code == 200
    assert served.ask(None).status_code == 401


def test_a_key_opens_only_what_its_scopes_say(served: Running) -> None:
    assert served.get("/metrics", "metrics").status_code == 200
    assert error(served.get("/metrics", "inference"))["code"] == "insufficient_scope"
    assert served.ask("inference").status_code == 200
    assert served.ask("metrics").status_code == 403


def test_production_answers_and_says_which_version_it_is(served: Running) -> None:
    response = served.ask("inference")
    assert response.headers["x-tuneline-version"] == "1"
    assert response.json()["model"] == "tiny"
    assert response.json()["choices"][0]["message"]["content"].startswith("one ")


def test_a_version_can_be_pinned_with_the_scope_for_it(served: Running) -> None:
    pin = {"x-tuneline-version": "2"}
    response = served.ask(headers=pin)
    assert response.headers["x-tuneline-version"] == "2"
    assert response.json()["choices"][0]["message"]["content"].startswith("two ")
    assert served.ask("inference", headers=pin).status_code == 403
    missing = served.ask(headers={"x-tuneline-version": "9"})
    assert missing.status_code == 404
    assert error(missing)["code"] == "version_not_found"


def test_a_stream_arrives_event_by_event_under_the_endpoints_name(served: Running) -> None:
    with served.stream(max_tokens=4) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["x-tuneline-version"] == "1"
        found = events(response.read().decode())
    assert len(found) == 4
    assert {event["model"] for event in found} == {"tiny"}
    # what the model itself wrote stays as it is, even when it looks like the field
    assert '"model":"lora-' in found[0]["choices"][0]["delta"]["content"]


def test_only_the_name_of_this_endpoint_is_a_model(served: Running) -> None:
    for name in ("gpt-4", "tuneline-base", "lora-0"):
        response = served.ask(model=name)
        assert response.status_code == 404
        assert error(response)["code"] == "model_not_found"
    assert [model["id"] for model in served.get("/v1/models").json()["data"]] == ["tiny"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temprature": 1}, "temprature"),
        ({"chat_template": "{{ x }}"}, "chat_template"),
        ({"messages": []}, "messages"),
        ({"max_tokens": 0}, "max_tokens"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://10.0.0.1"}}]}
                ]
            },
            None,
        ),
    ],
)
def test_a_field_that_is_not_allowed_is_refused_by_name(
    served: Running, fields: dict[str, Any], param: str | None
) -> None:
    response = served.ask(**fields)
    assert response.status_code == 422
    assert error(response)["type"] == "invalid_request_error"
    if param is not None:
        assert error(response)["param"] == param


def test_a_body_that_is_not_json_or_too_large_is_refused(served: Running) -> None:
    url, headers = f"{served.url}/v1/completions", {"authorization": f"Bearer tl-{'all' * 6}"}
    assert error(httpx.post(url, content=b"{", headers=headers))["code"] == "invalid_json"
    assert error(httpx.post(url, content=b" " * 2**24, headers=headers))["code"] == "body_too_large"


def test_what_the_engine_refuses_comes_back_as_a_422_without_its_inner_names(served: Running) -> None:
    response = served.ask(seed=13)
    assert response.status_code == 422
    assert "seed 13 is refused by tiny" in error(response)["message"]


def test_the_versions_template_is_put_around_a_conversation_and_its_stop_strings_are_added(served: Running) -> None:
    served.ask(headers={"x-tuneline-version": "2", "x-request-id": "with-template"}, stop="own")
    body = next(
        seen["body"] for seen in served.engine_saw() if seen.get("headers", {}).get("x-request-id") == "with-template"
    )
    assert body["messages"] == [
        {"role": "system", "content": "You are terse."},
        {"role": "user", "content": "a?"},
        {"role": "assistant", "content": "b."},
        *QUESTION["messages"],
    ]
    assert body["stop"] == ["own", "END"]
    assert body["chat_template"] == "{{ messages }}"
    served.ask(headers={"x-request-id": "without-template"})
    body = next(
        seen["body"]
        for seen in served.engine_saw()
        if seen.get("headers", {}).get("x-request-id") == "without-template"
    )
    assert body["messages"] == QUESTION["messages"]
    assert not {"stop", "chat_template"} & set(body)


def test_completions_reach_the_engine_unchanged_and_prompt_logprobs_need_the_scope_pin(served: Running) -> None:
    body = {"model": "tiny", "prompt": [5, 6, 7], "max_tokens": 1, "logprobs": 1, "prompt_logprobs": 0}
    response = served.post("/v1/completions", body, headers={"x-request-id": "golden"})
    assert response.status_code == 200
    sent = next(seen["body"] for seen in served.engine_saw() if seen.get("headers", {}).get("x-request-id") == "golden")
    assert {name: sent[name] for name in body if name != "model"} == {n: v for n, v in body.items() if n != "model"}
    assert served.post("/v1/completions", body, "inference").status_code == 403
    assert served.post("/v1/completions", body | {"prompt_logprobs": None}, "inference").status_code == 200


def test_a_client_that_leaves_stops_the_engine_from_generating(served: Running) -> None:
    served.tell("tokens", "5000")
    try:
        with served.stream() as response:
            request_id = response.headers["x-request-id"]
            next(response.iter_bytes())
        wait_until(lambda: {"cancelled": request_id} in served.engine_saw(), "the engine to be told")
    finally:
        served.untell("tokens")


def test_every_answer_has_a_request_id_and_a_harmless_one_of_the_clients_is_kept(served: Running) -> None:
    assert served.ask(headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert len(served.ask(headers={"x-request-id": "a b\t<script>"}).headers["x-request-id"]) == 32
    assert served.get("/nothing", None).headers["x-request-id"]


def test_metrics_are_the_gateways_own_and_the_engines_but_not_those_of_python(served: Running) -> None:
    served.ask()
    with served.stream() as response:
        response.read()
    text = served.get("/metrics").text
    assert 'tuneline_requests_total{endpoint="tiny",path="/v1/chat/completions",status="200",version="1"}' in text
    for name in ("request_seconds_bucket", "ttft_seconds_bucket", "release_sequence", "release_error", "engine_up"):
        assert f"\ntuneline_{name}{{" in text
    assert 'tuneline_engine_starts_total{endpoint="tiny"} 1.0' in text
    assert 'tuneline_traffic_percent{endpoint="tiny",version="1"} 100.0' in text
    assert "vllm:num_requests_running" in text
    assert "python_info" not in text


def test_the_release_page_says_what_is_live(served: Running) -> None:
    found = served.get("/release").json()
    assert found["endpoint"] == "tiny"
    assert found["sequence"] == found["wanted"] == 1
    assert {name: adapter["model_version"] for name, adapter in found["adapters"].items()} == {"v1": "1", "v2": "2"}
    assert found["routes"]["production"] == "v1"
    assert found["error"] is None
    assert found["engine"]["starts"] == 1


def test_the_engine_gets_no_storage_credentials_and_no_key_on_its_command_line(served: Running) -> None:
    first = served.engine_saw()[0]
    assert not [name for name in first["environment"] if name.startswith(("AWS_", "FSSPEC_"))]
    assert "--api-key" not in first["arguments"]
    assert "--enable-lora" in first["arguments"]
    assert first["arguments"][first["arguments"].index("--uds") + 1] == "engine.sock"
