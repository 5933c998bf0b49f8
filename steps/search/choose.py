"""End a search: the best trial."""

from typing import Annotated

import mlflow
from zenml import step

from controlplane.searches import open_search
from materializers.search import SearchReportMaterializer
from steps.search.begin import PARENT
from tuneline.config import Config
from tuneline.errors import TunelineError
from tuneline.search.page import search_page
from tuneline.search.report import SearchReport, report_of, shown_value
from tuneline.search.table import standing


@step(enable_cache=False, experiment_tracker=True, output_materializers={"search_report": SearchReportMaterializer})
def choose_best(parent: str, config: Config, key: str) -> Annotated[SearchReport, "search_report"]:
    """Sum the search up; its MLflow run gets the best loss, the best values and the page.

    Args:
        parent: the search's MLflow run.
        key: what the search depends on.

    Raises:
        TunelineError: no trial came to its end.
    """
    store = open_search(config.name, key)
    report = report_of(config, store.trials())
    best = report.best_trial
    if best is None or best.loss is None:
        reasons = sorted({trial.reason for trial in report.trials if trial.reason})
        raise TunelineError(
            f"none of the {len(report.trials)} trials came to its end: {'; '.join(reasons)}",
            hint="Narrow search.parameters down to values that train, and search again with --no-cache.",
        )
    mlflow.set_tags({PARENT: parent, "mlflow.runName": "choice"})
    client = mlflow.MlflowClient()
    client.log_metric(parent, "best_validation_loss", best.loss, step=len(report.trials))
    client.set_tag(parent, "tuneline.best_trial", str(best.number))
    for name, value in best.values.items():
        client.set_tag(parent, f"best.{name}", shown_value(value))
    client.log_text(parent, search_page(report), "search.html")
    for trial in report.trials:
        if trial.number != best.number:
            store.forget_checkpoints(trial)
    store.keep_note("chosen", f"{best.number} of {len(report.trials)}")
    print(f"search: {standing(report)}", flush=True)
    return report
