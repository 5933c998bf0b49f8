"""One trial: propose or take up again, train, and write down after every measurement how it fares."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tuneline.config import Config
from tuneline.config.candidate import with_values
from tuneline.data.records import ChatRecord
from tuneline.errors import TunelineError, UserError
from tuneline.search.propose import propose
from tuneline.search.prune import Pruned, is_behind
from tuneline.search.store import TrialStore
from tuneline.search.trial import Measurement, Trial
from tuneline.training.durable.interruption import Interrupted
from tuneline.training.job import TrainingJob
from tuneline.training.outcome import TrainingOutcome
from tuneline.training.progress import Progress
from tuneline.training.train import train


def run_trial(
    config: Config,
    records: Sequence[ChatRecord],
    number: int,
    wave: Sequence[int],
    store: TrialStore,
    output: Path,
    with_checkpoints: Callable[[TrainingJob], TrainingJob],
    on_begin: Callable[[Trial], None],
    on_progress: Callable[[Progress], None],
) -> Trial:
    """Train one candidate to its end, or until it has fallen behind.

    Args:
        config: with a section ``search``.
        records: to learn from; the same for all trials.
        number: of the trial; one that has ended is returned as it is, one that was interrupted is taken up again.
        wave: the numbers that are proposed together.
        store: where all trials of this search are.
        output: an empty folder for the training's files.
        with_checkpoints: gives the training a place that outlives this process; the same for the same training.
        on_begin: told the values before the training begins.
        on_progress: told each logged moment.

    Returns:
        The trial as it ended. One that fails ends itself alone: the next ones are proposed elsewhere.

    Raises:
        UserError: the training cannot be done at all, and no other trial has shown that it can.
        Interrupted: the process is told to end; the same command goes on.
    """
    trials = store.trials()
    trial = next((found for found in trials if found.number == number), None)
    if trial is not None and trial.ended is not None:
        return trial
    values = propose(config, trials, number, wave)
    before = trial.seconds if trial is not None else 0.0
    kept = trial.measured if trial is not None else ()
    trial = Trial(number=number, values=values, measured=kept, started=datetime.now(UTC), seconds=before)
    store.write(trial)
    on_begin(trial)
    try:
        candidate = with_values(config, values)
    except ValueError as error:  # the corners that were tried when the config was read did not show it
        return _end(store, trial, "failed", reason=str(error).splitlines()[-1])
    watched = _Watched(config, trial, store, on_progress)
    model, training = candidate.model.as_loaded(), candidate.training
    job = TrainingJob(records, model, training, candidate.prompt, output, on_progress=watched.see)
    job = with_checkpoints(job)
    watched.trial = trial.model_copy(update={"checkpoints": job.checkpoints or ""})
    store.write(watched.trial)
    try:
        loss = _judged_by(train(job), candidate)
    except Pruned as pruned:
        ended = _end(store, watched.trial, "pruned", loss=watched.trial.measured[-1].loss, reason=str(pruned))
    except Interrupted:
        raise
    except TunelineError as error:
        if isinstance(error, UserError) and not any(other.state == "complete" for other in trials):
            raise
        ended = _end(store, watched.trial, "failed", reason=error.what)
    else:
        return _end(store, watched.trial, "complete", loss=loss)
    return store.forget_checkpoints(ended)


class _Watched:
    """A trial while it trains."""

    def __init__(
        self, config: Config, trial: Trial, store: TrialStore, on_progress: Callable[[Progress], None]
    ) -> None:
        self.trial = trial
        self._config = config
        self._store = store
        self._on_progress = on_progress

    def see(self, moment: Progress) -> None:
        """Note a measurement, and end the training if the trial has fallen behind.

        Raises:
            Pruned: it has.
            TunelineError: the validation loss is no number.
        """
        self._on_progress(moment)
        if moment.validation_loss is None:
            return
        if not math.isfinite(moment.validation_loss):
            raise TunelineError(f"the validation loss is {moment.validation_loss} at step {moment.step}")
        # One that was taken up again measures a few steps a second time.
        earlier = [known for known in self.trial.measured if known.step < moment.step]
        now = Measurement(step=moment.step, steps=moment.steps, loss=moment.validation_loss)
        self.trial = self.trial.model_copy(update={"measured": (*earlier, now)})
        self._store.write(self.trial)
        others = [other for other in self._store.trials() if other.number != self.trial.number]
        if is_behind(self._config, self.trial, others):
            raise Pruned(f"behind the median at step {moment.step} of {moment.steps}")


def _judged_by(outcome: TrainingOutcome, candidate: Config) -> float:
    """The validation loss of the weights that the training gives out.

    With ``patience`` those are the best ones that were measured, without the last ones.
    """
    validation = candidate.training.validation
    measured = [moment.validation_loss for moment in outcome.curve if moment.validation_loss is not None]
    best = outcome.run.best_validation_loss
    loss = best if validation is not None and validation.patience is not None else measured[-1] if measured else best
    if loss is None or not math.isfinite(loss):
        raise TunelineError(f"the validation loss is {loss} at the end of the training")
    return loss


def _end(store: TrialStore, trial: Trial, state: str, *, loss: float | None = None, reason: str = "") -> Trial:
    now = datetime.now(UTC)
    seconds = trial.seconds + (now - trial.started).total_seconds()
    changes = {"state": state, "loss": loss, "reason": reason, "ended": now, "seconds": seconds}
    ended = Trial.model_validate(trial.model_dump() | changes)
    store.write(ended)
    return ended
