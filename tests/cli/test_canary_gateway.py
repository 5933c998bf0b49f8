"""`canary` in front of the real gateway: shares, counts and the end reach people who ask. The engine is a stub."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.cli.conftest import Run
from tests.cli.test_canary import TINY, done, storage
from tests.serving.conftest import QUESTION, STUB, Running
from tuneline import paths
from tuneline.release import BaseRef, EngineArguments

if TYPE_CHECKING:
    from pathlib import Path

    from controlplane.storage import Storage

__all__ = ["storage"]

pytestmark = [
    pytest.mark.zenml,
    pytest.mark.skipif(
        not paths.serving_python().exists(), reason="needs the serving environment: `make setup` makes it"
    ),
]


@pytest.fixture
def stub_engine(tuneline_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stub in the engine's place, and versions that it can load."""
    from tests.controlplane import registered

    (tuneline_home / "made").mkdir()
    made = Running(tuneline_home / "made")
    command = ["/usr/bin/env", f"STUB_FOLDER={made.stub}", str(paths.serving_python()), str(STUB)]
    monkeypatch.setenv("TUNELINE_ENGINE_COMMAND", json.dumps(command))
    record_of = registered.record_of

    def loadable(adapter: str = "a", **changed: Any) -> Any:
        record = record_of(adapter, base=BaseRef(model=str(made.base)), engine=EngineArguments(), **changed)
        return record.model_copy(update={"adapter": made.reference(adapter, "unregistered")})

    monkeypatch.setattr(registered, "record_of", loadable)


def test_a_canarys_share_counts_and_end_are_what_people_who_ask_get(
    stub_engine: None, run: Run, storage: Storage
) -> None:
    from controlplane.endpoint import connect
    from controlplane.keys import ensure_key

    ensure_key("tiny", storage)
    done(run, "canary", "2", "--percent", "50")
    assert "A canary of version 2 is running" in done(run, "deploy")
    client = connect("tiny")
    engine = client.readiness()["engine"]

    def answered(questions: int) -> set[str]:
        found = set()
        for number in range(questions):
            body = QUESTION | {"user": f"user-{number}"}
            answer = httpx.post(
                f"{client.url}/v1/chat/completions",
                json=body,
                headers={"authorization": f"Bearer {client.key}"},
                timeout=30,
            )
            assert answer.status_code == 200, answer.text
            found.add(answer.headers["x-tuneline-version"])
        return found

    assert answered(40) == {"1", "2"}
    shown = done(run, "canary")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if line.startswith("│")]
    assert [row[:2] for row in rows] == [["1", "production"], ["2", "challenger"]]
    assert sum(int(row[2]) for row in rows) == 40 and all(int(row[2]) > 5 for row in rows)

    assert "gets 75 % of the traffic beside version 1, after" in done(run, "canary", "--percent", "75")
    assert "version 1 has all the traffic" in done(run, "canary", "--off")
    assert answered(10) == {"1"}
    assert client.readiness()["engine"] == engine, "the engine was restarted"
    status = json.loads(done(run, "status", "--json"))
    assert (status["ready"], status["live"], status["traffic"]) == (True, status["wanted"], {"1": 100.0})
    assert run("stop", *TINY).code == 0
