"""Load, convert and check the data."""

from typing import Annotated

from zenml import step

from materializers.chat_dataset import ChatDatasetMaterializer
from materializers.questions import QuestionsMaterializer
from tuneline.config import DataConfig, EvaluationConfig, GateConfig, LmEvalSuite
from tuneline.data.dataset import ChatDataset
from tuneline.data.load import load_sets
from tuneline.evaluation.questions import Questions
from tuneline.evaluation.suites.items import check_sizes, load_suites
from tuneline.evaluation.suites.judge import check_keys
from tuneline.evaluation.suites.lm_eval_tasks import check_lm_eval


# Never cached: a file may have changed under the same path. What follows is cached by content.
@step(
    enable_cache=False,
    output_materializers={
        "training_set": ChatDatasetMaterializer,
        "evaluation_set": ChatDatasetMaterializer,
        "questions": QuestionsMaterializer,
    },
)
def load_data(
    data: DataConfig, evaluation: EvaluationConfig, gate: GateConfig
) -> tuple[
    Annotated[ChatDataset, "training_set"],
    Annotated[ChatDataset, "evaluation_set"],
    Annotated[Questions, "questions"],
]:
    """Read every source, convert it to chat records, and keep what is trained on and what is asked apart."""
    training_set, evaluation_set = load_sets(data)
    check_keys(evaluation)
    questions = Questions(suites=load_suites(evaluation, data, training_set, evaluation_set))
    check_sizes(questions.suites, evaluation, gate)
    for suite in evaluation.suites:
        if isinstance(suite, LmEvalSuite):
            check_lm_eval(suite, training_set)
    return training_set, evaluation_set, questions  # ZenML counts outputs by this literal tuple
