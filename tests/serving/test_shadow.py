"""A challenger in the shadow: asked beside production, written down, seen by nobody and in nobody's way."""

from __future__ import annotations

import json
import shutil
import signal
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from serving.gateway.routing import place_of
from serving.gateway.said import texts
from serving.private_log import PrivateLog
from tests.serving.conftest import Running, wait_until
from tuneline.release import CanaryBounds, EngineArguments, GatewayArguments, ReleaseStore

NEVER = CanaryBounds(min_requests=10**6)
ENDLESS = "100000"


def shadow(endpoint: Running, **changes: Any) -> Running:
    """Release version 2 in the shadow of version 1."""
    routes = {"challenger": "v2", "percent": 100, "shadow": True, "bounds": NEVER} | changes.pop("routes", {})
    endpoint.release({"1": "one", "2": "two"}, "1", routes=routes, **changes)
    return endpoint


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """One endpoint for the tests that leave it as it was."""
    root = Path(tempfile.mkdtemp(prefix="tls-"))
    made = Running(root)
    made.write_keys()
    shadow(made)
    try:
        yield made.start().ready()
    finally:
        made.stop()
        shutil.rmtree(root, ignore_errors=True)


def pairs(endpoint: Running) -> list[dict[str, Any]]:
    path = endpoint.workdir / "shadow.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def written(endpoint: Running, number: int) -> list[dict[str, Any]]:
    """All pairs, once there are so many."""
    return wait_until(lambda: len(found := pairs(endpoint)) >= number and found, f"{number} pairs")


def counted(endpoint: Running, metric: str, **labels: str) -> float:
    """A counter's value, all its series with these labels together."""
    lines = [line for line in endpoint.get("/metrics").text.splitlines() if line.startswith(f"{metric}{{")]
    wanted = [f'{name}="{value}"' for name, value in labels.items()]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(label in line for label in wanted))


def dropped(endpoint: Running) -> float:
    return counted(endpoint, "tuneline_shadows_dropped_total")


def cancelled(endpoint: Running) -> list[str]:
    """Ids of the requests whose answers the engine could not finish, because nobody took them any more."""
    return [seen["cancelled"] for seen in endpoint.engine_saw() if "cancelled" in seen]


def unloads(endpoint: Running) -> int:
    return sum(seen.get("path") == "/v1/unload_lora_adapter" for seen in endpoint.engine_saw())


def test_production_answers_everybody_and_both_answers_are_recorded(running: Running) -> None:
    before = len(pairs(running)), counted(running, "tuneline_answers_total", role="shadow", version="2", result="ok")
    answers = [running.ask(user=f"caller {n}", stream=n % 2 == 0) for n in range(6)]
    for answer in answers:
        assert (answer.status_code, answer.headers["x-tuneline-version"]) == (200, "1")
        assert "one" in answer.text and "two" not in answer.text
    found = written(running, before[0] + 6)[before[0] :]
    assert {pair["request_id"] for pair in found} == {answer.headers["x-request-id"] for answer in answers}
    for pair in found:
        assert not pair["equal"]
        for role, version in (("production", "1"), ("challenger", "2")):
            said = pair[role]
            assert (said["version"], said["status"], said["finish_reasons"]) == (version, 200, ["stop"])
            assert (said["prompt_tokens"], said["completion_tokens"]) == (7, 5)
            assert said["seconds"] > 0
    assert counted(running, "tuneline_answers_total", role="shadow", version="2", result="ok") == before[1] + 6
    assert counted(running, "tuneline_answers_total", role="challenger") == 0
    assert 'tuneline_traffic_percent{endpoint="tiny",version="1"} 100.0' in running.get("/metrics").text


def test_only_the_callers_of_its_share_have_a_shadow(running: Running) -> None:
    shadow(running, routes={"percent": 50})
    sequence = ReleaseStore(f"{running.store}/releases").sequences()[-1]
    running.applied(sequence)
    before = len(pairs(running))
    asked = {f"caller {n}": running.ask(user=f"caller {n}").headers["x-request-id"] for n in range(20)}
    sha256 = running.reference("two", "2").sha256
    drawn = {asked[caller] for caller in asked if place_of(caller, "tiny", sha256) < 50}
    assert 0 < len(drawn) < 20
    assert {pair["request_id"] for pair in written(running, before + len(drawn))[before:]} == drawn
    shadow(running)
    running.applied(sequence + 1)


def test_texts_are_written_only_as_far_as_prompts_may_be_logged_and_only_the_owner_reads_them(running: Running) -> None:
    before = len(pairs(running))
    running.ask()
    silent = written(running, before + 1)[before]
    assert "texts" not in silent["production"] and "texts" not in silent["challenger"]
    shadow(running, gateway=GatewayArguments(prompt_log_share=1.0))
    sequence = ReleaseStore(f"{running.store}/releases").sequences()[-1]
    running.applied(sequence)
    for stream in (False, True):
        answer = running.ask(stream=stream, stream_options={"include_usage": True} if stream else None)
        pair = written(running, before + 2 + stream)[-1]
        assert pair["request_id"] == answer.headers["x-request-id"]
        assert [text.count("one") for text in pair["production"]["texts"]] == [5]
        assert [text.count("two") for text in pair["challenger"]["texts"]] == [5]
    assert stat.S_IMODE((running.workdir / "shadow.jsonl").stat().st_mode) == 0o600
    shadow(running)
    running.applied(sequence + 1)


def test_a_challenger_that_fails_fails_nobody(running: Running) -> None:
    before = len(pairs(running))
    running.tell("fail-two")
    try:
        assert [running.ask(stream=stream).status_code for stream in (False, True)] == [200, 200]
        assert {pair["challenger"]["status"] for pair in written(running, before + 2)[before:]} == {503}
    finally:
        running.untell("fail-two")
    assert counted(running, "tuneline_answers_total", role="shadow", result="failed") == 2


def test_shadows_delay_nobody_are_dropped_beyond_their_bound_and_end_with_the_endpoint(endpoint: Running) -> None:
    shadow(endpoint).start().ready()
    endpoint.tell("token-seconds", "0.05")
    endpoint.tell("tokens-two", ENDLESS)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: endpoint.ask(user=f"caller {n}", stream=True), range(12)))
    assert {(answer.status_code, answer.headers["x-tuneline-version"]) for answer in answers} == {(200, "1")}
    assert all(answer.text.endswith("data: [DONE]\n\n") for answer in answers)
    assert dropped(endpoint) == 4
    assert pairs(endpoint) == []  # none of them is over
    assert endpoint.process is not None
    endpoint.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert endpoint.process.wait(timeout=60) == 0
    assert time.monotonic() - began < 30
    assert pairs(endpoint) == []


def test_a_shadow_ends_when_its_client_leaves_and_keeps_its_adapter_until_then(endpoint: Running) -> None:
    shadow(endpoint).start().ready()
    endpoint.tell("token-seconds", "0.05")
    endpoint.tell("tokens", ENDLESS)
    with endpoint.stream() as response:
        pieces = response.iter_bytes()
        next(pieces)
        asked = response.headers["x-request-id"]
        endpoint.tell("tokens", "3")
        endpoint.release({"1": "one"}, "1")
        endpoint.applied(2)
        assert endpoint.ask().status_code == 200
        assert unloads(endpoint) == 0
        assert next(pieces)
    wait_until(lambda: set(cancelled(endpoint)) == {asked, f"{asked}-shadow"}, "both answers to be cancelled")
    wait_until(lambda: unloads(endpoint) == 1, "version 2 to be unloaded")
    assert counted(endpoint, "tuneline_answers_total", role="shadow", result="left") == 1
    assert pairs(endpoint) == []


def test_while_questions_wait_no_shadow_is_let_in(endpoint: Running) -> None:
    shadow(endpoint, gateway=GatewayArguments(max_running=1)).start().ready()
    endpoint.tell("token-seconds", "0.05")
    endpoint.tell("tokens", ENDLESS)
    statuses: list[int] = []
    others = [threading.Thread(target=lambda: statuses.append(endpoint.ask().status_code)) for _ in range(2)]
    with endpoint.stream() as response:
        pieces = response.iter_bytes()  # without a name it would be collected, and the connection closed
        next(pieces)
        endpoint.tell("tokens", "3")
        for other in others:
            other.start()
        wait_until(lambda: counted(endpoint, "tuneline_waiting_requests") == 2, "two questions to wait")
        assert dropped(endpoint) == 0
    for other in others:
        other.join()
    assert statuses == [200, 200]
    assert dropped(endpoint) == 1  # the second one's; when the third was asked, nobody waited any more
    assert len(written(endpoint, 1)) == 1


def test_where_visible_answers_fill_the_engine_no_shadow_is_let_in(endpoint: Running) -> None:
    shadow(endpoint, engine=EngineArguments(max_num_seqs=2)).start().ready()
    assert endpoint.ask().status_code == 200
    written(endpoint, 1)
    assert endpoint.ask(n=2).status_code == 200
    assert dropped(endpoint) == 1


def test_a_challenger_that_fails_in_the_shadow_is_ended(endpoint: Running) -> None:
    shadow(endpoint, routes={"bounds": CanaryBounds(min_requests=20)}).start().ready()
    endpoint.tell("fail-two")
    statuses = {endpoint.ask(user=f"caller {n}").status_code for n in range(40)}
    endpoint.applied(2)
    last = ReleaseStore(f"{endpoint.store}/releases").history()[-1]
    assert statuses == {200}
    assert last.author == "gateway of tiny"
    assert last.reason.startswith("canary of version 2 ended: ") and "failed" in last.reason
    assert (last.routes.challenger, last.routes.shadow, set(last.adapters)) == (None, False, {"v1"})


def test_texts_are_read_out_of_whole_and_streamed_answers_alike() -> None:
    call = {"function": {"name": "scale", "arguments": '{"to": 3}'}}
    messages: list[dict[str, Any]] = [{"content": "a"}, {"content": None, "tool_calls": [call]}]
    whole = {"choices": [{"index": index, "message": message} for index, message in enumerate(messages)]}
    assert texts(json.dumps(whole).encode()) == ["a", 'scale{"to": 3}']
    pieces: list[dict[str, Any]] = [
        {"choices": [{"index": 1, "delta": {"tool_calls": [{"function": {"name": "scale"}}]}}]},
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
        {"choices": [{"index": 0, "delta": {"content": "a"}}]},
        {"choices": [{"index": 1, "delta": {"tool_calls": [{"function": {"arguments": '{"to": 3}'}}]}}]},
        {"choices": [], "usage": {"completion_tokens": 2}},
        {"error": {"message": "the engine ended"}},
    ]
    streamed = b"".join(b"data: " + json.dumps(piece).encode() + b"\n\n" for piece in pieces)
    assert texts(streamed + b"data: [DONE]\n\n") == ["a", 'scale{"to": 3}']
    assert texts(b'{"choices": [{"text": "b"}]}') == ["b"]
    assert texts(b"") == []


def test_half_a_surrogate_pair_is_written_as_json_writes_it(tmp_path: Path) -> None:
    log = PrivateLog(tmp_path / "shadow.jsonl", 1000, 1)
    log.write(json.dumps({"texts": ["é \ud83d"]}, ensure_ascii=False))
    log.close()
    assert json.loads((tmp_path / "shadow.jsonl").read_text("utf-8")) == {"texts": ["é \ud83d"]}
