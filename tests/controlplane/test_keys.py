"""API keys: made once, kept whole in ZenML's secret store only."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path
from typing import Any

import fsspec
import pytest

from controlplane import keys
from controlplane.keys import ensure_key, read_key
from controlplane.storage import Storage
from tests.stacks.s3 import S3Server
from tuneline import paths
from tuneline.errors import UserError

pytestmark = pytest.mark.zenml


def contents(storage: Storage) -> dict[str, bytes]:
    """All files of the artifact store."""
    fs, root = fsspec.url_to_fs(storage.uri, use_listings_cache=False, **storage.options)
    return {path: fs.cat_file(path) for path in fs.find(root)}


def key_file(storage: Storage, endpoint: str = "tiny") -> dict[str, Any]:
    """What the gateway reads."""
    fs, path = fsspec.url_to_fs(paths.keys_file(storage.endpoint_folder(endpoint)), **storage.options)
    document: dict[str, Any] = json.loads(fs.cat_file(path))
    return document


def test_only_the_keys_hash_is_in_the_store_and_the_key_itself_nowhere_in_it(storage: Storage) -> None:
    key = ensure_key("tiny", storage)
    (entry,) = key_file(storage)["keys"]
    assert entry["sha256"] == hashlib.sha256(key.encode()).hexdigest()
    assert set(entry["scopes"]) == {"inference", "pin", "metrics"}
    assert len(key) > 40
    files = contents(storage)
    assert [path for path in files if path.endswith("tiny/keys.json")]
    assert not [path for path, data in files.items() if key.encode() in data or key in path]


def test_the_key_is_made_once_and_a_second_call_adds_nothing(storage: Storage) -> None:
    key = ensure_key("tiny", storage)
    files = contents(storage)
    assert ensure_key("tiny", storage) == key == read_key("tiny")
    assert contents(storage) == files


def test_a_second_store_gets_the_hash_of_the_same_key_and_keys_added_by_hand_stay(
    storage: Storage, tmp_path: Path
) -> None:
    key = ensure_key("tiny", storage)
    elsewhere = Storage(uri=str(tmp_path / "elsewhere"), is_local=True)
    by_hand = {"id": "k-hand", "name": "dashboard", "sha256": "0" * 64, "scopes": ["metrics"]}
    file = Path(paths.keys_file(elsewhere.endpoint_folder("tiny")))
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"keys": [by_hand]}))
    assert ensure_key("tiny", elsewhere) == key
    assert key_file(elsewhere)["keys"][0] == by_hand
    assert key_file(elsewhere)["keys"][1]["sha256"] == key_file(storage)["keys"][0]["sha256"]
    assert len(key_file(elsewhere)["keys"]) == 2
    assert [path.name for path in file.parent.iterdir()] == ["keys.json"]
    assert stat.S_IMODE(file.stat().st_mode) & 0o022 == 0  # nobody else may let himself in


def test_every_endpoint_has_its_own_key(storage: Storage) -> None:
    assert ensure_key("tiny", storage) != ensure_key("tiny-next", storage)
    assert key_file(storage)["keys"] != key_file(storage, "tiny-next")["keys"]
    assert len(key_file(storage)["keys"]) == len(key_file(storage, "tiny-next")["keys"]) == 1


def test_a_key_whose_hash_was_not_written_before_the_process_died_is_kept_and_gets_it(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(keys, "_publish_hash", cut_off)
        with pytest.raises(KeyboardInterrupt):
            ensure_key("tiny", storage)
    made = read_key("tiny")
    assert ensure_key("tiny", storage) == made
    assert [entry["sha256"] for entry in key_file(storage)["keys"]] == [hashlib.sha256(made.encode()).hexdigest()]


def test_reading_a_key_before_the_first_deployment_is_an_error_that_says_what_makes_it(storage: Storage) -> None:
    ensure_key("tiny-next", storage)
    with pytest.raises(UserError, match="endpoint 'tiny' has no API key yet") as refusal:
        read_key("tiny")
    assert "run.py deploy" in refusal.value.hint


def test_the_stores_own_credentials_are_not_shown_with_it(s3_storage: Storage, s3_server: S3Server) -> None:
    assert s3_storage.options["secret"] == s3_server.secret
    assert s3_server.secret not in repr(s3_storage)
