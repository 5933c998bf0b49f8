"""The card as an artifact, and in the folder of the adapter that it describes."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pytest
from zenml import pipeline, save_artifact, step
from zenml.artifacts.utils import load_artifact_visualization
from zenml.io import fileio

from controlplane.storage import active_storage
from controlplane.versions import get_version
from materializers.adapter import AdapterMaterializer
from materializers.chat_dataset import ChatDatasetMaterializer
from materializers.model_card import ModelCardMaterializer
from pipelines.training import training_pipeline
from steps.release.card import write_card
from steps.release.register import register_version
from tests.card.cards import adapter_in, card, config, report, suite, verdict, whole_model_in
from tuneline.card import ModelCard, to_markdown
from tuneline.config import Config
from tuneline.data.dataset import ChatDataset
from tuneline.data.records import ChatRecord, Message
from tuneline.evaluation.report import EvaluationReport
from tuneline.gate.verdict import Verdict
from tuneline.release.files import ADAPTER_FILES, fetch
from tuneline.training.adapter import LoraAdapter

if TYPE_CHECKING:
    from zenml.client import Client

pytestmark = pytest.mark.zenml


def read(uri: str) -> str:
    with fileio.open(uri, "r") as file:
        return str(file.read())


def test_a_card_comes_back_as_it_was_and_lies_beside_its_facts_as_a_readme(store: Client, tmp_path: Path) -> None:
    made = card(tmp_path)
    artifact = save_artifact(made, "card", materializer=ModelCardMaterializer)
    assert artifact.load() == made
    assert read(f"{artifact.uri}/README.md") == to_markdown(made)
    assert artifact.run_metadata["license"] == "apache-2.0"
    page = str(load_artifact_visualization(artifact, 0, store.zen_store).value)
    assert "<h1>Model card: devops-assistant</h1>" in page


@step(
    output_materializers={
        "adapter": AdapterMaterializer,
        "training_set": ChatDatasetMaterializer,
        "evaluation_set": ChatDatasetMaterializer,
    }
)
def judged(
    whole: bool,
) -> tuple[
    Annotated[LoraAdapter, "adapter"],
    Annotated[ChatDataset, "training_set"],
    Annotated[ChatDataset, "evaluation_set"],
    Annotated[EvaluationReport, "evaluation_report"],
    Annotated[Verdict, "verdict"],
]:
    """Stand in for everything before the card."""
    turns = [Message(role="user", content="?"), Message(role="assistant", content="!")]
    data = ChatDataset(records=[ChatRecord(id="r", source="git/log", messages=turns)])
    make = whole_model_in if whole else adapter_in
    adapter, measured, gate = make(Path(tempfile.mkdtemp())), report(suite()), verdict()
    return adapter, data, data, measured, gate


@pipeline(enable_cache=False)
def from_the_card_on(config: Config, whole: bool) -> None:
    """The end of the training pipeline."""
    adapter, training_set, evaluation_set, measured, gate = judged(whole)
    made = write_card(adapter, training_set, evaluation_set, measured, gate, config, "b" * 64, "k" * 64)
    register_version(
        adapter,
        training_set,
        evaluation_set,
        measured,
        gate,
        made,
        config.name,
        config.model,
        config.serving,
        config.prompt,
        "k" * 64,
    )


@pytest.mark.parametrize(
    ("store", "whole"), [("local", False), ("s3", True)], indirect=["store"], ids=["adapter", "whole model in a bucket"]
)
def test_a_version_has_its_card_and_its_adapters_folder_too_and_the_engine_still_takes_what_it_serves(
    store: Client, whole: bool, tmp_path: Path
) -> None:
    given = config()
    from_the_card_on(given, whole)
    version = get_version(given.name, "1")
    assert version.record.card is not None
    made = store.get_artifact_version(version.record.card).load()
    assert isinstance(made, ModelCard)
    assert made.words == given.card
    linked = store.list_model_version_artifact_links(model_version_id=version.id, hydrate=True).items
    assert version.record.card in [link.artifact_version.id for link in linked]

    adapter = version.record.adapter
    assert read(f"{adapter.uri}/README.md") == to_markdown(made)
    assert made.adapter.sha256 == adapter.sha256
    fetched = fetch(adapter.uri, adapter.sha256, tmp_path / "cache", ADAPTER_FILES, active_storage().options)
    assert LoraAdapter(fetched).sha256 == adapter.sha256
    base = version.record.served_base
    assert (base != version.record.base) == whole == (made.adapter.merged_sha256 is not None)
    if whole:
        assert base.model == f"{adapter.uri}/merged"
        assert base.sha256 == made.adapter.merged_sha256
        fetched = fetch(base.model, str(base.sha256), tmp_path / "bases", storage_options=active_storage().options)
        assert sorted(path.name for path in fetched.iterdir()) == ["config.json", "model.safetensors"]


def test_the_training_step_is_given_nothing_that_a_corrected_licence_changes(zenml_client: Client) -> None:
    def parameters(*overrides: str) -> dict[str, str]:
        flow = training_pipeline.copy()
        flow.prepare(config("tiny.yaml", *overrides), "b" * 64, "k" * 64)
        given = flow.invocations["train"].parameters
        return {name: value.model_dump_json() for name, value in given.items() if name != "base_sha256"}

    before = parameters("model.license=apache-2.0")
    assert json.loads(before["model"])["base"].endswith("tiny-base")
    assert parameters("model.license=mit") == before
    assert parameters("model.dtype=float32") != before
