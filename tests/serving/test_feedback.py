"""Feedback: what a client may say of an answer, what the gateway knows about it, and where it is kept."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving.conftest import KEYS, Running, wait_until
from tests.serving.test_gateway import error
from tests.stacks.s3 import BUCKET, S3Server
from tuneline.data.feedback import read_feedback

TURNS = [{"role": "user", "content": "how do I list pods?"}]
ANSWER = {"role": "assistant", "content": "kubectl pods"}
SCOPES = KEYS | {"all": [*KEYS["all"], "feedback"]}


@pytest.fixture(scope="module")
def rated(served: Running) -> Running:
    """The endpoint, with keys that may give feedback."""
    served.write_keys(SCOPES)
    wait_until(lambda: rate(served, "x").status_code == 201, "the keys to be read")
    return served


def rate(served: Running, request_id: str, rating: str = "down", **fields: Any) -> httpx.Response:
    return served.post("/v1/feedback", {"request_id": request_id, "rating": rating} | fields)


def stored(served: Running) -> dict[str, dict[str, Any]]:
    """What is in the endpoint's folder, by the answer it is about."""
    texts = [file.read_text() for file in sorted(Path(served.store, "feedback").glob("*.jsonl"))]
    return {line["request_id"]: line for text in texts for line in map(json.loads, text.splitlines())}


def until_stored(served: Running, request_id: str) -> dict[str, Any]:
    found: dict[str, Any] = wait_until(lambda: stored(served).get(request_id), "the feedback to be stored")
    return found


def test_feedback_says_which_version_answered_and_is_stored_without_the_question(rated: Running) -> None:
    asked = rated.ask("inference", {"x-request-id": "liked"})
    response = rate(rated, "liked", "up", comment="fine")
    assert response.status_code == 201
    found = response.json()
    assert (found["version"], found["request_id"], found["trainable"]) == (asked.headers["x-tuneline-version"],
                                                                           "liked", False)  # fmt: skip
    line = until_stored(rated, "liked")
    assert (line["id"], line["rating"], line["comment"], line["version"]) == (found["id"], "up", "fine", "1")
    assert (line["key"], line["asked_by"], line["path"]) == ("k-all", "k-inference", "/v1/chat/completions")
    assert "messages" not in line
    assert "list pods" not in json.dumps(line)


def test_an_answer_of_another_replica_can_be_rated_too(rated: Running) -> None:
    response = rate(rated, "from-elsewhere")
    assert (response.status_code, response.json()["version"]) == (201, None)
    assert until_stored(rated, "from-elsewhere")["version"] is None


def test_corrections_and_good_answers_with_their_messages_can_be_trained_on(rated: Running) -> None:
    assert rate(rated, "c1", correction="kubectl get pods", messages=TURNS).json()["trainable"] is True
    assert rate(rated, "c2", correction="kubectl get po", messages=[*TURNS, ANSWER]).json()["trainable"] is True
    assert rate(rated, "good", "up", messages=[*TURNS, ANSWER]).json()["trainable"] is True
    assert rate(rated, "bad", messages=[*TURNS, ANSWER]).json()["trainable"] is False
    assert rate(rated, "bare", correction="kubectl get pods").json()["trainable"] is False
    assert until_stored(rated, "bare")["correction"] == "kubectl get pods"
    records = {record.reference: record for record in read_feedback(rated.store).records}
    assert set(records) == {"kubectl get pods", "kubectl get po", "kubectl pods"}
    assert [[m.role for m in record.messages] for record in records.values()] == [["user", "assistant"]] * 3
    assert [r.reference for r in read_feedback(rated.store, corrections_only=True).records] == [
        "kubectl get pods",
        "kubectl get po",
    ]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"rating": "5"}, "rating"),
        ({"rating": None}, "rating"),
        ({"request_id": "a b"}, "request_id"),
        ({"stars": 5}, "stars"),
        ({"comment": "x" * 5000}, "comment"),
        ({"correction": ""}, "correction"),
        ({"messages": []}, "messages"),
        ({"messages": [ANSWER]}, "messages"),
        ({"messages": [{"role": "user", "content": "x", "weight": 9}]}, "messages.0.weight"),
    ],
)
def test_what_is_not_in_the_schema_is_refused_by_name(rated: Running, fields: dict[str, Any], param: str) -> None:
    response = rated.post("/v1/feedback", {"request_id": "r", "rating": "up"} | fields)
    assert response.status_code in (400, 422)
    found = error(response)
    assert found["type"] == "invalid_request_error"
    assert found["param"] == param


def test_it_needs_its_own_scope_and_has_its_own_bound(rated: Running) -> None:
    assert rated.post("/v1/feedback", {"request_id": "r", "rating": "up"}, "inference").status_code == 403
    assert rated.post("/v1/feedback", {"request_id": "r", "rating": "up"}, None).status_code == 401
    assert error(rate(rated, "r", correction="x" * 2**21))["code"] == "body_too_large"


def test_ratings_are_counted_by_the_version_they_are_about(rated: Running) -> None:
    rated.ask(headers={"x-request-id": "counted", "x-tuneline-version": "2"})
    rate(rated, "counted")
    line = 'tuneline_feedback_total{endpoint="tiny",rating="down",version="2"} 1.0'
    assert line in rated.get("/metrics").text


def test_what_was_said_just_before_the_stop_is_stored_and_an_absent_storage_is_waited_for(endpoint: Running) -> None:
    endpoint.write_keys(SCOPES)
    endpoint.release({"1": "one"}, "1")
    endpoint.start().ready()
    (Path(endpoint.store) / "feedback").write_text("in the way")
    assert rate(endpoint, "early").status_code == 201
    log = endpoint.workdir / "gateway.log"
    wait_until(lambda: "feedback cannot be stored" in log.read_text(), "the failure to be told")
    assert "tuneline_feedback_waiting{" in endpoint.get("/metrics").text
    (Path(endpoint.store) / "feedback").unlink()
    until_stored(endpoint, "early")
    for number in range(50):
        assert rate(endpoint, f"last-{number}").status_code == 201
    endpoint.stop()
    endpoint.process = None
    assert set(stored(endpoint)) == {"early", *(f"last-{number}" for number in range(50))}


def test_a_bucket_keeps_it_as_a_disk_does(endpoint: Running, s3_server: S3Server, tmp_path: Path) -> None:
    import boto3

    address = {"AWS_ACCESS_KEY_ID": s3_server.key, "AWS_SECRET_ACCESS_KEY": s3_server.secret,
               "AWS_ENDPOINT_URL": s3_server.url, "AWS_DEFAULT_REGION": "us-east-1"}  # fmt: skip
    endpoint.write_keys(SCOPES)
    client = boto3.client(
        "s3", endpoint_url=s3_server.url, aws_access_key_id=s3_server.key, aws_secret_access_key=s3_server.secret,
        region_name="us-east-1",
    )  # fmt: skip
    client.put_object(Bucket=BUCKET, Key="e/tiny/keys.json", Body=(Path(endpoint.store) / "keys.json").read_bytes())
    endpoint.store = f"s3://{BUCKET}/e/tiny"
    endpoint.env |= address
    endpoint.start()
    wait_until(lambda: rate(endpoint, "r1", correction="good", messages=TURNS).status_code == 201, "the keys")
    wait_until(lambda: client.list_objects_v2(Bucket=BUCKET, Prefix="e/tiny/feedback/")["KeyCount"], "the file")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in address.items():
            patch.setenv(name, value)
        assert [record.reference for record in read_feedback(endpoint.store).records] == ["good"]
    assert "AWS_ENDPOINT_URL" not in os.environ
