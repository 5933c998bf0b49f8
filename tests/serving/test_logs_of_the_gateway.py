"""The gateway's log: JSON line by line, without prompts; and the prompt log, for those who want one."""

from __future__ import annotations

import json
import shutil
import stat
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from serving.gateway.prompt_log import sampled
from stacks.deployer import process
from stacks.deployer.log_lines import readable
from tests.serving.conftest import Running, wait_until
from tuneline.release.gateway import GatewayArguments

SECRET = [{"role": "user", "content": "mail jane@example.com the word xylophone, key sk-" + "a1" * 16}]


def lines(running: Running) -> list[dict[str, Any]]:
    """The whole log; every line has to be an object."""
    return [json.loads(line) for line in (running.workdir / "gateway.log").read_text().splitlines()]


def line_of(running: Running, request_id: str) -> dict[str, Any]:
    def found() -> Any:
        return [line for line in lines(running) if line.get("request_id") == request_id]

    only: list[dict[str, Any]] = wait_until(found, "the line of the request")
    assert len(only) == 1
    return only[0]


def prompts(running: Running) -> list[dict[str, Any]]:
    path = running.workdir / "prompts.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_every_line_says_when_how_bad_and_who_in_utc(served: Running) -> None:
    served.ask()
    for line in lines(served):
        assert datetime.fromisoformat(line["time"]).utcoffset() == timedelta(0)
        assert line["level"] in ("INFO", "WARNING", "ERROR")
        assert {"logger", "message"} <= set(line)
    assert {"uvicorn.error", "serving.reconcile"} <= {line["logger"] for line in lines(served)}


def test_a_request_has_its_numbers_and_not_its_words(served: Running) -> None:
    with served.stream(messages=SECRET, max_tokens=3) as response:
        response.read()
        line = line_of(served, response.headers["x-request-id"])
    assert (line["method"], line["path"], line["status"], line["key"]) == ("POST", "/v1/chat/completions", 200, "k-all")
    assert (line["version"], line["role"], line["cached"]) == ("1", "production", False)
    assert (line["prompt_tokens"], line["completion_tokens"]) == (7, 3)
    assert 0 < line["ttft_ms"] <= line["ms"]
    refused = served.ask(None, {"x-request-id": "no-key"})
    assert refused.status_code == 401
    assert line_of(served, "no-key")["version"] is None
    text = (served.workdir / "gateway.log").read_text()
    assert not [word for word in ("jane", "xylophone", "sk-", "tl-") if word in text]


def test_probes_and_scrapes_are_not_logged(served: Running) -> None:
    for path in ("/livez", "/readyz", "/metrics"):
        served.get(path)
    served.get("/release")
    paths = [line.get("path") for line in lines(served)]
    assert "/release" in paths
    assert not {"/livez", "/readyz", "/metrics"} & set(paths)


def test_what_breaks_is_told_with_its_traceback_in_one_line(endpoint: Running) -> None:
    endpoint.start()
    Path(endpoint.store, "releases").mkdir()
    Path(endpoint.store, "releases", "00000001.json").write_text("{")
    wait_until(lambda: any(line["level"] == "ERROR" for line in lines(endpoint)), "the error to be told")
    shutil.rmtree(Path(endpoint.store, "releases"))
    Path(endpoint.store, "releases").write_text("not a folder")
    broken = wait_until(lambda: [line for line in lines(endpoint) if "exception" in line], "the traceback")
    assert "Traceback" in broken[0]["exception"]


def test_without_being_asked_for_no_conversation_is_written(served: Running) -> None:
    served.ask()
    assert not (served.workdir / "prompts.jsonl").exists()


def test_conversations_are_written_redacted_for_the_owner_alone(endpoint: Running) -> None:
    endpoint.release({"1": "one"}, "1", gateway=GatewayArguments(prompt_log_share=1.0))
    endpoint.start().ready()
    endpoint.ask(messages=SECRET, headers={"x-request-id": "plain"})
    with endpoint.stream(messages=SECRET, n=1) as response:
        response.read()
    endpoint.post("/v1/completions", {"model": "tiny", "prompt": "from 10.20.30.40"})
    plain, streamed, completion = wait_until(lambda: len(prompts(endpoint)) == 3 and prompts(endpoint), "three lines")
    assert plain["messages"] == [{"role": "user", "content": "mail [EMAIL] the word xylophone, key [KEY]"}]
    assert plain["answers"][0]["content"].startswith('one "model":')
    assert streamed["answers"] == plain["answers"]
    assert (plain["request_id"], plain["key"], plain["version"], plain["result"]) == ("plain", "k-all", "1", "ok")
    assert completion["prompt"] == "from [IP]"
    assert stat.S_IMODE((endpoint.workdir / "prompts.jsonl").stat().st_mode) == 0o600


def test_the_share_can_be_changed_while_it_runs_and_what_waits_is_written_at_the_stop(endpoint: Running) -> None:
    endpoint.release({"1": "one"}, "1")
    endpoint.start().ready()
    endpoint.ask()
    endpoint.applied(endpoint.release({"1": "one"}, "1", gateway=GatewayArguments(prompt_log_share=0.5)).sequence)
    names = [f"r-{number}" for number in range(40)]
    for name in names:
        endpoint.ask(headers={"x-request-id": name}, max_tokens=2)
    endpoint.stop()
    endpoint.process = None
    written = [line["request_id"] for line in prompts(endpoint)]
    assert written == [name for name in names if sampled(name, 0.5)]
    assert 5 < len(written) < 35


@given(st.integers(0, 2**128))
def test_the_sample_is_about_as_large_as_the_share_and_grows_with_it(first: int) -> None:
    names = [f"{first + number:032x}" for number in range(400)]
    small, large = ({name for name in names if sampled(name, share)} for share in (0.3, 0.6))
    assert small <= large
    assert 60 < len(small) < 190
    assert not any(sampled(name, 0.0) for name in names)
    assert all(sampled(name, 1.0) for name in names)


def test_people_who_follow_the_logs_or_read_the_end_of_them_see_no_json(tmp_path: Path) -> None:
    line = {"time": "2026-11-24T15:38:28.123+00:00", "level": "INFO", "logger": "a.b", "message": "hello"}
    (tmp_path / "gateway.log").write_text(json.dumps(line) + "\n")
    (tmp_path / "engine.log").write_text("INFO 11-24 weights\n")
    shown = ["gateway: 2026-11-24 15:38:28 INFO hello", "engine: INFO 11-24 weights"]
    assert list(process.follow_logs(tmp_path, follow=False, tail=None)) == shown
    assert "\n2026-11-24 15:38:28 INFO hello\n" in process.log_tail(tmp_path)


def test_people_see_short_text_and_what_is_no_json_as_it_is() -> None:
    line = {"time": "2026-11-24T15:38:28.123+00:00", "level": "INFO", "logger": "a.b", "message": "POST /x 200"}
    fields = {"key": "k-1", "version": None, "ms": 3.2}
    assert readable(json.dumps(line | fields)) == "2026-11-24 15:38:28 INFO POST /x 200 key=k-1 ms=3.2"
    assert readable(json.dumps(line | {"exception": "Traceback\n  boom"})).endswith("POST /x 200\nTraceback\n  boom")
    for text in ("loading weights", "{not json", '{"other": "json"}', "", "{}"):
        assert readable(text) == text
