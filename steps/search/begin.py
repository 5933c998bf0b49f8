"""Begin a search, or take it up again."""

from typing import Annotated

import mlflow
from zenml import step

from controlplane.searches import open_search
from tuneline.config import Config
from tuneline.config.candidate import searched
from tuneline.search.report import shown_value

PARENT = "mlflow.parentRunId"  # what MLflow's own page nests runs by
_NOTE = "mlflow-run"


@step(enable_cache=False, experiment_tracker=True)
def begin_search(config: Config, key: str) -> Annotated[str, "mlflow_run"]:
    """Make the MLflow run that the trials' runs are nested in; a search that goes on keeps the one it began with.

    Args:
        key: what the search depends on, see ``controlplane.searches.search_key``.
    """
    store, own = open_search(config.name, key), _own_run()
    parent = store.note(_NOTE) or own
    if parent == own:
        store.keep_note(_NOTE, own)
        search = searched(config)
        mlflow.log_params(
            {"trials": search.trials, "metric": search.metric, "seed": search.seed}
            | {
                name: _told(parameter.model_dump(exclude_defaults=True))
                for name, parameter in search.parameters.items()
            }
        )
        mlflow.set_tags({"mlflow.runName": f"search {key[:8]}", "tuneline.search": key})
    else:
        mlflow.set_tags({PARENT: parent, "mlflow.runName": "taken up again", "tuneline.search": key})
    done = sum(trial.ended is not None for trial in store.trials())
    print(f"search: {done} of {searched(config).trials} trials done before", flush=True)
    return parent


def _own_run() -> str:
    run = mlflow.active_run()
    assert run is not None, "ZenML starts one for a step with an experiment tracker"
    return str(run.info.run_id)


def _told(parameter: dict[str, object]) -> str:
    return " ".join(f"{name} {shown_value(value)}" for name, value in parameter.items())
