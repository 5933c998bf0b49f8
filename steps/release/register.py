"""Register the judged candidate, and stage it if it passed."""

from typing import Annotated

from zenml import get_step_context, step

from controlplane.bases import base_ref, whole_model_ref
from controlplane.checkpoints import remove_checkpoints
from controlplane.registry import follow_stages
from controlplane.storage import active_storage
from controlplane.versions import VersionRecord, move_to_staging, register
from tuneline.card import ModelCard
from tuneline.config import ModelConfig, ServingConfig
from tuneline.data.dataset import ChatDataset
from tuneline.evaluation.report import EvaluationReport
from tuneline.gate.verdict import Verdict
from tuneline.prompts import PromptTemplate
from tuneline.release import AdapterRef
from tuneline.training.adapter import LoraAdapter


@step(enable_cache=False)
def register_version(
    adapter: LoraAdapter,
    training_set: ChatDataset,
    evaluation_set: ChatDataset,
    evaluation_report: EvaluationReport,
    verdict: Verdict,
    model_card: ModelCard,
    name: str,
    model: ModelConfig,
    serving: ServingConfig,
    prompt: PromptTemplate,
    training_key: str,
) -> Annotated[str, "version"]:
    """Make the next model version, whatever the verdict; only PASS moves it to staging. MLflow's registry follows."""
    inputs = {label: versions[0] for label, versions in get_step_context().inputs.items()}
    storage = active_storage()
    record = VersionRecord(
        training_key=training_key,
        outcome=verdict.outcome,
        sentence=verdict.sentence,
        scores=evaluation_report.scores("candidate"),
        adapter=AdapterRef(
            uri=inputs["adapter"].uri,
            sha256=adapter.sha256,
            model_version="unregistered",
            rank=adapter.rank,
            prompt=prompt,
        ),
        base=base_ref(model, storage),
        whole_model=whole_model_ref(adapter, inputs["adapter"].uri, model),
        engine=serving.engine(),
        report=inputs["evaluation_report"].id,
        verdict=inputs["verdict"].id,
        training_set=inputs["training_set"].id,
        evaluation_set=inputs["evaluation_set"].id,
        card=inputs["model_card"].id,
    )
    version = register(name, record, [artifact.id for artifact in inputs.values()])
    if verdict.passed:
        version = move_to_staging(version)
    print(f"registered: {name} version {version.name}, stage {version.stage}", flush=True)
    if warning := follow_stages(name):
        print(f"warning: {warning}", flush=True)
    remove_checkpoints(get_step_context().pipeline_run)
    return version.name
