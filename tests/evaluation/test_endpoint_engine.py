"""A server of the user's is asked in vLLM's own words, and left as it was found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.stub_vllm import StubVllm, stub_vllm
from tuneline.errors import TunelineError, UserError
from tuneline.evaluation.engines import endpoint_engine
from tuneline.evaluation.engines.endpoint_engine import EndpointEngine
from tuneline.evaluation.engines.engine import Answer, Request
from tuneline.release.files import ADAPTER_FILES

REQUESTS = [Request(role, (number, 9)) for number in (10, 11, 12, 13) for role in ("base", "champion", "candidate")]  # type: ignore[arg-type]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubVllm]:
    monkeypatch.setattr(endpoint_engine, "_WAITS_SECONDS", (0.01, 0.01))
    with stub_vllm() as stub:
        yield stub


@pytest.fixture
def adapters(tmp_path: Path) -> dict[Any, Path]:
    made = {role: tmp_path / role for role in ("champion", "candidate")}
    for role, folder in made.items():
        folder.mkdir()
        for name in (*ADAPTER_FILES, "training.json"):
            (folder / name).write_text(role)
    return made


def _engine(server: StubVllm, adapters: dict[Any, Path], **how: Any) -> EndpointEngine:
    settings: dict[str, Any] = {"max_new_tokens": 7, "stop_ids": (5, 6), "batch_size": 3}
    return EndpointEngine(server.url, "secret-key", "org/base", adapters, **(settings | how))


def test_every_prompt_goes_as_token_ids_to_its_subject_and_is_decoded_greedily(
    server: StubVllm, adapters: dict[Any, Path]
) -> None:
    done: list[int] = []
    answers = _engine(server, adapters).answer(REQUESTS, done.append)
    assert answers == [Answer((*request.prompt_ids, 5), finished=True) for request in REQUESTS]
    assert done == list(range(1, 13))
    bodies = server.bodies("/v1/completions")
    asked = sorted((body.pop("model"), body.pop("prompt")) for body in bodies)
    names = {body["lora_path"]: body["lora_name"] for body in server.bodies("/v1/load_lora_adapter")}
    named = {"base": "org/base"} | {role: names[str(folder)] for role, folder in adapters.items()}
    assert asked == sorted((named[request.subject], list(request.prompt_ids)) for request in REQUESTS)
    expected = {"max_tokens": 7, "temperature": 0, "repetition_penalty": 1.0, "stop_token_ids": [5, 6]}
    assert all(body == expected | {"return_token_ids": True, "add_special_tokens": False} for body in bodies)
    assert server.keys == {"Bearer secret-key"}


def test_adapters_are_loaded_under_names_of_their_own_and_unloaded_at_the_end(
    server: StubVllm, adapters: dict[Any, Path]
) -> None:
    for _ in range(2):
        _engine(server, adapters).answer(REQUESTS)
    loads = server.bodies("/v1/load_lora_adapter")
    assert len({body["lora_name"] for body in loads}) == 4
    assert {body["lora_path"] for body in loads} == {str(folder) for folder in adapters.values()}
    assert server.loaded == {}


def test_the_base_model_is_asked_before_an_adapter_is_loaded(server: StubVllm, adapters: dict[Any, Path]) -> None:
    _engine(server, adapters).answer(REQUESTS)
    base = [place for place, (_, body) in enumerate(server.sent) if body.get("model") == "org/base"]
    loads = [place for place, (path, _) in enumerate(server.sent) if path == "/v1/load_lora_adapter"]
    assert max(base) < min(loads)


def test_adapters_are_put_where_the_server_sees_them_and_taken_away_again(
    server: StubVllm, adapters: dict[Any, Path], tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    found: list[list[str]] = []
    watched = server.reply

    def watching(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path == "/v1/load_lora_adapter":
            found.append(sorted(file.name for file in Path(body["lora_path"]).iterdir()))
            assert Path(body["lora_path"]).parent == shared
        return watched(path, body)

    server.reply = watching  # type: ignore[method-assign]
    _engine(server, adapters, shared_folder=shared).answer(REQUESTS)
    assert found == [sorted(ADAPTER_FILES)] * 2
    assert list(shared.iterdir()) == []


def test_a_prompt_that_is_refused_has_an_error_and_the_others_have_answers(
    server: StubVllm, adapters: dict[Any, Path]
) -> None:
    server.answers = {11: 400, 12: ([1], "content_filter"), 13: ([1, 2, 3], "length")}
    answers = _engine(server, adapters).answer(REQUESTS)
    assert [bool(answer.error) for answer in answers] == [False] * 3 + [True] * 6 + [False] * 3
    assert "maximum context length" in str(answers[3].error) and "content_filter" in str(answers[6].error)
    assert answers[9] == Answer((1, 2, 3), finished=False)


@pytest.mark.parametrize("after", [0, 6])
def test_a_server_that_dies_is_named_and_gives_no_partial_result(
    after: int, server: StubVllm, adapters: dict[Any, Path]
) -> None:
    server.breaks_after = after
    with pytest.raises(TunelineError, match="broke off") as raised:
        _engine(server, adapters).answer(REQUESTS)
    assert server.url in str(raised.value) and "secret-key" not in str(raised.value)
    assert server.loaded == {}, "what could be unloaded was not"


def test_a_server_that_is_not_there_is_told(adapters: dict[Any, Path], server: StubVllm) -> None:
    engine = EndpointEngine("http://127.0.0.1:9/v1", None, "b", adapters, max_new_tokens=1, stop_ids=(), batch_size=1)
    with pytest.raises(TunelineError, match=r"http://127\.0\.0\.1:9/v1 broke off or cannot be reached"):
        engine.answer(REQUESTS)


@pytest.mark.parametrize(("status", "error"), [(503, TunelineError), (401, UserError)])
def test_a_server_that_is_broken_or_refuses_the_key_is_no_answer(
    status: int, error: type[Exception], server: StubVllm, adapters: dict[Any, Path]
) -> None:
    server.answers = {12: status}
    with pytest.raises(error) as raised:
        _engine(server, adapters).answer(REQUESTS)
    assert type(raised.value) is error and "secret-key" not in str(raised.value)


def test_a_busy_server_is_asked_again(server: StubVllm, adapters: dict[Any, Path]) -> None:
    server.answers = {10: 503}
    watched = server.reply

    def recovering(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        reply = watched(path, body)
        server.answers = {}
        return reply

    server.reply = recovering  # type: ignore[method-assign]
    assert all(answer.error is None for answer in _engine(server, adapters).answer(REQUESTS))


def test_an_adapter_or_a_model_that_the_server_does_not_take_is_the_users_to_mend(
    server: StubVllm, adapters: dict[Any, Path]
) -> None:
    server.refuses_adapters = True
    with pytest.raises(UserError, match="did not load the candidate's adapter: 500 LoRA rank 64 is greater"):
        _engine(server, adapters).answer(REQUESTS)
    assert len(server.bodies("/v1/load_lora_adapter")) == 1
    other = EndpointEngine(server.url, None, "other", adapters, max_new_tokens=1, stop_ids=(), batch_size=1)
    with pytest.raises(UserError, match="knows no model 'other'"):
        other.answer(REQUESTS)
    with pytest.raises(TunelineError, match="no adapter for the champion"):
        _engine(server, {}).answer([Request("champion", (1,))])
