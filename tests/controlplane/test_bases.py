"""The base model of a release: named where it is, or copied once to where every gateway reaches it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from controlplane.bases import base_ref, base_sha256
from controlplane.storage import Storage
from tuneline.config import ModelConfig
from tuneline.release.files import fetch, fingerprint

pytestmark = pytest.mark.zenml


@pytest.fixture
def model(tmp_path: Path) -> ModelConfig:
    """A base model's folder, without a model in it."""
    folder = tmp_path / "base"
    (folder / "extra").mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "extra" / "chat.jinja").write_text("")
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 40)
    return ModelConfig(base=str(folder))


@pytest.fixture
def written(s3_storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of what is written to the bucket from here on, in that order."""
    fs, _ = fsspec.url_to_fs(s3_storage.uri, **s3_storage.options)  # fsspec hands out this one again
    names: list[str] = []
    put_file, pipe_file = fs.put_file, fs.pipe_file

    def put(source: str, target: str, **options: Any) -> None:
        put_file(source, target, **options)
        names.append(Path(target).name)

    def pipe(target: str, data: bytes, **options: Any) -> None:
        pipe_file(target, data, **options)
        names.append(Path(target).name)

    monkeypatch.setattr(fs, "put_file", put)
    monkeypatch.setattr(fs, "pipe_file", pipe)
    yield names
    fs.invalidate_cache()


def test_a_hub_model_is_named_with_its_revision_and_copied_nowhere(storage: Storage) -> None:
    model = ModelConfig(base="org/model", revision="abc", trust_remote_code=True)
    ref = base_ref(model, storage)
    assert (ref.model, ref.revision, ref.sha256, ref.trust_remote_code) == ("org/model", "abc", None, True)
    fs, root = fsspec.url_to_fs(storage.uri, use_listings_cache=False, **storage.options)
    assert not [path for path in fs.find(root) if "bases" in path]


def test_a_folder_is_named_as_a_place_from_which_a_gateway_fetches_the_same_files(
    storage: Storage, model: ModelConfig, tmp_path: Path
) -> None:
    ref = base_ref(model, storage)
    assert ref.sha256 == fingerprint(Path(model.base)) == base_sha256(model)
    if storage.is_local:
        assert ref.model == model.base
    else:
        assert ref.model.startswith(storage.uri)
        shutil.rmtree(model.base)  # the gateway's machine does not have it
    fetched = fetch(ref.model, ref.sha256, tmp_path / "cache", storage_options=storage.options)
    assert sorted(path.name for path in fetched.rglob("*.*")) == ["chat.jinja", "config.json", "model.safetensors"]


def test_a_folder_is_uploaded_once_and_its_marker_comes_last(
    s3_storage: Storage, model: ModelConfig, written: list[str]
) -> None:
    ref = base_ref(model, s3_storage)
    assert sorted(written[:-1]) == ["chat.jinja", "config.json", "model.safetensors"]
    assert written[-1] == f"{ref.sha256}.complete"
    uploaded = list(written)
    assert base_ref(model, s3_storage) == ref
    assert written == uploaded


def test_a_half_done_upload_is_done_again(
    s3_storage: Storage, model: ModelConfig, written: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fs, _ = fsspec.url_to_fs(s3_storage.uri, **s3_storage.options)
    put = fs.put_file

    def cut_off(source: str, target: str, **options: Any) -> None:
        if written:
            raise ConnectionError("the network is gone")
        put(source, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(fs, "put_file", cut_off)
        with pytest.raises(ConnectionError):
            base_ref(model, s3_storage)
    assert len(written) == 1

    ref = base_ref(model, s3_storage)
    assert ref.sha256 is not None
    assert written[-1] == f"{ref.sha256}.complete"
    assert fetch(ref.model, ref.sha256, tmp_path / "cache", storage_options=s3_storage.options)


def test_changed_weights_are_another_base_beside_the_first(s3_storage: Storage, model: ModelConfig) -> None:
    before = base_ref(model, s3_storage)
    (Path(model.base) / "model.safetensors").write_bytes(b"trained on")
    after = base_ref(model, s3_storage)
    assert before.model != after.model
    assert before.sha256 != after.sha256
    fs, path = fsspec.url_to_fs(before.model, use_listings_cache=False, **s3_storage.options)
    assert fs.cat_file(f"{path}/model.safetensors") == bytes(range(256)) * 40


def test_a_hub_models_revision_is_part_of_its_identity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    models = [ModelConfig(base="org/model", revision=revision) for revision in (None, "abc", "main")]
    unnamed, commit, main = map(base_sha256, models)
    assert unnamed == main != commit
