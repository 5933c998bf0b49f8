"""The gate."""

from typing import Annotated

from zenml import step

from materializers.verdict import VerdictMaterializer
from tuneline.config import GateConfig, Metric
from tuneline.evaluation.report import EvaluationReport
from tuneline.gate.decide import decide
from tuneline.gate.verdict import Verdict


@step(enable_cache=False, output_materializers={"verdict": VerdictMaterializer})
def judge(evaluation_report: EvaluationReport, gate: GateConfig, metric: Metric) -> Annotated[Verdict, "verdict"]:
    """Compare the candidate item by item with base and champion: PASS, FAIL or INCONCLUSIVE."""
    verdict = decide(
        evaluation_report,
        metric=metric,
        must_beat=gate.must_beat,
        confidence=gate.confidence,
        resamples=gate.resamples,
        min_items=gate.min_items,
        min_difference=gate.min_difference,
        seed=gate.seed,
    )
    print(f"gate: {verdict.outcome}. {verdict.sentence}", flush=True)
    return verdict
