"""API keys: the first is made once and kept whole in ZenML's secret store only, others are kept nowhere."""

from __future__ import annotations

import hashlib
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import fsspec
import pytest

from controlplane import keys
from controlplane.keys import create_key, ensure_key, list_keys, read_key, revoke_key
from controlplane.storage import Storage
from tests.stacks.s3 import S3Server
from tuneline import paths
from tuneline.errors import UserError
from tuneline.release.keys import Key, KeyStore

pytestmark = pytest.mark.zenml

ALL = {"inference", "pin", "metrics", "feedback"}


def contents(storage: Storage) -> dict[str, bytes]:
    """All files of the artifact store."""
    fs, root = fsspec.url_to_fs(storage.uri, use_listings_cache=False, **storage.options)
    return {path: fs.cat_file(path) for path in fs.find(root)}


def write_list(storage: Storage, *entries: dict[str, Any]) -> None:
    """Write keys.json, as endpoints had it before every key had its file."""
    fs, path = fsspec.url_to_fs(paths.keys_file(storage.endpoint_folder("tiny")), **storage.options)
    fs.makedirs(fs._parent(path), exist_ok=True)
    fs.pipe_file(path, json.dumps({"keys": list(entries)}).encode())


def seen_by_the_gateway(storage: Storage) -> dict[str, Key]:
    """Keys by their id."""
    store = KeyStore(storage.endpoint_folder("tiny"), storage.options)
    assert store.refresh() == []
    return {key.id: key for key in store.keys.values()}


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def test_only_the_keys_hash_is_in_the_store_and_the_key_itself_nowhere_in_it(storage: Storage) -> None:
    first = ensure_key("tiny", storage)
    second, entry = create_key("tiny", storage, "web", ["inference"])
    assert {key.sha256 for key in list_keys("tiny", storage)} == {digest(first), digest(second)}
    assert seen_by_the_gateway(storage)[entry.id].scopes == {"inference"}
    for key in (first, second):
        assert len(key) > 40
        assert not [path for path, data in contents(storage).items() if key.encode() in data or key in path]


def test_the_key_is_made_once_and_a_second_call_adds_nothing(storage: Storage) -> None:
    key = ensure_key("tiny", storage)
    files = contents(storage)
    assert ensure_key("tiny", storage) == key == read_key("tiny")
    assert contents(storage) == files
    (entry,) = list_keys("tiny", storage)
    assert (entry.name, set(entry.scopes)) == ("default", ALL)


def test_a_first_key_of_an_earlier_endpoint_gets_the_scope_that_came_later_and_keys_added_by_hand_stay(
    storage: Storage,
) -> None:
    key = ensure_key("tiny", storage)
    old = {"id": "k-old", "name": "default", "sha256": digest(key), "scopes": ["inference", "pin", "metrics"]}
    by_hand = {"id": "k-hand", "name": "dashboard", "sha256": "0" * 64, "scopes": ["metrics"]}
    fs, folder = fsspec.url_to_fs(paths.keys_folder(storage.endpoint_folder("tiny")), **storage.options)
    fs.rm(folder, recursive=True)
    write_list(storage, old, by_hand)
    assert ensure_key("tiny", storage) == key
    found = seen_by_the_gateway(storage)
    assert found.keys() == {"k-old", "k-hand"}
    assert set(found["k-old"].scopes) == ALL
    assert set(found["k-hand"].scopes) == {"metrics"}


def test_of_many_who_make_keys_at_once_nobody_loses_one_and_a_name_goes_to_one_alone(storage: Storage) -> None:
    ensure_key("tiny", storage)

    def make(name: str) -> str | None:
        try:
            return create_key("tiny", storage, name, ["inference"])[1].id
        except UserError:
            return None

    names = [f"k{number}" for number in range(8)] + ["wanted"] * 4
    with ThreadPoolExecutor(len(names)) as pool:
        made = list(pool.map(make, names))
    assert None not in made[:8]
    assert len([one for one in made[8:] if one]) == 1
    assert {one for one in made if one} < seen_by_the_gateway(storage).keys()
    assert len(seen_by_the_gateway(storage)) == 10


def test_a_revoked_key_stays_as_a_record_one_of_the_old_list_too(storage: Storage) -> None:
    entries = [{"id": f"k-{n}", "name": "same", "sha256": str(n) * 64, "scopes": ["inference"]} for n in (1, 2)]
    write_list(storage, *entries)
    _, made = create_key("tiny", storage, "web", ["inference"], expires_in=timedelta(days=1), requests_per_minute=5)
    with pytest.raises(UserError, match="2 keys are called 'same'"):
        revoke_key("tiny", storage, "same")
    for which in ("k-1", "k-2", "web"):
        first = revoke_key("tiny", storage, which)
        assert revoke_key("tiny", storage, which) == first
    found = seen_by_the_gateway(storage)
    assert [found[one].state() for one in ("k-1", "k-2", made.id)] == ["revoked"] * 3
    assert found[made.id].requests_per_minute == 5
    with pytest.raises(UserError, match="has a key called 'web' already"):
        create_key("tiny", storage, "web", ["inference"])


def test_the_key_that_the_commands_use_is_revoked_by_force_alone_and_made_anew_at_the_next_deployment(
    storage: Storage,
) -> None:
    key = ensure_key("tiny", storage)
    with pytest.raises(UserError, match=r"the commands use") as refusal:
        revoke_key("tiny", storage, "default")
    assert "--force" in refusal.value.hint
    assert list_keys("tiny", storage)[0].state() == "active"
    revoke_key("tiny", storage, "default", force=True)
    other = ensure_key("tiny", storage)
    assert other == read_key("tiny") != key
    assert {found.sha256: found.state() for found in list_keys("tiny", storage)} == {
        digest(key): "revoked",
        digest(other): "active",
    }


def test_a_second_store_gets_the_hash_of_the_same_key(storage: Storage, tmp_path: Path) -> None:
    key = ensure_key("tiny", storage)
    elsewhere = Storage(uri=str(tmp_path / "elsewhere"), is_local=True)
    assert ensure_key("tiny", elsewhere) == key
    (file,) = Path(paths.keys_folder(elsewhere.endpoint_folder("tiny"))).iterdir()
    assert json.loads(file.read_text())["sha256"] == digest(key)
    assert stat.S_IMODE(file.stat().st_mode) & 0o022 == 0  # nobody else may let himself in


def test_every_endpoint_has_its_own_key(storage: Storage) -> None:
    assert ensure_key("tiny", storage) != ensure_key("tiny-next", storage)
    assert len(list_keys("tiny", storage)) == len(list_keys("tiny-next", storage)) == 1


def test_a_key_whose_hash_was_not_written_before_the_process_died_is_kept_and_gets_it(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(keys.KeyStore, "write", cut_off)
        with pytest.raises(KeyboardInterrupt):
            ensure_key("tiny", storage)
    made = read_key("tiny")
    assert ensure_key("tiny", storage) == made
    assert [entry.sha256 for entry in list_keys("tiny", storage)] == [digest(made)]


def test_reading_a_key_before_the_first_deployment_is_an_error_that_says_what_makes_it(storage: Storage) -> None:
    ensure_key("tiny-next", storage)
    with pytest.raises(UserError, match="endpoint 'tiny' has no API key yet") as refusal:
        read_key("tiny")
    assert "run.py deploy" in refusal.value.hint


def test_the_stores_own_credentials_are_not_shown_with_it(s3_storage: Storage, s3_server: S3Server) -> None:
    assert s3_storage.options["secret"] == s3_server.secret
    assert s3_server.secret not in repr(s3_storage)
