"""What an earlier process of the same job left: its checkpoints, or its result if only the artifact was missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tuneline.errors import TunelineError
from tuneline.training.adapter import LoraAdapter
from tuneline.training.durable.store import FINISHED, CheckpointStore, Unusable, step_name
from tuneline.training.job import TrainingJob
from tuneline.training.outcome import TrainingOutcome, TrainingRun
from tuneline.training.progress import Progress


def read_outcome(folder: Path) -> TrainingOutcome:
    """The outcome of a run from the files it wrote."""
    adapter = LoraAdapter(folder)
    numbers, curve = adapter.training, json.loads((folder / "curve.json").read_text())
    run = TrainingRun(**numbers | {"resumed_from": tuple(numbers["resumed_from"])})
    return TrainingOutcome(adapter, run, tuple(Progress(**moment) for moment in curve))


def keep_result(store: CheckpointStore, outcome: TrainingOutcome, job: TrainingJob) -> None:
    """Put the finished adapter into the store; its checkpoints are needed no more."""
    try:
        store.put(outcome.adapter.folder, FINISHED)
        store.keep_newest(0)
    except Exception as error:  # noqa: BLE001 - storage clients raise what they like
        job.say(f"the finished adapter could not be kept in {store.folder}: {error}. It is not lost: the run goes on")


def find_result(store: CheckpointStore, job: TrainingJob) -> TrainingOutcome | None:
    """The adapter of a run of this job that came to its end, brought to ``job.output``.

    Raises:
        TunelineError: the store cannot be reached.
    """
    try:
        with _reachable(store):
            store.get(FINISHED, job.output)
    except FileNotFoundError:
        return None
    except Unusable as error:
        job.say(f"a result is there, but {error.what}")
        return None
    outcome = read_outcome(job.output)
    job.say(f"this training was finished before, after {outcome.run.steps} steps: its result is taken")
    for moment in outcome.curve:
        job.on_progress(moment)
    return outcome


def find_checkpoint(store: CheckpointStore, job: TrainingJob, target: Path) -> int | None:
    """The step of the newest checkpoint that is whole, brought to ``target``.

    Raises:
        TunelineError: the store cannot be reached.
    """
    with _reachable(store):
        steps = store.steps()
    for step in steps:
        try:
            with _reachable(store):
                store.get(step_name(step), target)
        except (FileNotFoundError, Unusable) as error:
            job.say(f"{error}; the one before it is looked for")
        else:
            job.say(f"goes on after step {step}, from {store.folder}")
            return step
    return None


@contextmanager
def _reachable(store: CheckpointStore) -> Iterator[None]:
    """Beginning again silently because a bucket does not answer would cost the work that is in it."""
    try:
        yield
    except (FileNotFoundError, Unusable):
        raise
    except Exception as error:
        raise TunelineError(
            f"checkpoints cannot be read from {store.folder}: {type(error).__name__}: {error}",
            hint="Look at the artifact store: `python run.py doctor`. Nothing was trained.",
        ) from error
