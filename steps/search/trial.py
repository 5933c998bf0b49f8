"""One trial of a search."""

from typing import Annotated

import mlflow
from zenml import get_step_context, step

from controlplane.checkpoints import with_checkpoints
from controlplane.searches import open_search
from materializers.search import TrialMaterializer
from steps.scratch import scratch_folder
from steps.search.begin import PARENT
from tuneline.config import Config
from tuneline.data.dataset import ChatDataset
from tuneline.search.report import report_of, shown_value
from tuneline.search.run_trial import run_trial
from tuneline.search.table import standing, text_table, told_state
from tuneline.search.trial import Trial
from tuneline.training.progress import Progress


@step(enable_cache=False, experiment_tracker=True, output_materializers={"trial": TrialMaterializer})
def trial(
    training_set: ChatDataset, parent: str, config: Config, key: str, number: int, wave: list[int]
) -> Annotated[Trial, "trial"]:
    """Train one candidate, with a nested MLflow run of its own, and say how the search stands.

    Args:
        parent: the search's MLflow run.
        key: what the search depends on.
        number: of the trial.
        wave: the numbers that are proposed together and may run at once.
    """
    store = open_search(config.name, key)
    tags = {PARENT: parent, "mlflow.runName": f"trial {number}", "zenml.run": get_step_context().pipeline_run.name}
    mlflow.set_tags(tags)
    ended = run_trial(
        config,
        training_set.records,
        number,
        wave,
        store,
        scratch_folder("trial"),
        with_checkpoints,
        _begin,
        _report,
    )
    mlflow.set_tag("tuneline.trial", ended.state)
    if ended.loss is not None:
        mlflow.log_metrics({"trial_loss": ended.loss, "trial_seconds": ended.seconds})
    report = report_of(config, store.trials())
    print(f"search: trial {number} {told_state(ended)} after {ended.seconds:.0f} s", flush=True)
    print(f"{text_table(report)}\nsearch: {standing(report)}", flush=True)
    return ended


def _begin(begun: Trial) -> None:
    mlflow.log_params({key: shown_value(value) for key, value in begun.values.items()})
    values = ", ".join(f"{key}={shown_value(value)}" for key, value in begun.values.items())
    print(f"search: trial {begun.number} with {values}", flush=True)


def _report(moment: Progress) -> None:
    values = {"loss": moment.loss, "learning_rate": moment.learning_rate, "grad_norm": moment.grad_norm}
    if moment.validation_loss is not None:
        values["validation_loss"] = moment.validation_loss
    mlflow.log_metrics(values, step=moment.step)
