"""A real endpoint for a benchmark: vLLM, the tiny base model, random adapters, an own folder, gone afterwards."""

from __future__ import annotations

import hashlib
import json
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from stacks.deployer import process
from stacks.deployer.start import Plan, bring_up, serving_environment
from tuneline import paths
from tuneline.release import AdapterRef, BaseRef, EngineArguments, GatewayArguments, Release, ReleaseStore, Routes
from tuneline.release.files import ADAPTER_FILES, fingerprint

NAME = "bench"
BASE = paths.ASSETS / "tiny-base"
ENGINE = EngineArguments(max_model_len=512, max_num_seqs=32, kv_cache_gib=0.5, enforce_eager=True)
# Limits that are counted for every question, as in production, and never reached.
GATEWAY = GatewayArguments(requests_per_minute=10_000_000, tokens_per_minute=10_000_000_000)


@dataclass(frozen=True)
class BenchEndpoint:
    """A live endpoint.

    Attributes:
        url: its address, without ``/v1``.
        key: an API key with all scopes.
        store: its releases; whoever writes the next one moves the traffic.
        adapters: by version, all of one shape.
        engine: how vLLM was started.
        name: what clients call the model.
    """

    url: str
    key: str
    store: ReleaseStore
    adapters: dict[str, AdapterRef]
    engine: EngineArguments
    name: str

    def give_traffic(self, version: str) -> Release:
        """Write the release that holds this version alone, so that the engine has to load it."""
        return self.store.append(lambda sequence, _: self.release(sequence, version))

    def release(self, sequence: int, version: str) -> Release:
        """A release that holds this version alone."""
        adapter = f"v{version}"
        return Release(
            endpoint=self.name,
            sequence=sequence,
            base=BaseRef(model=str(BASE), sha256=fingerprint(BASE)),
            engine=self.engine,
            gateway=GATEWAY,
            adapters={adapter: self.adapters[version]},
            routes=Routes(production=adapter),
            author="benchmark",
            reason=f"traffic to version {version}",
        )


@contextmanager
def bench_endpoint(
    versions: Sequence[str],
    *,
    engine: EngineArguments = ENGINE,
    name: str = NAME,
    environment: Mapping[str, str] | None = None,
) -> Iterator[BenchEndpoint]:
    """Start an endpoint that answers with the first of ``versions``; it ends with the block.

    Args:
        versions: adapters that are made for it.
        engine: how vLLM is started.
        name: what it is called.
        environment: further variables of the serving process.
    """
    with tempfile.TemporaryDirectory(prefix="tlb-") as folder:
        root = Path(folder)
        home, made = bench_folder(root, versions, engine, name)
        plan = Plan(endpoint=name, folder=home, workdir=root / "work")
        plan.workdir.mkdir()
        try:
            serving, _ = bring_up(plan, serving_environment((), environment or {}), timeout=300, sequence=1)
            yield replace(made, url=serving.url or "")
        finally:
            process.stop(plan.workdir, grace=20)


def bench_folder(
    root: Path, versions: Sequence[str], engine: EngineArguments = ENGINE, name: str = NAME
) -> tuple[str, BenchEndpoint]:
    """An endpoint's folder below ``root`` whose first release is the first of ``versions``; nothing runs yet."""
    home = paths.endpoint_folder(str(root), name)
    Path(home).mkdir(parents=True)
    key = _write_key(Path(paths.keys_file(home)))
    adapters = {version: _random_adapter(root / "adapters" / version, version) for version in versions}
    store = ReleaseStore(paths.releases_folder(home))
    made = BenchEndpoint("", key, store, adapters, engine, name)
    store.create(made.release(1, versions[0]))
    return home, made


def _write_key(file: Path) -> str:
    key = f"tl-{secrets.token_urlsafe(32)}"
    digest = hashlib.sha256(key.encode()).hexdigest()
    scopes = ["inference", "pin", "metrics"]
    file.write_text(json.dumps({"keys": [{"id": "k-bench", "name": "bench", "sha256": digest, "scopes": scopes}]}))
    return key


def _random_adapter(folder: Path, version: str) -> AdapterRef:
    """An adapter whose weights are noise: what it says is worthless, what it costs is not."""
    torch.manual_seed(int(version))
    config = LoraConfig(task_type="CAUSAL_LM", r=16, target_modules="all-linear", init_lora_weights=False)
    base = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.bfloat16)
    get_peft_model(base, config).save_pretrained(str(folder), save_embedding_layers=False)
    return AdapterRef(uri=str(folder), sha256=fingerprint(folder, ADAPTER_FILES), model_version=version, rank=config.r)
