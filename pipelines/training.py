"""Training: data to a judged model version."""

from zenml import pipeline
from zenml.enums import ExecutionMode

from steps.data.load_data import load_data
from steps.evaluation.evaluate import evaluate_candidate
from steps.evaluation.judge import judge
from steps.release.card import write_card
from steps.release.register import register_version
from steps.training.train import train
from tuneline.config import Config


@pipeline(name="training", execution_mode=ExecutionMode.FAIL_FAST)
def training_pipeline(config: Config, base_sha256: str, training_key: str) -> None:
    """Load, train, evaluate, judge, write the card, register."""
    training_set, evaluation_set, questions = load_data(config.data, config.evaluation, config.gate)
    adapter = train(training_set, config.model.as_loaded(), config.training, config.prompt, base_sha256)
    report = evaluate_candidate(
        adapter,
        questions,
        config.name,
        config.model,
        config.evaluation,
        config.gate,
        config.serving,
        config.prompt,
    )
    verdict = judge(report, config.gate)
    card = write_card(adapter, training_set, evaluation_set, report, verdict, config, base_sha256, training_key)
    register_version(
        adapter,
        training_set,
        evaluation_set,
        report,
        verdict,
        card,
        config.name,
        config.model,
        config.serving,
        config.prompt,
        training_key,
    )
