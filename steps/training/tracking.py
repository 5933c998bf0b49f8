"""MLflow that may be away: what cannot be sent waits, and a training of hours goes on.

MLflow's own calls raise, some after a quarter of an hour. Here a report that fails is kept and sent again later, in
order; the first failure is said once. What MLflow refuses (a value it does not take) is said and dropped: it would be
refused again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Self

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from controlplane.registry import impatient
from tuneline.training.progress import Progress

_FIRST_PAUSE, _LONGEST_PAUSE = 30.0, 600.0  # seconds until the next try; each failure doubles it
_SYSTEM_METRICS_EVERY = 5.0  # seconds
_REFUSED = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST", "PERMISSION_DENIED")


class Tracking:
    """Reports to the active MLflow run, and lets it watch the machine: CPU, memory, disk, network, GPU (``system/…``).

    Used as a context: inside, MLflow gives up early on a server that does not answer, its own thread too.

    Attributes:
        waiting: reports that could not be sent yet, oldest first.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        """Get ready.

        Args:
            say: told in a line that MLflow is away, that it is back, and what was lost.
        """
        run = mlflow.active_run()
        assert run is not None, "ZenML starts it before the step"
        self.run_id: str = run.info.run_id
        self.waiting: deque[Callable[[], object]] = deque()
        self._say = say
        self._pause = _FIRST_PAUSE
        self._not_before = 0.0
        self._away = False
        self._patience = ExitStack()
        self._monitor: SystemMetricsMonitor | None = None

    def __enter__(self) -> Self:
        self._patience.enter_context(impatient())
        self._watch_machine(resumed=False)
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        """Send what waits, one last time. If MLflow is still away its run is left behind, or ZenML would fail on it."""
        with self._patience:
            if self._monitor is not None:
                self._monitor.finish()
                self._monitor = None
            self._deliver()
            if not self.waiting:
                return
            whole = "" if failure else " The training itself is complete."
            self._say(f"MLflow is still away: {len(self.waiting)} reports are lost.{whole}")
            try:
                mlflow.end_run()  # forgets the run before it asks the server
            except Exception as error:  # noqa: BLE001 - it is away, which was just said
                self._say(f"MLflow's run {self.run_id} could not be ended: {_line(error)}")

    def _watch_machine(self, *, resumed: bool) -> None:
        self._monitor = SystemMetricsMonitor(
            self.run_id, sampling_interval=_SYSTEM_METRICS_EVERY, resume_logging=resumed
        )
        self._monitor.start()

    def moment(self, moment: Progress) -> None:
        """Report a moment of the run as metrics by step."""
        values = {
            "loss": moment.loss,
            "learning_rate": moment.learning_rate,
            "grad_norm": moment.grad_norm,
            "tokens_per_second": moment.tokens_per_second,
            "memory_gib": moment.memory_gib,
        }
        if moment.validation_loss is not None:
            values["validation_loss"] = moment.validation_loss
        self.metrics(values, step=moment.step)

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Report numbers, with the time at which they were measured."""
        now = int(time.time() * 1000)
        self.send(lambda: mlflow.log_metrics(dict(values), step=step, run_id=self.run_id, timestamp=now))

    def send(self, report: Callable[[], object]) -> None:
        """Send a report after those that wait, or let it wait with them."""
        self.waiting.append(report)
        if time.monotonic() >= self._not_before:
            self._deliver()

    def _deliver(self) -> None:
        while self.waiting:
            try:
                self.waiting[0]()
            except Exception as error:  # noqa: BLE001 - whatever it is, the training goes on
                if isinstance(error, MlflowException) and error.error_code in _REFUSED:
                    self._say(f"MLflow refuses a report, which is left out: {_line(error)}")
                    self.waiting.popleft()
                    continue
                if not self._away:
                    self._say(f"MLflow is away, the training goes on and reports later: {_line(error)}")
                self._away = True
                self._not_before = time.monotonic() + self._pause
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)
                return
            self.waiting.popleft()
        if self._away:
            self._say("MLflow is back; no report was lost.")
            if self._monitor is not None:
                self._monitor.finish()  # its thread ends at the first failure
                self._watch_machine(resumed=True)
        self._away, self._pause = False, _FIRST_PAUSE


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
