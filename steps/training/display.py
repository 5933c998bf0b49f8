"""A training as it is watched: a bar on a terminal, and in every log a line each tenth of the run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from tuneline.training.progress import Progress as Moment


class Display:
    """Shows moments of a run. The lines stay, in ZenML's step log as well; the bar goes when the run ends."""

    def __init__(self, bar: Progress | None) -> None:
        self._bar = bar
        self._task = None if bar is None else bar.add_task("training", total=None, steps="?", numbers="")
        self._tenth = 0
        self._validation_loss: float | None = None

    def show(self, moment: Moment) -> None:
        """Move the bar; print a line if another tenth of the run is done."""
        if moment.validation_loss is not None:
            self._validation_loss = moment.validation_loss
        if self._bar is not None and self._task is not None:
            numbers = f"{_numbers(moment, self._validation_loss)}  {moment.memory_gib:.1f} GiB"
            done = {"completed": moment.step, "total": moment.steps, "steps": moment.steps}
            self._bar.update(self._task, **done, numbers=numbers)
        tenth = moment.step * 10 // moment.steps
        if tenth > self._tenth:
            self._tenth = tenth
            self.say(f"step {moment.step}/{moment.steps}  {_numbers(moment, self._validation_loss)}")

    def say(self, line: str) -> None:
        """Print a line that stays. The bar steps aside: two writers on one terminal overwrite each other."""
        if self._bar is not None:
            self._bar.stop()
        print(f"training: {line}", flush=True)
        if self._bar is not None:
            self._bar.start()


@contextmanager
def display() -> Iterator[Display]:
    """Show a run while it goes; the bar only where somebody looks on.

    The bar goes past ZenML, which would write each of its frames into the step's log.
    """
    terminal = sys.__stderr__
    if terminal is None or not terminal.isatty():
        yield Display(None)
        return
    numbers = TextColumn("{task.completed:.0f}/{task.fields[steps]}  {task.fields[numbers]}")
    with Progress(BarColumn(12), numbers, console=Console(file=terminal), transient=True) as bar:
        yield Display(bar)


def _numbers(moment: Moment, validation_loss: float | None) -> str:
    validation = "" if validation_loss is None else f"  validation {validation_loss:.3f}"
    return (
        f"loss {moment.loss:.3f}{validation}  {moment.tokens_per_second:,.0f} tokens/s  "
        f"{_time(moment.remaining_seconds)} left"
    )


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
