"""Evaluate base, champion and candidate on the same items."""

import tempfile
from pathlib import Path
from typing import Annotated

import mlflow
from zenml import get_step_context, log_metadata, step

from controlplane.releases import in_production
from materializers.evaluation_report import EvaluationReportMaterializer
from steps.evaluation.champion import champion_subject
from tuneline.config import EvaluationConfig, GateConfig, ModelConfig, ServingConfig
from tuneline.evaluation.evaluate_model import AdapterSubject, evaluate
from tuneline.evaluation.questions import Questions
from tuneline.evaluation.report import EvaluationReport
from tuneline.prompts import PromptTemplate
from tuneline.training.adapter import LoraAdapter


# Never cached: who the champion is changes without any input changing.
@step(
    enable_cache=False,
    experiment_tracker=True,
    output_materializers={"evaluation_report": EvaluationReportMaterializer},
)
def evaluate_candidate(
    adapter: LoraAdapter,
    questions: Questions,
    name: str,
    model: ModelConfig,
    evaluation: EvaluationConfig,
    gate: GateConfig,
    serving: ServingConfig,
    prompt: PromptTemplate,
) -> Annotated[EvaluationReport, "evaluation_report"]:
    """Put every suite to the base model, the champion (if there is one) and the candidate; score all of them."""
    champion = in_production(name)
    with tempfile.TemporaryDirectory() as scratch:
        subject = None if champion is None else champion_subject(champion, Path(scratch))
        report = evaluate(
            model,
            evaluation,
            gate,
            serving,
            questions.suites,
            candidate=AdapterSubject(
                "candidate",
                adapter.folder,
                "candidate",
                adapter.sha256,
                prompt,
                whole=adapter.merged,
                whole_sha256=adapter.merged_sha256,
            ),
            champion=subject,
            on_progress=_report,
        )
    scores = {
        f"{subject.role}/{metric}": score
        for subject in report.lead.subjects
        for metric, score in report.scores(subject.role).items()
    }
    mlflow.log_metrics(scores)
    mlflow.log_dict(report.model_dump(mode="json"), "evaluation/report.json")
    log_metadata(scores, artifact_name="evaluation_report", infer_artifact=True)
    mlflow.set_tag("zenml.run", get_step_context().pipeline_run.name)
    return report


def _report(line: str) -> None:
    print(f"evaluation: {line}", flush=True)
