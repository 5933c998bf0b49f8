"""``run.py export``: a version as a folder that transformers, PEFT and vLLM load without tuneline."""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec

from cli.screen import say
from cli.workplace import checked_config, use_stack
from tuneline.errors import UserError
from tuneline.release.export_folder import write_export
from tuneline.release.files import ADAPTER_FILES, fetch, fingerprint

if TYPE_CHECKING:
    from controlplane.storage import Storage
    from controlplane.versions import Version


def run_export(
    name: str, output: Path, path: Path | None, stack: str | None, overrides: list[str], *, merged: bool
) -> None:
    """Write the version's adapter, or the whole model with it merged in."""
    config = checked_config(path, overrides)
    use_stack(stack)
    from controlplane.storage import active_storage
    from controlplane.versions import get_version

    version, storage = get_version(config.name, name), active_storage()
    record = version.record
    whole = record.whole_model is not None
    kind = "model" if whole or merged else "adapter"
    about = {"model": version.model, "version": version.name, "holds": kind, "adapter": record.adapter.sha256}
    about["base"] = record.served_base.sha256 or record.served_base.model
    write = partial(_write_model, whole=whole) if kind == "model" else _write_adapter
    written = write_export(output, about, partial(write, version, storage))
    if whole and not merged:
        say(f"Version {version.name} is a whole model: its adapter alone would do nothing.")
    said = "is in" if written else "was in, unchanged,"
    say(f"The {kind} of {config.name} version {version.name} {said} {output}.")
    if (output / "README.md").is_file():
        say(f"Next: [bold]{output / 'README.md'}[/bold] says how to load it.")


def _write_adapter(version: Version, storage: Storage, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as cache:
        adapter = version.record.adapter
        fetched = fetch(adapter.uri, adapter.sha256, Path(cache), ADAPTER_FILES, storage.options)
        shutil.copytree(fetched, folder, dirs_exist_ok=True)
    _add_card(version, storage, folder)


def _write_model(version: Version, storage: Storage, folder: Path, *, whole: bool) -> None:
    from zenml.client import Client

    from tuneline.config import ModelConfig
    from tuneline.training.merge_version import check_golden, merge_version

    record = version.record
    golden = Client().get_artifact_version(record.report).load().golden
    with tempfile.TemporaryDirectory() as cache:
        base = _base_on_disk(version, storage, Path(cache))
        quantized = record.engine.quantization == "bitsandbytes"
        model = ModelConfig(
            base=base,
            revision=record.served_base.revision,
            dtype=record.engine.dtype,
            quantization="nf4" if quantized else "none",
            trust_remote_code=record.served_base.trust_remote_code,
        )
        if whole:
            shutil.copytree(base, folder, dirs_exist_ok=True)
        else:
            adapter = fetch(record.adapter.uri, record.adapter.sha256, Path(cache), ADAPTER_FILES, storage.options)
            merge_version(model, adapter, folder)
        difference = check_golden(model, folder, golden)
    _add_card(version, storage, folder)
    say(f"Its answers' log-probabilities are those of the evaluation, to {difference:.4f} nats per token.")


def _base_on_disk(version: Version, storage: Storage, cache: Path) -> str:
    """A folder with the base model that the version was judged with, or its hub id."""
    base = version.record.served_base
    folder = Path(base.model.removeprefix("file://"))
    if folder.is_dir():
        if base.sha256 is not None and (found := fingerprint(folder)) != base.sha256:
            raise UserError(
                f"the base model in {folder} has fingerprint {found[:12]}…, but version {version.name} was made with "
                f"{base.sha256[:12]}…",
                hint="Restore its files: merged into another base model the adapter does something else.",
            )
        return str(folder.resolve())
    if base.sha256 is not None:
        return str(fetch(base.model, base.sha256, cache, storage_options=storage.options))
    return base.model


def _add_card(version: Version, storage: Storage, folder: Path) -> None:
    fs, path = fsspec.url_to_fs(version.record.adapter.uri, **storage.options)
    if fs.exists(f"{path}/README.md"):  # versions made before there were cards have none
        fs.get_file(f"{path}/README.md", str(folder / "README.md"))
