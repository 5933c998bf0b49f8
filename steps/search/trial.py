"""One trial of a search."""

from typing import Annotated

import mlflow
from zenml import get_step_context, step

from controlplane.checkpoints import with_checkpoints
from controlplane.searches import open_search
from materializers.search import TrialMaterializer
from steps.scratch import scratch_folder
from steps.search.begin import PARENT
from steps.training.tracking import Tracking
from tuneline.config import Config
from tuneline.data.dataset import ChatDataset
from tuneline.search.report import report_of, shown_value
from tuneline.search.run_trial import run_trial
from tuneline.search.table import standing, text_table, told_state
from tuneline.search.trial import Trial


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
    with Tracking(_say) as tracking:
        tracking.send(lambda: mlflow.set_tags(tags))

        def begin(begun: Trial) -> None:
            values = {name: shown_value(value) for name, value in begun.values.items()}
            tracking.send(lambda: mlflow.log_params(values))
            _say(f"trial {begun.number} with {', '.join(f'{name}={value}' for name, value in values.items())}")

        ended = run_trial(
            config,
            training_set.records,
            number,
            wave,
            store,
            scratch_folder("trial"),
            with_checkpoints,
            begin,
            tracking.moment,
        )
        tracking.send(lambda: mlflow.set_tag("tuneline.trial", ended.state))
        if ended.loss is not None:
            tracking.metrics({"trial_loss": ended.loss, "trial_seconds": ended.seconds})
    report = report_of(config, store.trials())
    _say(f"trial {number} {told_state(ended)} after {ended.seconds:.0f} s")
    print(text_table(report), flush=True)
    _say(standing(report))
    return ended


def _say(line: str) -> None:
    print(f"search: {line}", flush=True)
