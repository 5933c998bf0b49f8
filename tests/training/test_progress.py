"""A run is told from its first step to its last, in tokens that count, and on a screen line by line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from steps.training.display import Display
from tuneline.training.progress import Progress, Watch


@pytest.fixture
def arguments(tmp_path: Path) -> TrainingArguments:
    return TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[])


def moment(step: int, steps: int, **changed: Any) -> Progress:
    given = {"loss": 1.0, "learning_rate": 0.0, "grad_norm": 0.0, "tokens_per_second": 1234.0, "seconds": 10.0}
    return Progress(step=step, steps=steps, **(given | changed))


def test_the_last_step_is_told_however_far_moments_are_apart(arguments: TrainingArguments) -> None:
    watch = Watch(lambda _: None)
    state, control = TrainerState(global_step=7, max_steps=9), TrainerControl()
    watch.on_step_end(arguments, state, control)
    assert not control.should_log
    control.should_training_stop = True  # as transformers' flow does at the last step
    watch.on_step_end(arguments, state, control)
    assert control.should_log


def test_speed_counts_the_tokens_that_were_seen(arguments: TrainingArguments, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Progress] = []
    watch = Watch(told.append)
    clock = iter([100.0, 104.0])
    monkeypatch.setattr("tuneline.training.progress.time.perf_counter", lambda: next(clock))
    state = TrainerState(global_step=2, max_steps=8, num_input_tokens_seen=1000)
    watch.on_train_begin(arguments, state, TrainerControl())
    watch.on_log(arguments, state, TrainerControl(), {"loss": 1.5, "grad_norm": 0.3, "learning_rate": 0.1})
    assert told == watch.history
    assert (told[0].tokens_per_second, told[0].remaining_seconds, told[0].loss) == (250.0, 12.0, 1.5)
    assert told[0].memory_gib > 0 and told[0].validation_loss is None


def test_a_run_whose_time_is_up_says_so(arguments: TrainingArguments) -> None:
    watch = Watch(lambda _: None, max_minutes=1e-9)
    state, control = TrainerState(global_step=3, max_steps=9), TrainerControl()
    watch.on_train_begin(arguments, state, control)
    watch.on_step_end(arguments, state, control)
    assert control.should_training_stop and control.should_log
    assert watch.stopped is not None and "training.max_minutes" in watch.stopped


def test_a_log_has_a_line_each_tenth_of_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Display(None)
    for step in (1, 7, 13, 14, 26, 27, 130):
        shown.show(moment(step, 130, validation_loss=0.5 if step == 14 else None))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines] == ["13/130", "26/130", "130/130"]
    assert lines[0] == "training: step 13/130  loss 1.000  1,234 tokens/s  90 s left"
    assert "validation 0.500" in lines[1]
