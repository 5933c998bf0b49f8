"""How an endpoint follows its releases: what switches, what stays, and what it says when it cannot follow."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.serving.conftest import Running, running, wait_until
from tests.stacks.s3 import BUCKET, S3Server
from tuneline.release import BaseRef, EngineArguments, ReleaseStore
from tuneline.release.files import fingerprint


def test_before_the_first_release_it_lives_and_is_not_ready(endpoint: Running) -> None:
    endpoint.start()
    assert endpoint.get("/livez", None).status_code == 200
    response = endpoint.get("/readyz", None)
    assert response.status_code == 503
    assert response.headers["retry-after"]
    assert response.json()["state"] == "no release"
    assert endpoint.ask().status_code == 503
    assert endpoint.engines() == 0


def test_a_release_without_production_can_be_pinned_and_a_balancer_lets_that_through(endpoint: Running) -> None:
    endpoint.release({"1": "one"})
    endpoint.start()
    wait_until(lambda: endpoint.get("/readyz", None).json()["state"] == "no production version", "the release")
    readiness = endpoint.get("/readyz", None)
    assert (readiness.status_code, readiness.json()["ready"]) == (200, False)
    unpinned = endpoint.ask()
    assert unpinned.status_code == 503
    assert unpinned.headers["retry-after"]
    assert endpoint.ask(headers={"x-tuneline-version": "1"}).status_code == 200
    endpoint.release({"1": "one"}, "1")
    endpoint.ready()
    assert endpoint.engines() == 1


def test_a_new_version_is_loaded_beside_the_old_one_and_no_client_is_refused(endpoint: Running) -> None:
    endpoint.release({"1": "one"}, "1")
    endpoint.start().ready()
    stop = threading.Event()
    wrong: list[str] = []

    def client(streamed: bool) -> None:
        while not stop.is_set():
            response = endpoint.ask(stream=streamed)
            if response.status_code != 200 or (streamed and not response.text.endswith("data: [DONE]\n\n")):
                wrong.append(f"{response.status_code} {response.text}")

    clients = [threading.Thread(target=client, args=(number % 2 == 0,)) for number in range(8)]
    for thread in clients:
        thread.start()
    try:
        for version in range(2, 8):
            endpoint.release({str(version - 1): f"a{version - 1}", str(version): f"a{version}"}, str(version))
            endpoint.applied(version)
            assert endpoint.ask().headers["x-tuneline-version"] == str(version)
    finally:
        stop.set()
        for thread in clients:
            thread.join()
    assert wrong == []
    assert endpoint.get("/release").json()["engine"]["starts"] == 1


def test_an_adapter_leaves_only_when_its_last_answer_is_given(endpoint: Running) -> None:
    endpoint.release({"1": "one"}, "1")
    endpoint.start().ready()
    endpoint.tell("tokens", "100000")
    with endpoint.stream() as response:
        pieces = response.iter_bytes()
        next(pieces)
        endpoint.tell("tokens", "3")
        endpoint.release({"2": "two"}, "2")
        endpoint.applied(2)
        assert endpoint.ask().headers["x-tuneline-version"] == "2"
        assert next(pieces)
        assert "/v1/unload_lora_adapter" not in [seen.get("path") for seen in endpoint.engine_saw()]
    wait_until(
        lambda: "/v1/unload_lora_adapter" in [seen.get("path") for seen in endpoint.engine_saw()],
        "version 1 to be unloaded",
    )


def test_the_challenger_gets_its_share(endpoint: Running) -> None:
    endpoint.release({"1": "one", "2": "two"}, "1", routes={"challenger": "v2", "percent": 50})
    endpoint.start().ready()
    answers = [endpoint.ask(user=f"caller {n}").headers["x-tuneline-version"] for n in range(60)]
    assert 5 < answers.count("2") < 55  # both ends have a probability below 1e-10
    assert 'tuneline_traffic_percent{endpoint="tiny",version="2"} 50.0' in endpoint.get("/metrics").text


@pytest.mark.parametrize(
    "fault", ["changed files", "no files", "refused by the engine", "another endpoint's", "not a release"]
)
def test_what_cannot_be_applied_leaves_the_last_good_release_live_and_is_reported(
    endpoint: Running, fault: str
) -> None:
    endpoint.release({"1": "one"}, "1")
    endpoint.start().ready()
    if fault == "changed files":
        endpoint.release({}, "2", references={"v2": endpoint.reference("two", "2", sha256="0" * 64)})
    elif fault == "no files":
        endpoint.release({}, "2", references={"v2": endpoint.reference("two", "2", uri=str(endpoint.root / "nowhere"))})
    elif fault == "refused by the engine":
        endpoint.tell("refuse-two")
        endpoint.release({"1": "one", "2": "two"}, "2")
    elif fault == "another endpoint's":
        endpoint.release({"2": "two"}, "2", endpoint="other")
    else:
        (Path(endpoint.store) / "releases" / "00000002.json").write_text("{")
    wait_until(lambda: endpoint.get("/readyz", None).json()["error"], "the error")
    response = endpoint.get("/readyz", None)
    assert response.status_code == 200
    assert "release 2 could not be applied" in response.json()["error"]
    assert (endpoint.get("/release").json()["sequence"], endpoint.get("/release").json()["wanted"]) == (1, 2)
    assert endpoint.ask().headers["x-tuneline-version"] == "1"
    assert 'tuneline_release_error{endpoint="tiny"} 1.0' in endpoint.get("/metrics").text
    endpoint.release({"3": "three"}, "3")
    endpoint.applied(3)
    assert endpoint.get("/readyz", None).json()["error"] is None


def test_a_cause_that_goes_away_needs_no_new_release(endpoint: Running) -> None:
    endpoint.release({"1": "one"}, "1")
    endpoint.start().ready()
    endpoint.tell("refuse-two")
    endpoint.release({"1": "one", "2": "two"}, "2")
    wait_until(lambda: endpoint.get("/readyz", None).json()["error"], "the error")
    endpoint.untell("refuse-two")
    endpoint.applied(2)


def test_other_engine_arguments_start_another_engine(endpoint: Running) -> None:
    endpoint.release({"1": "one"}, "1")
    endpoint.start().ready()
    endpoint.release({"1": "one"}, "1", engine=EngineArguments(max_num_seqs=7))
    endpoint.applied(2)
    endpoint.ready()
    wait_until(lambda: endpoint.get("/readyz", None).json()["engine"]["starts"] == 2, "the second engine")
    arguments = endpoint.engine_saw(2)[0]["arguments"]
    assert arguments[arguments.index("--max-num-seqs") + 1] == "7"
    assert endpoint.ask().status_code == 200


def test_an_engine_that_does_not_start_is_replaced_by_the_one_before(endpoint: Running) -> None:
    endpoint.release({"1": "one"}, "1")
    endpoint.start().ready()
    endpoint.tell("refuse-two")
    endpoint.release({"2": "two"}, "2", engine=EngineArguments(kv_cache_gib=1e6))
    wait_until(lambda: endpoint.engines() == 3 and endpoint.get("/readyz", None).status_code == 200, "the old engine")
    assert endpoint.ask().headers["x-tuneline-version"] == "1"
    assert "release 2 could not be applied" in endpoint.get("/readyz", None).json()["error"]


def test_after_a_restart_with_a_broken_newest_release_the_last_good_one_is_served(endpoint: Running) -> None:
    endpoint.release({"1": "one"}, "1")
    endpoint.start().ready()
    tree = endpoint.tree()
    endpoint.stop()
    assert running(tree) == []
    endpoint.release({}, "2", references={"v2": endpoint.reference("two", "2", sha256="0" * 64)})
    endpoint.start().ready()
    assert endpoint.ask().headers["x-tuneline-version"] == "1"
    assert "release 2 could not be applied" in endpoint.get("/readyz", None).json()["error"]


def test_a_base_model_that_is_not_the_released_one_is_not_served(endpoint: Running) -> None:
    base = BaseRef(model=str(endpoint.base), sha256=fingerprint(endpoint.base))
    endpoint.release({"1": "one"}, "1", base=base)
    (endpoint.base / "config.json").write_text('{"changed": true}')
    endpoint.start()
    wait_until(lambda: "fingerprint" in (endpoint.get("/readyz", None).json()["error"] or ""), "the error")
    assert endpoint.get("/readyz", None).status_code == 503
    assert endpoint.engines() == 0


def test_keys_are_read_again_while_it_runs(endpoint: Running) -> None:
    endpoint.start()
    assert endpoint.get("/release", "late").status_code == 401
    endpoint.write_keys({"late": ["inference"]})
    wait_until(lambda: endpoint.get("/release", "late").status_code == 200, "the new key")
    assert endpoint.get("/release", "all").status_code == 401
    (Path(endpoint.store) / "keys.json").write_text("{")
    endpoint.release({"1": "one"})
    wait_until(lambda: "could not be read" in (endpoint.get("/readyz", None).json()["error"] or ""), "the error")
    assert endpoint.get("/release", "late").status_code == 200


def test_releases_adapters_and_base_come_from_a_bucket(endpoint: Running, s3_server: S3Server) -> None:
    import s3fs

    bucket = s3fs.S3FileSystem(**s3_server.options())
    endpoint.adapter("one")
    bucket.put(str(endpoint.root / "adapters"), f"{BUCKET}/adapters", recursive=True)
    bucket.put(str(endpoint.base), f"{BUCKET}/base", recursive=True)
    bucket.put(f"{endpoint.store}/keys.json", f"{BUCKET}/endpoint/keys.json")
    endpoint.env = {
        "AWS_ACCESS_KEY_ID": s3_server.key,
        "AWS_SECRET_ACCESS_KEY": s3_server.secret,
        "FSSPEC_S3_ENDPOINT_URL": s3_server.url,
    }
    base = BaseRef(model=f"s3://{BUCKET}/base", sha256=fingerprint(endpoint.base))
    reference = endpoint.reference("one", "1", uri=f"s3://{BUCKET}/adapters/one")
    made = endpoint.release({}, "1", references={"v1": reference}, base=base)
    ReleaseStore(f"s3://{BUCKET}/endpoint/releases", s3_server.options()).create(made)
    endpoint.store = f"s3://{BUCKET}/endpoint"
    endpoint.start().ready()
    assert endpoint.ask().json()["choices"][0]["message"]["content"].startswith("one ")
    arguments = endpoint.engine_saw()[0]["arguments"]
    model = Path(arguments[arguments.index("--model") + 1])
    assert model.is_relative_to(endpoint.workdir)
    assert (model / "config.json").read_text() == "{}"
