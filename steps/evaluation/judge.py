"""The gate."""

from typing import Annotated

from zenml import step

from materializers.verdict import VerdictMaterializer
from tuneline.config import GateConfig
from tuneline.evaluation.report import EvaluationReport
from tuneline.gate.decide import decide
from tuneline.gate.verdict import Verdict


@step(enable_cache=False, output_materializers={"verdict": VerdictMaterializer})
def judge(evaluation_report: EvaluationReport, gate: GateConfig) -> Annotated[Verdict, "verdict"]:
    """Compare the candidate item by item with base and champion: PASS, FAIL or INCONCLUSIVE, rule by rule."""
    verdict = decide(evaluation_report, gate)
    for rule in verdict.rules if len(verdict.rules) > 1 else ():
        print(f"gate: {rule.role} {rule.suite}: {rule.outcome}. {rule.sentence}", flush=True)
    for warning in verdict.warnings:
        print(f"gate: warning: {warning}", flush=True)
    print(f"gate: {verdict.outcome}. {verdict.sentence}", flush=True)
    return verdict
